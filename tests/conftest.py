"""What holds for every test: nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from asyncflask.asgi import threads
from asyncflask.ctx import _cv_app, _cv_request

SETTLE_SECONDS = 5.0
"""How long what a test has told to end may take for it."""


def open_files() -> set[str]:
    """The files that this process has open, where the system tells. Files, not sockets: they
    are not closed by anybody but us."""
    files = set()
    folder = Path("/proc/self/fd")
    for entry in folder.iterdir() if folder.is_dir() else ():
        try:
            target = os.readlink(entry)
        except OSError:  # the folder itself, closed by now
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
            while variable.get(None) is not None:  # or all tests after this one fail as well
                variable.get().pop()
    for loop in threads._background:
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
    """Fails a test that leaves a context pushed, a task on the background loop, a worker thread
    that nobody gave back, or a file open. Asynchronous tests have contexts of their own."""
    files = open_files()
    yield
    if left := leftovers(files):
        pytest.fail(f"The test left something behind: {left}")
