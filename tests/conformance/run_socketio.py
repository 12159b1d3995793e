"""Flask-SocketIO's own tests, run against `asyncflask.socketio`:
``python tests/conformance/run_socketio.py``.

Fetches its source release, and runs the tests in a process of their own with the plugin
`as_flask`, by which `import flask_socketio` gives `asyncflask.socketio`. Nothing of the release
but its tests is used, and none of it is kept in this repository.

Exit status 0: all tests pass.
"""

from __future__ import annotations

import os
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.suites import fetch, run_pytest

HERE: Final = Path(__file__).resolve().parent
CACHE: Final = HERE.parents[1] / "build" / "conformance"
TESTS: Final = "test_socketio.py"


def main() -> int:
    packages = tomllib.loads((HERE.parent / "ecosystem" / "packages.toml").read_text("utf-8"))
    package = packages["Flask-SocketIO"]
    release: str = package["release"]
    archive = fetch(release, package["sha256"], CACHE)
    with tarfile.open(archive) as tar:
        tar.extract(f"{release}/{TESTS}", CACHE, filter="data")
    suite = run_pytest(
        sys.executable,
        ["-c", os.devnull, "--rootdir=.", "-p", "as_flask", "-p", "no:cacheprovider", TESTS],
        cwd=CACHE / release,
        record=CACHE / "socketio.jsonl",
        path=[HERE],
    )
    if suite.status:
        print(suite.output)
    passed, skipped = suite.count("passed"), suite.count("skipped")
    print(f"{release}: {passed} of {len(suite.results) - skipped} passed, {skipped} skipped")
    return 0 if suite.complete and not suite.status else 1


if __name__ == "__main__":
    sys.exit(main())
