"""What type checkers report in code that uses asyncflask: mypy and pyright, both strict."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import asyncflask

SRC = Path(asyncflask.__file__).parents[1]
CODE = Path(__file__).parent / "typing"
SECONDS = 300

pytestmark = pytest.mark.slow

Errors = set[tuple[int, str]]
"""The lines of the errors, and their codes."""


def mypy(*files: Path, **settings: str) -> Errors:
    """Check *files* as code that uses an installed asyncflask."""
    folder = files[0].parent
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--output=json",
        "--no-error-summary",
    ]
    command += ["--follow-imports=silent", "--enable-error-code=unused-awaitable"]
    command += [f"--cache-dir={folder / 'cache'}", *(file.name for file in files)]
    env = {**os.environ, "MYPYPATH": os.pathsep.join((*settings.values(), str(SRC)))}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    errors = map(json.loads, done.stdout.splitlines())
    return {(error["line"], error["code"]) for error in errors if error["severity"] == "error"}


def pyright(*files: Path, mode: str = "strict", **settings: str) -> Errors:
    folder = files[0].parent
    config = {
        "typeCheckingMode": mode,
        "include": [file.name for file in files],
        "extraPaths": [str(SRC)],
        **settings,
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(config), "utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["summary"]["filesAnalyzed"] == len(files), done.stdout
    return {
        (error["range"]["start"]["line"] + 1, error["rule"])
        for error in found["generalDiagnostics"]
        if error["severity"] == "error"
    }


def copied(name: str, folder: Path) -> Path:
    """One of the files in `typing`, where no settings of ours apply."""
    return Path(shutil.copy(CODE / name, folder))


def test_good_code_has_no_errors(tmp_path: Path) -> None:
    file = copied("good.py", tmp_path)
    assert mypy(file) == set()
    assert pyright(file) == set()


def test_mistakes_are_errors(tmp_path: Path) -> None:
    file = copied("bad.py", tmp_path)
    expected: tuple[Errors, Errors] = set(), set()
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        if (comment := re.search(r"# error: (\S+) (\S+)$", line)) is not None:
            for codes, errors in zip(comment.groups(), expected, strict=True):
                if codes != "-":
                    errors.update((number, code) for code in codes.split(","))
    by_mypy, by_pyright = expected
    assert mypy(file) == by_mypy
    assert pyright(file, mode="standard") == by_pyright


def test_stubs_in_which_flask_is_asyncflask(tmp_path: Path) -> None:
    stubs = str(SRC / "asyncflask" / "stubs")
    file = copied("extension.py", tmp_path)
    assert mypy(file, mypy_path=stubs) == set()
    assert pyright(file, stubPath=stubs) == set()


@pytest.mark.parametrize(
    "module",
    [
        *("app", "blueprints", "cli", "config", "ctx", "debughelpers", "globals", "helpers"),
        *("json", "json.provider", "json.tag", "logging", "sansio", "sansio.app"),
        *("sansio.blueprints", "sansio.scaffold", "sessions", "signals", "templating"),
        *("testing", "typing", "views", "wrappers"),
    ],
)
def test_stubs_for_each_of_flasks_modules(module: str) -> None:
    path = SRC.joinpath("asyncflask", "stubs", "flask", *module.split("."))
    assert path.with_suffix(".pyi").is_file() or (path / "__init__.pyi").is_file()
