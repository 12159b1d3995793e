"""Unusual exceptions, raised in every stage: the request is torn down and the app continues."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from asyncflask import Flask, request
from asyncflask.asgi import pool
from support.asgi import exchange, http_scope

STAGES = ["before", "view", "after", "teardown", "handler"]


class Unusual(BaseException):
    pass


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("error", [Unusual, GeneratorExit, asyncio.CancelledError])
async def test_no_exception(error: type[BaseException], stage: str, kind: str) -> None:
    app = Flask("errors")
    calls: Counter[str] = Counter()

    def hook(name: str, value: Any = None) -> Any:
        def sync(*args: Any) -> Any:
            calls[name] += 1
            if name == stage and request.path == "/":
                raise error
            return args[0] if name == "after" else value

        async def asynchronous(*args: Any) -> Any:
            return sync(*args)

        return sync if kind == "sync" else asynchronous

    app.before_request(hook("before"))
    app.after_request(hook("after"))
    app.teardown_request(hook("first teardown"))
    app.teardown_request(hook("teardown"))
    app.teardown_appcontext(hook("teardown of the app"))
    app.register_error_handler(ZeroDivisionError, hook("handler", "handled"))
    view: Any = (lambda: 1 / 0) if stage == "handler" else hook("view", "view")
    app.add_url_rule("/", "view", view)
    app.get("/next")(lambda: "next")

    with pytest.raises(error):
        await exchange(app, http_scope("/"))
    assert calls["first teardown"] == calls["teardown"] == calls["teardown of the app"] == 1
    with pytest.raises(error):
        app.test_client().get("/")
    assert calls["first teardown"] == calls["teardown"] == calls["teardown of the app"] == 2

    assert (await exchange(app, http_scope("/next"))).body == b"next"
    assert app.test_client().get("/next").text == "next"
    await asyncio.sleep(0)  # a slot is free when the step that ended the request is over
    assert pool.slots_of(asyncio.get_running_loop()).free == app.config["WORKER_THREADS"]


async def test_stop_iteration_of_a_sync_view() -> None:
    app = Flask("errors")

    @app.get("/")
    def first_of_none() -> Any:
        return next(iter(()))

    app.register_error_handler(StopIteration, lambda error: "there is none")
    assert app.test_client().get("/").text == "there is none"
    assert (await exchange(app, http_scope("/"))).body == b"there is none"


@pytest.mark.parametrize("form", ["raise from", "generator"])
async def test_runtime_error_whose_cause_is_a_stop_iteration(form: str) -> None:
    """It is no `StopIteration` of the view's own."""
    app = Flask("errors")

    def generator() -> Iterator[int]:
        yield next(iter(()))

    @app.get("/")
    def view() -> Any:
        if form == "generator":
            next(generator())
        raise RuntimeError("on purpose") from StopIteration()

    app.register_error_handler(StopIteration, lambda error: "stop")
    app.register_error_handler(RuntimeError, lambda error: "runtime error")
    assert (await exchange(app, http_scope("/"))).body == b"runtime error"
