"""Projects of others, rewritten by `asyncflask migrate`, whose tests must pass afterwards:
``python tests/conformance/run_migrate.py``.

They are Quart's examples, Flask-SocketIO's tests and example, and Flask's tutorial. The releases
of the first two have no examples, so these come from their repositories, by git; with ``--quart``
and ``--flask-socketio`` from other places. None of them is kept in this repository.

Exit status 0: all tests pass, a second run of the command changes nothing, and its notes are those
that are expected.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conformance.run import RELEASE, SHA256
from support.suites import fetch, run, run_pytest

HERE: Final = Path(__file__).resolve().parent
CACHE: Final = HERE.parents[1] / "build" / "migrate"

QUART: Final = ("https://github.com/pallets/quart", "0.20.0")
SOCKETIO: Final = ("https://github.com/miguelgrinberg/Flask-SocketIO", "v5.6.1")

_PARTS: Final = frozenset({"src", "tests", "test_socketio.py", "example", "flaskr"})
"""Of a project's folder what is rewritten: its code, and neither documentation nor scripts."""

_COUNT: Final = re.compile(r"^Read \d+ files: (\d+) .*, (\d+) notes to follow up\.$", re.M)


class Case(NamedTuple):
    """A project."""

    name: str
    folder: Path
    origin: str
    tests: str = "tests"
    path: str = "src"
    notes: int = 0
    """How much the command leaves to its users."""
    runs: bool = True
    """Whether there is nothing else to do before its tests run."""


def cases(quart: Path, socketio: Path, flask: Path) -> list[Case]:
    examples = quart / "examples"
    return [
        *(Case(f"Quart: {name}", examples / name, "quart") for name in ("blog", "chat", "video")),
        # It uses an extension of Quart's, Quart-Schema: the note says so.
        Case("Quart: api", examples / "api", "quart", notes=1, runs=False),
        # Its notes are on `async_mode`.
        Case("Flask-SocketIO", socketio, "flask-socketio", "test_socketio.py", "example", notes=2),
        Case("Flask's tutorial", flask / "examples" / "tutorial", "flask", path="."),
    ]


def checkout(source: str, tag: str, name: str) -> Path:
    """The files of a repository at *tag*, as they are there."""
    folder = CACHE / name
    shutil.rmtree(folder, ignore_errors=True)
    git = ["git", "-c", "advice.detachedHead=false", "clone", "--quiet", "--depth=1"]
    run([*git, f"--branch={tag}", source, str(folder)])
    return folder


def flasks_release() -> Path:
    archive = fetch(RELEASE, SHA256, CACHE)
    shutil.rmtree(CACHE / RELEASE, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(CACHE, filter="data")
    return CACHE / RELEASE


def migrate(case: Case, mode: str) -> tuple[int, int]:
    """How many files the command changes, and how many notes are in them."""
    command = [sys.executable, "-m", "asyncflask", "migrate", "--from", case.origin, mode]
    paths = [str(path) for path in case.folder.iterdir() if path.name in _PARTS]
    result = subprocess.run([*command, *paths], capture_output=True, text=True, check=False)
    found = _COUNT.search(result.stdout + result.stderr)
    if found is None:
        sys.exit(f"{case.name}: {result.stdout}{result.stderr}")
    return int(found[1]), int(found[2])


def problems(case: Case) -> list[str]:
    """What is wrong after the command."""
    found = []
    if case.name == "Flask-SocketIO":
        shutil.rmtree(case.folder / "src")  # the extension
    changed, notes = migrate(case, "--write")
    if not changed:
        found.append("nothing was changed")
    if notes != case.notes:
        found.append(f"{notes} notes, and not {case.notes}")
    if migrate(case, "--diff")[0]:
        found.append("the second run changes something")
    if not case.runs:
        print(f"{case.name}: {changed} files changed, {notes} notes; its tests wait for them")
        return found
    options = ["-c", os.devnull, "--rootdir=.", "-p", "no:cacheprovider"]
    options += ["-p", "pytest_asyncio.plugin", "-o", "asyncio_mode=auto"]
    suite = run_pytest(
        sys.executable,
        [*options, case.tests],
        cwd=case.folder,
        record=CACHE / "record.jsonl",
        path=[case.folder / case.path],
    )
    if suite.status or not suite.complete:
        found.append(f"the tests fail\n{suite.output}")
    passed, skipped = suite.count("passed"), suite.count("skipped")
    total = len(suite.results) - skipped
    print(f"{case.name}: {changed} files changed, {notes} notes, {passed} of {total} passed")
    return found


def example_talks(socketio: Path) -> list[str]:
    """Flask-SocketIO's example, which has no tests: a client says something and is answered."""
    program = (
        "import os, app; client = app.socketio.test_client(app.app)\n"
        "assert app.app.test_client().get('/').status_code == 200\n"
        "client.emit('my_event', {'data': 'tea'})\n"
        "answers = [event['args'][0]['data'] for event in client.get_received()]\n"
        "assert answers[-1] == 'tea', answers\n"
        "print('Flask-SocketIO: its example answers', flush=True)\n"
        "os._exit(0)"  # its background thread never ends
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=socketio / "example", timeout=60, check=False
    )
    return ["Flask-SocketIO's example does not answer"] if result.returncode else []


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quart", default=QUART[0], help="a repository, or a folder with one")
    parser.add_argument("--flask-socketio", default=SOCKETIO[0], help="likewise")
    options = parser.parse_args(arguments)
    CACHE.mkdir(parents=True, exist_ok=True)
    quart = checkout(options.quart, QUART[1], "quart")
    socketio = checkout(options.flask_socketio, SOCKETIO[1], "flask-socketio")
    found = []
    for case in cases(quart, socketio, flasks_release()):
        found += [f"{case.name}: {problem}" for problem in problems(case)]
    found += example_talks(socketio)
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
