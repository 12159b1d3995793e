"""Liveness and readiness probes for an orchestrator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any

from .asgi.threads import Driver

if TYPE_CHECKING:
    from .app import Flask

Check = Callable[[], Any]
Answer = tuple[dict[str, Any], int, dict[str, str]]

_HEADERS = {"Cache-Control": "no-store"}


def add_health(
    app: Flask,
    live: str | None,
    ready: str | None,
    checks: Sequence[Check],
    timeout: float,
    drain: float,
) -> None:
    """See `Flask.health`."""
    app._drain_seconds = drain
    checking = Checks(app, checks, timeout)
    for url, endpoint, view in (
        (live, "asyncflask_live", _live),
        (ready, "asyncflask_ready", partial(_ready, app, checking)),
    ):
        if url is not None:
            app.add_url_rule(url, endpoint, view)
            for rule in app.url_map.iter_rules(endpoint):
                vars(rule)["without_hooks"] = True


async def _live() -> Answer:
    return {"status": "ok"}, 200, _HEADERS


async def _ready(app: Flask, checking: Checks) -> Answer:
    conversations = app._conversations
    if conversations.starting:
        return {"status": "starting"}, 503, _HEADERS
    if conversations.draining or conversations.stopping:
        return {"status": "stopping"}, 503, _HEADERS
    failed = await checking.failed()
    if failed:
        return {"status": "failed", "failed": failed}, 503, _HEADERS
    return {"status": "ok"}, 200, _HEADERS


class Checks:
    """An app's health checks. Each runs at most once at a time, however many probes arrive, so
    a check that hangs takes only one thread."""

    def __init__(self, app: Flask, checks: Sequence[Check], timeout: float) -> None:
        self._app = app
        self._checks = checks
        self._timeout = timeout
        self._running: dict[Check, asyncio.Task[None]] = {}

    async def failed(self) -> list[str]:
        """Return the names of the checks that failed or did not end in time."""
        tasks = {check: self._task(check) for check in self._checks}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=self._timeout)
        failed = []
        for check, task in tasks.items():
            name = getattr(check, "__qualname__", repr(check))
            if not task.done():
                self._app.logger.error("The health check %s did not end within its timeout.", name)
            elif task.cancelled() or (error := task.exception()) is not None:
                cause = None if task.cancelled() else error
                self._app.logger.error("The health check %s failed.", name, exc_info=cause)
            else:
                continue
            failed.append(name)
        return failed

    def _task(self, check: Check) -> asyncio.Task[None]:
        loop = asyncio.get_running_loop()
        task = self._running.get(check)
        if task is None or task.done() or task.get_loop() is not loop:
            task = self._running[check] = loop.create_task(self._run(check), context=Context())
        return task

    async def _run(self, check: Check) -> None:
        """Run *check* in an app context, on the loop or on a thread."""
        app = self._app
        driver = Driver(asyncio.get_running_loop(), context=Context())
        driver.limit = None  # a check must not wait for requests to end

        async def run() -> None:
            app_ctx = app.app_context()
            await app_ctx.push_by(driver.call)
            try:
                if await driver.call(check) is False:
                    raise AssertionError("The health check returned False.")
            finally:
                await app_ctx.pop_by(None, driver.call)
                await driver.to_loop()

        try:
            await driver.run(run())
        finally:
            driver.release()
