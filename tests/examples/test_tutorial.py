"""The tutorial, followed to the letter: the files of its chapters are written to an empty folder,
chapter after chapter, and checked. At the end it is `examples/taskboard`, whose tests pass."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.servers import Process
from test_docs import DOCS, ROOT, blocks_of

CHAPTERS = sorted(DOCS.glob("tutorial/[1-9]-*.rst"))
TASKBOARD = ROOT / "examples" / "taskboard"
NOT_FROM_THE_TUTORIAL = {"README.rst"}
SECONDS = 120
ADA = {"name": "Ada", "password": "correct horse"}


def write(chapter: Path, folder: Path) -> list[str]:
    """Write the files of a chapter. Returns its checks."""
    checks = []
    for block in blocks_of(chapter.read_text("utf-8")):
        if block.caption:
            file = folder / block.caption
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.code.lstrip("\n"), "utf-8")
        elif block.is_check:
            checks.append(block.code)
    return checks


def run(folder: Path, *command: str) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_chapters_one_after_the_other(tmp_path: Path) -> None:
    assert len(CHAPTERS) == 8
    for chapter in CHAPTERS:
        checks = write(chapter, tmp_path)
        for check in checks:
            run(tmp_path, "-c", check)
        assert checks or (tmp_path / "tests").exists(), chapter
    run(tmp_path, "-m", "pytest", "-p", "no:cacheprovider", "-q", "tests")
    assert files(tmp_path) == files(TASKBOARD)


def files(folder: Path) -> dict[str, str]:
    return {
        name: path.read_text("utf-8")
        for path in folder.rglob("*")
        if path.is_file()
        and not {"__pycache__", "instance"} & set(path.parts)
        and (name := path.relative_to(folder).as_posix()) not in NOT_FROM_THE_TUTORIAL
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The app, served by the command of its Dockerfile."""
    dockerfile = (TASKBOARD / "Dockerfile").read_text("utf-8").replace("\\\n", "")
    (command,) = re.findall(r"^CMD (\[.*\])$", dockerfile, re.MULTILINE)
    for copied in re.findall(r"^COPY (\S+)", dockerfile, re.MULTILINE):
        assert (TASKBOARD / copied).exists()
    database = tmp_path_factory.mktemp("taskboard") / "board.sqlite"
    env = {
        "BOARD_SECRET_KEY": "test",
        "BOARD_SQLALCHEMY_DATABASE_URI": f"sqlite:///{database}",
        "BOARD_WTF_CSRF_ENABLED": "false",
    }
    command = [sys.executable, "-m", *json.loads(command), "--port", "{port}"]
    with Process(command, cwd=TASKBOARD, env=env) as server:
        yield server
        assert "Traceback" not in server.output, server.output


def test_served(server: Process) -> None:
    with httpx.Client(base_url=server.url, follow_redirects=True, timeout=SECONDS) as ada:
        assert "Log out Ada" in ada.post("/register", data=ADA).text
        assert "Make tea" in ada.post("/tasks", data={"title": "Make tea"}).text
