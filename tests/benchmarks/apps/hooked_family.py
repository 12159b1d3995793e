"""One view and its hooks, written for Flask: asyncflask and Quart serve the same lines.

The hooks do what hooks do in the least: note the time and the language, set a header.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any


def make_apps(flask: ModuleType, Flask: Any) -> Iterator[Any]:
    """An app for each row of `workloads.HOOKS`, in that order."""
    async_hooks, sync_hooks = _async_hooks(flask), _sync_hooks(flask)
    yield _make_app(Flask, async_text)
    yield _make_app(Flask, async_text, teardown=async_hooks[-1])
    yield _make_app(Flask, async_text, *async_hooks)
    yield _make_app(Flask, async_text, teardown=sync_hooks[-1])
    yield _make_app(Flask, sync_text)
    yield _make_app(Flask, sync_text, *sync_hooks)


def _make_app(
    Flask: Any,
    view: Any,
    begin: Any = None,
    language: Any = None,
    end: Any = None,
    teardown: Any = None,
) -> Any:
    app = Flask("bench", static_folder=None)
    app.add_url_rule("/", "view", view)
    if begin is not None:
        app.before_request(begin)
        app.before_request(language)
        app.after_request(end)
    if teardown is not None:
        app.teardown_appcontext(teardown)
    return app


async def async_text() -> str:
    return "Hello, World!"


def sync_text() -> str:
    return "Hello, World!"


def _async_hooks(flask: ModuleType) -> tuple[Any, ...]:
    g, request = flask.g, flask.request

    async def begin() -> None:
        g.began = time.perf_counter()

    async def language() -> None:
        g.lang = request.headers.get("Accept-Language", "en")

    async def end(response: Any) -> Any:
        response.headers["X-Duration"] = f"{time.perf_counter() - g.began:.6f}"
        return response

    async def teardown(error: BaseException | None) -> None:
        pass

    return begin, language, end, teardown


def _sync_hooks(flask: ModuleType) -> tuple[Any, ...]:
    g, request = flask.g, flask.request

    def begin() -> None:
        g.began = time.perf_counter()

    def language() -> None:
        g.lang = request.headers.get("Accept-Language", "en")

    def end(response: Any) -> Any:
        response.headers["X-Duration"] = f"{time.perf_counter() - g.began:.6f}"
        return response

    def teardown(error: BaseException | None) -> None:
        pass

    return begin, language, end, teardown
