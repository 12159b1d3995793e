"""Flask's own test suite, run against this package: ``python tests/conformance/run.py``.

Fetches Flask's source release, unpacks its tests, runs them in a process of their own with the
plugin `as_flask`, and compares the results with `expected_failures.toml`. Nothing of Flask but
its tests is used, and none of it is kept in this repository.

With ``--served`` each request of the test client goes over a socket to uvicorn (the plugin
`served`); with ``--flask`` the tests are those of another version of Flask.

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

from support.suites import SERVED, Result, Results, Run, fetch, run_pytest, ways_of

HERE: Final = Path(__file__).resolve().parent
CACHE: Final = HERE.parents[1] / "build" / "conformance"

RELEASE: Final = "flask-3.1.3"
SHA256: Final = "0ef0e52b8a9cd932855379197dd8f94047b359ca0a78695144304cb45f87c9eb"
"""Of the release's ``.tar.gz``."""

CURRENT: Final = "current"
NEXT: Final = "next"
"""Tables of `expected_failures.toml`: for this release, and for Flask's next version."""

LEAST_PASS_RATE: Final = 0.9
"""Share of the tests run (not skipped) that must pass, however many failures are expected."""


def unpack(archive: Path, release: str) -> Path:
    """The folder with the tests from *archive*, and the `pyproject.toml` with pytest's options."""
    folder = archive.with_name(release)
    wanted = (f"{release}/tests/", f"{release}/pyproject.toml")
    with tarfile.open(archive) as tar:
        members = [member for member in tar if member.name.startswith(wanted)]
        tar.extractall(archive.parent, members, filter="data")
    return folder


def find_suite(flask: str | None, cache: Path) -> Path:
    """The folder with Flask's tests. *flask*: a version, or the folder of a checkout."""
    if flask is None:
        return unpack(fetch(RELEASE, SHA256, cache), RELEASE)
    folder = Path(flask).resolve()
    if (folder / "tests").is_dir() and (folder / "pyproject.toml").is_file():
        return folder
    if not flask[:1].isdigit():
        sys.exit(f"--flask takes a version, or a checkout of Flask; there is none in {folder}.")
    return unpack(fetch(f"flask-{flask}", None, cache), f"flask-{flask}")


def run_suite(folder: Path, record: Path, selection: str | None, served: bool) -> Run:
    """Run pytest on the tests in *folder*."""
    arguments = ["-c", "pyproject.toml", "-p", "as_flask", "-p", "no:cacheprovider"]
    if served:
        arguments += ["-p", "served"]
    if selection is not None:
        arguments += ["-k", selection]
    return run_pytest(sys.executable, arguments, cwd=folder, record=record, path=[HERE])


def read_expected(*tables: str) -> dict[str, str]:
    """Why each test that is expected to fail does so, by its id. *tables*: of the file."""
    text = (HERE / "expected_failures.toml").read_text(encoding="utf-8")
    content = tomllib.loads(text)
    expected = {test: why for table in tables for test, why in content[table].items()}
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
    parser.add_argument(
        "--served", action="store_true", help="carry each request of the test client to uvicorn"
    )
    parser.add_argument(
        "--flask", metavar="VERSION|FOLDER", help=f"other tests than those of {RELEASE}"
    )
    options = parser.parse_args()

    cache = options.cache.resolve()
    folder = find_suite(options.flask, cache)
    cache.mkdir(parents=True, exist_ok=True)
    suite = run_suite(folder, cache / "record.jsonl", options.k, options.served)
    passed, skipped = suite.count("passed"), suite.count("skipped")
    run = len(suite.results) - skipped
    rate = passed / run if run else 0.0

    tables = [NEXT if options.flask else CURRENT, *(["served"] if options.served else [])]
    complete = suite.complete and options.k is None and options.flask is None
    found = problems(suite.results, read_expected(*tables), complete)
    if not suite.complete:
        print(suite.output)
        found.append("The suite did not run to its end.")
    if rate < LEAST_PASS_RATE:
        found.append(f"Fewer than {LEAST_PASS_RATE:.0%} of the tests pass.")
    if options.served:
        print(ways := ways_of(suite))
        if suite.complete and SERVED not in ways:
            found.append("No request was carried over a socket.")
    for problem in found:
        print(problem)
    print(f"{folder.name}: {passed} passed, {run - passed} failed, {skipped} skipped ({rate:.1%})")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
