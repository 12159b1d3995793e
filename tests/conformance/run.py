"""Flask's own test suite, run against this package: ``python tests/conformance/run.py``.

Fetches Flask's source release, unpacks its tests, runs them in a process of their own with the
plugin `as_flask`, and compares the results with `expected_failures.toml`. Nothing of Flask but
its tests is used, and none of it is kept in this repository.

Exit status 0: every failure is expected, every expected failure fails, and enough tests pass.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

import pytest

HERE: Final = Path(__file__).resolve().parent
CACHE: Final = HERE.parents[1] / "build" / "conformance"

RELEASE: Final = "flask-3.1.3"
SHA256: Final = "0ef0e52b8a9cd932855379197dd8f94047b359ca0a78695144304cb45f87c9eb"
"""Of the release's ``.tar.gz``."""

LEAST_PASS_RATE: Final = 0.9
"""Share of the tests run (not skipped) that must pass, however many failures are expected."""

SUITE_SECONDS: Final = 300
"""The suite takes under ten. For the process, so that a hang ends."""

TEST_SECONDS: Final = 60
"""After which pytest prints what a single test is at."""


class Result(NamedTuple):
    outcome: str
    """``passed``, ``failed`` or ``skipped``; ``started`` if the process ended in the test."""
    details: str


Results = dict[str, Result]
"""By pytest's id of the test."""


def fetch(cache: Path) -> Path:
    """The archive of the release, downloaded by pip unless it is in *cache*.

    :raises SystemExit: if its checksum is not the one expected.
    """
    archive = cache / f"{RELEASE}.tar.gz"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        requirement = RELEASE.replace("-", "==")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(cache)]
        subprocess.run([*pip, "--no-deps", "--no-binary", ":all:", requirement], check=True)
    if (found := hashlib.sha256(archive.read_bytes()).hexdigest()) != SHA256:
        sys.exit(f"{archive} has the SHA-256 {found}, and not {SHA256}. Delete it and try again.")
    return archive


def unpack(archive: Path) -> Path:
    """The folder with the tests from *archive*, and the `pyproject.toml` with pytest's options."""
    folder = archive.with_name(RELEASE)
    wanted = (f"{RELEASE}/tests/", f"{RELEASE}/pyproject.toml")
    with tarfile.open(archive) as tar:
        members = [member for member in tar if member.name.startswith(wanted)]
        tar.extractall(archive.parent, members, filter="data")
    return folder


def run_suite(folder: Path, selection: str | None) -> tuple[Results, int, str]:
    """Run pytest on the tests in *folder*. Gives the results, pytest's exit status, and all that
    it printed."""
    record = folder.with_name("record.jsonl")
    record.unlink(missing_ok=True)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env |= {
        "CONFORMANCE_RECORD": str(record),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # the suite is run as Flask runs it
        "PYTHONPATH": os.pathsep.join((str(HERE), env.get("PYTHONPATH", ""))).rstrip(os.pathsep),
    }
    command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-p", "as_flask"]
    command += ["-p", "no:cacheprovider", "-o", f"faulthandler_timeout={TEST_SECONDS}", "-q"]
    if selection is not None:
        command += ["-k", selection]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a group of its own, to be ended as a whole
    )
    try:
        output, _ = process.communicate(timeout=SUITE_SECONDS)
    except subprocess.TimeoutExpired:
        end(process)
        output, _ = process.communicate()
        output += f"\nEnded after {SUITE_SECONDS} seconds.\n"
    except BaseException:
        end(process)
        raise
    return read_record(record), process.returncode, output


def end(process: subprocess.Popen[str]) -> None:
    """Kill *process* and what it started."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:  # Windows
        process.kill()


def read_record(record: Path) -> Results:
    """The results that the plugin wrote to the file *record*."""
    results: Results = {}
    if record.exists():
        for line in record.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            results[entry["test"]] = Result(entry["outcome"], entry["details"])
    return results


def read_expected() -> dict[str, str]:
    """Why each test that is expected to fail does so, by its id."""
    text = (HERE / "expected_failures.toml").read_text(encoding="utf-8")
    expected = tomllib.loads(text)
    if wrong := [test for test, reason in expected.items() if not isinstance(reason, str)]:
        sys.exit(f"expected_failures.toml: the reason must be text: {wrong}")
    return expected


def problems(results: Results, expected: dict[str, str], complete: bool) -> list[str]:
    """What is not as *expected*, each as a text to print. *complete*: all tests were run."""
    found: list[str] = []
    for test, result in results.items():
        if result.outcome in ("failed", "started") and test not in expected:
            details = result.details or "The process ended in this test."
            found.append(f"UNEXPECTED FAILURE {test}\n{details}\n")
        elif result.outcome == "passed" and test in expected:
            found.append(f"PASSES NOW {test}\nExpected to fail, because: {expected[test]}")
    if complete:
        gone = [t for t in expected if results.get(t, Result("skipped", "")).outcome == "skipped"]
        found += [f"NOT RUN {test}\nExpected to fail, because: {expected[test]}" for test in gone]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Run Flask's own tests against asyncflask.")
    parser.add_argument("-k", metavar="EXPRESSION", help="only these tests, as for pytest")
    parser.add_argument(
        "--cache", type=Path, default=CACHE, help="folder for the release (default: %(default)s)"
    )
    options = parser.parse_args()

    folder = unpack(fetch(options.cache.resolve()))
    results, status, output = run_suite(folder, options.k)
    outcomes = [result.outcome for result in results.values()]
    passed, skipped = outcomes.count("passed"), outcomes.count("skipped")
    run = len(outcomes) - skipped
    rate = passed / run if run else 0.0

    # With 1, too, Python ends if pytest does not get as far as the first test.
    complete = bool(run) and status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    found = problems(results, read_expected(), complete and options.k is None)
    if not complete:
        print(output)
        found.append("The suite did not run to its end.")
    if rate < LEAST_PASS_RATE:
        found.append(f"Fewer than {LEAST_PASS_RATE:.0%} of the tests pass.")
    for problem in found:
        print(problem)
    print(f"{RELEASE}: {passed} passed, {run - passed} failed, {skipped} skipped ({rate:.1%})")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
