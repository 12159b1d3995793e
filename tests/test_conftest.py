"""A test run seen from outside: its header, and what Ctrl-C leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 240

pytestmark = pytest.mark.slow


def start(*args: str) -> subprocess.Popen[str]:
    # As a user would: without the options and processes of this very run.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cov", *args],
        cwd=ROOT,
        env={**env, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a process group, as under a shell
    )


def test_head_says_what_runs_and_what_does_not() -> None:
    output, _ = start("--collect-only", "-k", "test_layers").communicate(timeout=SECONDS)
    assert "asyncflask: tests run in " in output
    assert "left out: slow tests and those in a browser; run them with: pytest -m slow" in output


def test_head_and_pages_say_the_same_minutes() -> None:
    output, _ = start("--collect-only").communicate(timeout=SECONDS)
    assert "processes, about 3 minutes on two idle cores\n" in output
    said = "about three minutes on two cores"
    for page in "README.rst", "docs/contributing.rst":
        assert said in (ROOT / page).read_text("utf-8")


def test_single_file_runs_in_one_process() -> None:
    output, _ = start("tests/test_logging.py").communicate(timeout=SECONDS)
    assert "asyncflask: tests run in 1 process\n" in output
    assert " passed" in output


@pytest.mark.parametrize("processes", ["0", "2"])
def test_ctrl_c_keeps_the_summary(processes: str) -> None:
    process = start("-n", processes, "tests/contract/test_malformed.py", "-v")
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any("PASSED" in line for line in lines)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=SECONDS)
    assert " passed" in output
    assert process.returncode == pytest.ExitCode.INTERRUPTED
