"""A request as `asgi/threads.py` sees it: a coroutine with a driver."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from asyncflask.asgi.pool import Worker
from asyncflask.asgi.threads import Driver

Main = Callable[[Driver], Coroutine[Any, Any, Any]]


def here() -> str:
    return threading.current_thread().name


async def here_async() -> str:
    return threading.current_thread().name


async def run(main: Main, worker: Worker | None = None) -> Any:
    driver = Driver(asyncio.get_running_loop(), worker=worker)
    try:
        return await driver.run(main(driver))
    finally:
        driver.release()
