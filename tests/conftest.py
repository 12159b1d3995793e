"""Rules for all tests: how many run at once, and that they leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from asyncflask.asgi import loops, threads
from asyncflask.ctx import _cv_app, _cv_request

SETTLE_SECONDS = 30.0
"""Seconds that whatever a test has told to end may take."""

PER_CORE = 3
"""Processes per core: most slow tests wait for a server and its clients."""

FEW_MINUTES = 3
SLOW_MINUTES = 2
"""Minutes that the two sets take on two idle cores, for the header of a run. The README and the
page "Contributing" say so too."""


# -- how many run at once, and what is said of it


def cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # the cores this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Choose the number for ``-n auto``, the default. A single file or test runs in pytest's
    own process, which saves starting others."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # xdist's own answer
    if not names_all_tests(config):
        files = {argument.partition("::")[0] for argument in config.args}
        if len(files) == 1 and Path(*files).is_file():
            return 0
    return PER_CORE * cores()


def names_all_tests(config: pytest.Config) -> bool:
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS


def pytest_report_header(config: pytest.Config) -> list[str]:
    processes = config.getoption("numprocesses", None) or 1
    lines = [f"asyncflask: tests run in {processes} process{'es' if processes > 1 else ''}"]
    chosen = config.getoption("markexpr")
    if names_all_tests(config) and not config.getoption("keyword"):
        minutes = {"not slow": FEW_MINUTES, "slow": SLOW_MINUTES, "": FEW_MINUTES + SLOW_MINUTES}
        if chosen in minutes:
            lines[0] += f", about {minutes[chosen]} minutes on two idle cores"
    if chosen == "not slow":
        lines.append("left out: slow tests and those in a browser; run them with: pytest -m slow")
    elif chosen == "slow":
        lines.append("only slow tests and those in a browser; run the others with: pytest")
    return lines


def pytest_configure(config: pytest.Config) -> None:
    # Processes started by tests need not compile the package again, each for itself.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Shells start background jobs with Ctrl-C ignored, and so would be what the tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep the garbage collector away from what was imported and collected, which stays to the
    end."""
    gc.collect()
    gc.freeze()


# -- Ctrl-C


@pytest.hookimpl(tryfirst=True)
def pytest_keyboard_interrupt() -> None:
    """Ignore a second Ctrl-C, which would prevent the summary after everything has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """Report errors of clean-up after Ctrl-C, but do not fail: the servers ended by it too. The
    summary is printed around this."""
    try:
        return (yield)
    except (Exception, pytest.fail.Exception) as error:
        if session.exitstatus != pytest.ExitCode.INTERRUPTED:
            raise
        print(f"Cleaning up after Ctrl-C: {error}", file=sys.stderr)
        return None


# -- nothing is left behind


def open_files() -> set[str]:
    """Return the open files of this process, where the system lists them. Files, not sockets,
    since only we close them."""
    files = set()
    folder = Path("/proc/self/fd")
    for entry in folder.iterdir() if folder.is_dir() else ():
        try:
            target = os.readlink(entry)
        except OSError:  # the folder itself, already closed
            continue
        if target.startswith("/") and not target.startswith(("/dev/", "/proc/", "/sys/")):
            files.add(f"{entry.name}: {target}")
    return files


async def _tasks_left() -> list[str]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLE_SECONDS
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        if loop.time() > deadline:
            return [repr(task) for task in tasks]
        await asyncio.sleep(0.001)
    return []


def leftovers(files_before: set[str]) -> dict[str, object]:
    left: dict[str, object] = {}
    contexts: dict[str, ContextVar[Any]] = {"app context": _cv_app, "request context": _cv_request}
    for name, variable in contexts.items():
        if (ctx := variable.get(None)) is not None:
            left[name] = ctx
            while variable.get(None) is not None:  # otherwise all later tests would fail too
                variable.get().pop()
    for background in loops._background:
        loop = background.loop()
        if tasks := asyncio.run_coroutine_threadsafe(_tasks_left(), loop).result():
            left["tasks of the background loop"] = tasks
    threads.shutdown()
    for thread in threading.enumerate():
        if thread.name.startswith("asyncflask-"):
            thread.join(SETTLE_SECONDS)
            if thread.is_alive():
                left["thread"] = thread.name
    if open_files() - files_before:
        gc.collect()
        if files := open_files() - files_before:
            left["open files"] = sorted(files)
    return left


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Fail a test that leaves behind a pushed context, a task on the background loop, a worker
    thread that was not given back, or an open file. Async tests have contexts of their own."""
    files = open_files()
    yield
    if left := leftovers(files):
        pytest.fail(f"The test left something behind: {left}")


@pytest.fixture(autouse=True)
def variables_of_commands() -> Iterator[None]:
    """Commands that run in this process set variables such as `FLASK_RUN_FROM_CLI`, as Flask's do.
    The servers that later tests start are not to inherit them."""
    before = set(os.environ)
    yield
    for name in os.environ.keys() - before:
        if name.startswith("FLASK_"):
            del os.environ[name]
