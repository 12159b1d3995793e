"""Registries of hooks, changed by hand while the app serves."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from asyncflask import Flask, after_this_request
from support.asgi import exchange, http_scope


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def app(calls: list[str]) -> Flask:
    app = Flask("registries")

    @app.get("/")
    def view() -> str:
        calls.append("view")
        return "view"

    return app


async def ask(app: Flask, calls: list[str]) -> list[str]:
    """What is called, the same at both doors."""
    calls.clear()
    assert (await exchange(app, http_scope("/"))).status == 200
    by_asgi = calls.copy()
    calls.clear()
    assert app.test_client().get("/").status_code == 200
    assert by_asgi == calls
    return by_asgi


REGISTRIES = ["before_request_funcs", "after_request_funcs", "teardown_request_funcs"]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("registry", REGISTRIES)
async def test_every_way_to_change_one(
    app: Flask, calls: list[str], registry: str, kind: str
) -> None:
    def hook(name: str) -> Callable[[Any], Any]:
        def sync(arg: Any = None) -> Any:
            calls.append(name)
            return arg if registry == "after_request_funcs" else None

        async def asynchronous(arg: Any = None) -> Any:
            return sync(arg)

        return sync if kind == "sync" else asynchronous

    async def hooks() -> list[str]:
        return [name for name in await ask(app, calls) if name != "view"]

    def funcs() -> Any:
        return getattr(app, registry)

    assert await hooks() == []
    funcs().setdefault(None, []).append(hook("append"))
    assert await hooks() == ["append"]
    funcs()[None].insert(0, hook("insert"))
    assert sorted(await hooks()) == ["append", "insert"]
    order = await hooks()
    funcs()[None].reverse()
    assert await hooks() == order[::-1]
    funcs()[None][:] = [hook("slice")]
    assert await hooks() == ["slice"]
    funcs()[None][0] = hook("item")
    assert await hooks() == ["item"]
    funcs()[None] = (hook("tuple"),)
    assert await hooks() == ["tuple"]
    setattr(app, registry, {None: [hook("dict")]})
    assert await hooks() == ["dict"]
    setattr(app, registry, defaultdict(list, {None: [hook("defaultdict")]}))
    assert await hooks() == ["defaultdict"]
    funcs().clear()
    assert await hooks() == []


class TestHookThatChangesItsOwnStage:
    async def test_of_a_later_stage(self, app: Flask, calls: list[str]) -> None:
        @app.after_request
        def after(response: Any) -> Any:
            app.teardown_request_funcs[None] = [lambda error: calls.append("teardown")]
            return response

        assert await ask(app, calls) == ["view", "teardown"]

    @pytest.mark.xfail(strict=True, reason="the stage runs over a copy of the list")
    async def test_hook_that_is_appended(self, app: Flask, calls: list[str]) -> None:
        @app.before_request
        def before() -> None:
            del app.before_request_funcs[None][1:]
            app.before_request_funcs[None].append(lambda: calls.append("appended"))

        assert await ask(app, calls) == ["appended", "view"]

    async def test_teardown_of_the_request_adds_one_of_the_app(
        self, app: Flask, calls: list[str]
    ) -> None:
        @app.teardown_request
        def teardown(error: Any) -> None:
            app.teardown_appcontext_funcs[:] = [lambda error: calls.append("added")]

        # Of a new app each: what the first request has added is no news to the second.
        await exchange(app, http_scope("/"))
        assert calls == ["view", "added"]

    async def test_after_this_request_within_another(self, calls: list[str]) -> None:
        app = Flask("nested")

        @app.get("/")
        def view() -> str:
            @after_this_request
            def outer(response: Any) -> Any:
                @after_this_request
                def inner(response: Any) -> Any:
                    calls.append("inner")
                    return response

                return response

            return "view"

        assert await ask(app, calls) == ["inner"]


def test_threads_that_change_all_of_it_meanwhile(app: Flask, calls: list[str]) -> None:
    """No request fails by it, and afterwards only what is registered is called."""
    ended = threading.Event()

    def nothing(*args: Any) -> None:
        pass

    def change() -> None:
        while not ended.is_set():
            app.before_request_funcs.setdefault(None, []).append(nothing)
            app.after_request_funcs[None] = [lambda response: response]
            app.teardown_request_funcs = defaultdict(list, {None: [nothing]})
            app.dispatch_request = app.dispatch_request  # type: ignore[method-assign]
            app.before_request_funcs.clear()
            app.after_request_funcs.pop(None, None)
            app.teardown_request_funcs = defaultdict(list)
            del app.dispatch_request

    thread = threading.Thread(target=change)
    thread.start()
    try:
        client = app.test_client()
        assert {client.get("/").status_code for _ in range(100)} == {200}
    finally:
        ended.set()
        thread.join()
    calls.clear()
    app.before_request_funcs[None] = [lambda: calls.append("before")]
    client.get("/")
    assert calls == ["before", "view"]
