"""The tests of Flask's tutorial, of which not a line is changed, by the two ways for users:
``python tests/conformance/run_tutorial.py``.

Takes the app and its tests from Flask's source release, and runs ``pytest -p
asyncflask.as_flask``, then ``FLASK_AS_FLASK=1 pytest``. Nothing of it is kept in this repository.

Exit status 0: all tests pass, on asyncflask.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conformance.run import CACHE, RELEASE, SHA256
from support.suites import SUITE_SECONDS, fetch

FOLDER: Final = f"{RELEASE}/examples/tutorial"

ON_ASYNCFLASK: Final = """
import sys

def pytest_sessionfinish():
    assert sys.modules["flask"].__name__ == "asyncflask"
"""
"""A plugin: sees whose Flask the tests have used."""


def passes(folder: Path, *args: str, **env: str) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *args, "-p", "on_asyncflask"],
        cwd=folder,
        env={**os.environ, **env},
        timeout=SUITE_SECONDS,
    )
    return done.returncode == 0


def main() -> int:
    archive = fetch(RELEASE, SHA256, CACHE)
    with tarfile.open(archive) as tar:
        members = [member for member in tar if member.name.startswith(f"{FOLDER}/")]
        tar.extractall(CACHE, members, filter="data")
    folder = CACHE / FOLDER
    (folder / "on_asyncflask.py").write_text(ON_ASYNCFLASK, "utf-8")
    ways = passes(folder, "-p", "asyncflask.as_flask"), passes(folder, FLASK_AS_FLASK="1")
    return 0 if all(ways) else 1


if __name__ == "__main__":
    sys.exit(main())
