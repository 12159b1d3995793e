"""Flask's own test suite, run against this package: ``python tests/conformance/run.py``.

Fetches Flask's source release, unpacks its tests, runs them in a process of their own with the
plugin `as_flask`, and compares the results with `expected_failures.toml`. Nothing of Flask but
its tests is used, and none of it is kept in this repository.

Exit status 0: every failure is expected, every expected failure fails, and enough tests pass.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.suites import Result, Results, Run, fetch, run_pytest

HERE: Final = Path(__file__).resolve().parent
CACHE: Final = HERE.parents[1] / "build" / "conformance"

RELEASE: Final = "flask-3.1.3"
SHA256: Final = "0ef0e52b8a9cd932855379197dd8f94047b359ca0a78695144304cb45f87c9eb"
"""Of the release's ``.tar.gz``."""

LEAST_PASS_RATE: Final = 0.9
"""Share of the tests run (not skipped) that must pass, however many failures are expected."""


def unpack(archive: Path) -> Path:
    """The folder with the tests from *archive*, and the `pyproject.toml` with pytest's options."""
    folder = archive.with_name(RELEASE)
    wanted = (f"{RELEASE}/tests/", f"{RELEASE}/pyproject.toml")
    with tarfile.open(archive) as tar:
        members = [member for member in tar if member.name.startswith(wanted)]
        tar.extractall(archive.parent, members, filter="data")
    return folder


def run_suite(folder: Path, selection: str | None) -> Run:
    """Run pytest on the tests in *folder*."""
    arguments = ["-c", "pyproject.toml", "-p", "as_flask", "-p", "no:cacheprovider"]
    if selection is not None:
        arguments += ["-k", selection]
    return run_pytest(
        sys.executable,
        arguments,
        cwd=folder,
        record=folder.with_name("record.jsonl"),
        path=[HERE],
    )


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

    suite = run_suite(unpack(fetch(RELEASE, SHA256, options.cache.resolve())), options.k)
    passed, skipped = suite.count("passed"), suite.count("skipped")
    run = len(suite.results) - skipped
    rate = passed / run if run else 0.0

    found = problems(suite.results, read_expected(), suite.complete and options.k is None)
    if not suite.complete:
        print(suite.output)
        found.append("The suite did not run to its end.")
    if rate < LEAST_PASS_RATE:
        found.append(f"Fewer than {LEAST_PASS_RATE:.0%} of the tests pass.")
    for problem in found:
        print(problem)
    print(f"{RELEASE}: {passed} passed, {run - passed} failed, {skipped} skipped ({rate:.1%})")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
