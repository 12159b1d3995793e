"""The contexts: pushing, popping, sharing, holding; and `g`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import copy_context
from typing import Any

import pytest

from asyncflask import (
    Flask,
    Response,
    after_this_request,
    appcontext_popped,
    appcontext_pushed,
    copy_current_request_context,
    current_app,
    g,
    has_app_context,
    has_request_context,
    has_websocket_context,
    request,
    run_sync,
    session,
)
from asyncflask.async_testing import AsyncClient
from asyncflask.ctx import (
    AppContext,
    RequestContext,
    _AppCtxGlobals,
    current_app_ctx,
    current_request_ctx,
)


@pytest.fixture
def app() -> Flask:
    app = Flask("ctx_test", static_folder=None)
    app.config.update(TESTING=True, SECRET_KEY="test key")
    app.add_url_rule("/<int:number>", "view", lambda number: str(number))
    return app


class TestG:
    def test_attributes(self) -> None:
        g = _AppCtxGlobals()
        g.name = "value"
        assert g.name == "value"
        assert "name" in g
        assert "other" not in g
        assert list(g) == ["name"]
        del g.name
        assert "name" not in g
        with pytest.raises(AttributeError, match="name"):
            _ = g.name
        with pytest.raises(AttributeError, match="name"):
            del g.name

    def test_methods_of_a_dict(self) -> None:
        g = _AppCtxGlobals()
        assert g.get("name") is None
        assert g.get("name", 1) == 1
        assert g.setdefault("name", []) == []
        g.name.append(1)
        assert g.setdefault("name") == [1]
        assert g.pop("name") == [1]
        assert g.pop("name", 2) == 2
        with pytest.raises(KeyError):
            g.pop("name")

    def test_repr(self, app: Flask) -> None:
        ctx = app.app_context()
        assert "_AppCtxGlobals object at" in repr(ctx.g)
        with ctx:
            assert repr(ctx.g) == "<flask.g of 'ctx_test'>"

    def test_lasts_as_long_as_the_app_context(self, app: Flask) -> None:
        with app.app_context():
            g.name = "value"
            with app.test_request_context():
                assert g.name == "value"
        with app.app_context():
            assert "name" not in g

    def test_class_of_the_app(self, app: Flask) -> None:
        class Globals(_AppCtxGlobals):
            answer = 42

        app.app_ctx_globals_class = Globals
        with app.app_context():
            assert g.answer == 42


class TestAppContext:
    def test_push_and_pop(self, app: Flask) -> None:
        assert not has_app_context()
        ctx = app.app_context()
        ctx.push()
        assert has_app_context()
        assert current_app_ctx() is ctx
        assert current_app == app
        ctx.pop()
        assert not has_app_context()

    def test_none(self) -> None:
        with pytest.raises(RuntimeError, match="Working outside of application context"):
            current_app_ctx()

    def test_teardown_with_the_last_pop(self, app: Flask) -> None:
        errors: list[BaseException | None] = []
        app.teardown_appcontext(errors.append)
        ctx = app.app_context()
        with ctx:
            with ctx:
                pass
            assert errors == []
        assert errors == [None]

    def test_teardown_is_told_of_the_error(self, app: Flask) -> None:
        errors: list[BaseException | None] = []
        app.teardown_appcontext(errors.append)
        error = ValueError()
        with pytest.raises(ValueError), app.app_context():
            raise error
        assert errors == [error]

    def test_pop_takes_the_current_exception(self, app: Flask) -> None:
        errors: list[BaseException | None] = []
        app.teardown_appcontext(errors.append)
        ctx = app.app_context()
        ctx.push()
        error = ValueError()
        try:
            raise error
        except ValueError:
            ctx.pop()
        assert errors == [error]

    def test_wrong_order(self, app: Flask) -> None:
        def pop_the_outer_one() -> None:
            outer, inner = app.app_context(), app.app_context()
            outer.push()
            inner.push()
            outer.pop()

        with pytest.raises(AssertionError, match="wrong app context"):
            copy_context().run(pop_the_outer_one)  # which nothing can put right again

    def test_signals(self, app: Flask) -> None:
        events: list[tuple[str, Any]] = []

        def pushed(sender: Any) -> None:
            events.append(("pushed", sender))

        def popped(sender: Any) -> None:
            events.append(("popped", sender))

        with appcontext_pushed.connected_to(pushed), appcontext_popped.connected_to(popped):
            with app.app_context():
                assert events == [("pushed", app)]
            assert events == [("pushed", app), ("popped", app)]

    async def test_async_with(self, app: Flask) -> None:
        events: list[str] = []

        @app.teardown_appcontext
        async def teardown(error: BaseException | None) -> None:
            await asyncio.sleep(0)
            events.append(f"async, {has_app_context()}")

        @app.teardown_appcontext
        def plain_teardown(error: BaseException | None) -> None:
            events.append(threading.current_thread().name)

        async with app.app_context() as ctx:
            assert current_app_ctx() is ctx
        # What sync code cleans up was made in this very block: on this thread.
        assert events == ["MainThread", "async, True"]
        assert not has_app_context()

    async def test_with_on_the_loop_cannot_wait(self, app: Flask) -> None:
        @app.teardown_appcontext
        async def teardown(error: BaseException | None) -> None: ...

        with pytest.raises(RuntimeError, match="'async with'"), app.app_context():
            pass
        assert not has_app_context()

    def test_with_in_plain_code_waits(self, app: Flask) -> None:
        names: list[str] = []

        @app.teardown_appcontext
        async def teardown(error: BaseException | None) -> None:
            names.append(threading.current_thread().name)

        with app.app_context():
            pass
        assert names == ["asyncflask-loop"]


class TestRequestContext:
    def test_brings_an_app_context(self, app: Flask) -> None:
        with app.test_request_context("/7") as ctx:
            assert current_request_ctx() is ctx
            assert current_app_ctx().app is app
            assert has_request_context()
            assert not has_websocket_context()
            assert request.endpoint == "view"
            assert request.view_args == {"number": 7}
        assert not has_request_context()
        assert not has_app_context()

    def test_none(self) -> None:
        with pytest.raises(RuntimeError, match="Working outside of request context"):
            current_request_ctx()

    def test_shares_the_app_context_of_its_app(self, app: Flask) -> None:
        events: list[str] = []
        app.teardown_appcontext(lambda error: events.append("app"))
        app.teardown_request(lambda error: events.append("request"))
        with app.app_context() as outer:
            with app.test_request_context():
                assert current_app_ctx() is outer
            assert events == ["request"]
        assert events == ["request", "app"]

    def test_not_that_of_another_app(self, app: Flask) -> None:
        other = Flask("other", static_folder=None)
        with other.app_context() as outer:
            with app.test_request_context():
                assert current_app_ctx() is not outer
                assert current_app.name == "ctx_test"
            assert current_app_ctx() is outer

    def test_no_rule(self, app: Flask) -> None:
        with app.test_request_context("/nothing") as ctx:
            error: Any = ctx.request.routing_exception
            assert error.code == 404
            assert request.endpoint is None

    def test_url_of_a_websocket(self, app: Flask) -> None:
        @app.websocket("/ws")
        async def ws() -> None: ...

        with app.test_request_context("/ws") as ctx:
            error: Any = ctx.request.routing_exception
            assert error.code == 426
            assert "Upgrade" not in error.get_response().headers

    def test_host_that_is_not_trusted(self, app: Flask) -> None:
        app.config["TRUSTED_HOSTS"] = ["example.org"]
        with app.test_request_context(base_url="http://evil.example") as ctx:
            error: Any = ctx.request.routing_exception
            assert error.code == 400
            assert ctx.url_adapter is None

    def test_pushed_twice(self, app: Flask) -> None:
        events: list[str] = []
        app.teardown_request(lambda error: events.append("request"))
        ctx = app.test_request_context()
        ctx.push()
        ctx.push()
        ctx.pop()
        assert has_request_context()
        assert events == []
        ctx.pop()
        assert events == ["request"]

    def test_wrong_order(self, app: Flask) -> None:
        def pop_the_outer_one() -> None:
            outer, inner = app.test_request_context(), app.test_request_context()
            outer.push()
            inner.push()
            outer.pop()

        with pytest.raises(AssertionError, match="wrong request context"):
            copy_context().run(pop_the_outer_one)  # which nothing can put right again

    def test_repr(self, app: Flask) -> None:
        ctx = app.test_request_context("/7")
        assert repr(ctx) == "<RequestContext 'http://localhost/7' [GET] of ctx_test>"
        ctx.request.close()

    def test_request_and_session_that_are_given(self, app: Flask) -> None:
        environ = app.test_request_context().request.environ
        made = app.request_class(environ)
        mine: Any = {"a": 1}
        ctx = RequestContext(app, environ, made, mine)
        assert ctx.request is made
        assert ctx._session is mine

    def test_session_is_opened_when_read(self, app: Flask) -> None:
        with app.test_request_context() as ctx:
            assert ctx.opened_session is None
            assert not session
            assert ctx.opened_session is not None
            assert ctx.session.accessed

    async def test_async_with(self, app: Flask) -> None:
        events: list[str] = []

        @app.teardown_request
        async def teardown(error: BaseException | None) -> None:
            events.append(request.path)

        async with app.test_request_context("/7"):
            assert request.view_args == {"number": 7}
        assert events == ["/7"]

    def test_held(self, app: Flask) -> None:
        """A stream needs the context after the pipeline has popped it."""
        events: list[str] = []
        app.teardown_request(lambda error: events.append(f"request {error}"))
        app.teardown_appcontext(lambda error: events.append(f"app {g.name}"))
        error = ValueError("why")
        ctx = app.test_request_context()
        with pytest.raises(ValueError), ctx:
            g.name = "value"
            ctx.hold()
            ctx.hold()
            raise error
        assert not has_request_context()
        assert not has_app_context()
        ctx.release()
        assert events == []
        ctx.release()
        assert events == ["request why", "app value"]

    def test_released_while_pushed(self, app: Flask) -> None:
        events: list[str] = []
        app.teardown_request(lambda error: events.append("request"))
        with app.test_request_context() as ctx:
            ctx.hold()
            ctx.release()
            assert events == []
        assert events == ["request"]

    def test_environ_does_not_keep_the_request(self, app: Flask) -> None:
        with app.test_request_context() as ctx:
            environ = ctx.request.environ
            assert environ["werkzeug.request"] is ctx.request
        assert environ["werkzeug.request"] is None


class TestAfterThisRequest:
    @pytest.mark.parametrize("colour", ["plain", "async"])
    def test_order(self, app: Flask, colour: str) -> None:
        def first(response: Response) -> Response:
            response.headers["X-Order"] = "first"
            return response

        async def first_async(response: Response) -> Response:
            return first(response)

        @app.get("/")
        def index() -> str:
            @after_this_request
            def second(response: Response) -> Response:
                return response

            assert second.__name__ == "second"  # it is given back
            after_this_request(first if colour == "plain" else first_async)
            return ""

        @app.after_request
        def last(response: Response) -> Response:
            response.headers["X-Order"] += ", last"
            return response

        client = app.test_client()
        assert client.get("/").headers["X-Order"] == "first, last"

    def test_outside_of_a_request(self) -> None:
        with pytest.raises(RuntimeError, match="no request is active"):
            after_this_request(lambda response: response)


class TestCopy:
    def test_in_another_thread(self, app: Flask) -> None:
        results: list[object] = []
        with app.test_request_context("/7?a=b"):
            session["name"] = "value"

            @copy_current_request_context
            def work(argument: int) -> int:
                results.append((request.args["a"], session["name"], current_app.name, argument))
                return argument

            thread = threading.Thread(target=work, args=(5,))
            thread.start()
            thread.join()
            assert work.__name__ == "work"
        assert results == [("b", "value", "ctx_test", 5)]

    async def test_in_another_task(self, app: Flask) -> None:
        async with app.test_request_context("/7?a=b"):

            @copy_current_request_context
            async def work() -> str:
                await asyncio.sleep(0)
                return request.args["a"]

            task = asyncio.create_task(work())
        assert await task == "b"

    async def test_several_calls_at_once(self, app: Flask) -> None:
        started, go_on = threading.Barrier(3), asyncio.Event()

        @app.get("/")
        async def index() -> str:
            @copy_current_request_context
            def in_thread() -> str:
                started.wait()  # both are in it
                return request.path

            @copy_current_request_context
            async def in_task() -> str:
                await go_on.wait()
                return request.path

            tasks = [asyncio.ensure_future(in_task()) for _ in range(2)]
            threads = [asyncio.ensure_future(asyncio.to_thread(in_thread)) for _ in range(2)]
            await asyncio.to_thread(started.wait)
            go_on.set()
            return "".join(await asyncio.gather(*tasks, *threads))

        response = await asyncio.to_thread(app.test_client().get, "/")
        assert response.text == "////"

    @pytest.mark.parametrize("read", [False, True])
    @pytest.mark.parametrize("tears_down", [False, True])
    async def test_app_context_that_a_thread_keeps_longer(
        self, app: Flask, tears_down: bool, read: bool
    ) -> None:
        """The request leaves it in its own `contextvars.Context`, the thread in its own. The last
        one tears down."""
        torn_down: list[object] = []
        if tears_down:
            app.teardown_appcontext(lambda error: torn_down.extend(map(g.get, g)))
        pushed, go_on = threading.Event(), threading.Event()
        threads: list[threading.Thread] = []
        names: list[str] = []

        @app.get("/keep")
        async def keep() -> str:
            ctx = current_app_ctx()
            g.name = "kept"

            def work() -> None:
                with ctx:
                    pushed.set()
                    go_on.wait()
                    names.append(g.name)

            threads.append(threading.Thread(target=work))
            threads[0].start()
            await asyncio.to_thread(pushed.wait)
            return request.path if read else "/keep"

        try:
            async with AsyncClient(app) as client:
                response = await client.get("/keep")
        finally:
            before = list(torn_down)
            go_on.set()
            await asyncio.to_thread(threads[0].join)
        assert (response.status_code, response.text) == (200, "/keep")
        assert (before, names) == ([], ["kept"])
        assert torn_down == (["kept"] if tears_down else [])

    @pytest.mark.parametrize("copy", [copy_current_request_context])
    def test_outside_of_a_request(self, copy: Callable[..., Any]) -> None:
        with pytest.raises(RuntimeError, match="no request is active"):
            copy(lambda: None)


class TestRunSync:
    async def test_on_the_requests_thread(self, app: Flask) -> None:
        @app.before_request
        def before() -> None:
            g.ident = threading.get_ident()

        @app.get("/")
        async def index() -> str:
            name = await run_sync(lambda: request.path)
            return f"{name} {await run_sync(threading.get_ident) == g.ident}"

        response = await asyncio.to_thread(app.test_client().get, "/")
        assert response.text == "/ True"

    async def test_outside_of_a_request(self, app: Flask) -> None:
        assert await run_sync(int, "7", base=8) == 7
        name = await run_sync(lambda: threading.current_thread().name)
        assert name == "asyncflask-worker"


@pytest.mark.parametrize("make", [Flask.app_context, Flask.test_request_context])
async def test_contexts_of_tasks_are_their_own(
    app: Flask, make: Callable[[Flask], AbstractContextManager[AppContext | RequestContext]]
) -> None:
    async def work(number: int) -> int:
        with make(app):
            g.number = number
            await asyncio.sleep(0)
            return g.number  # type: ignore[no-any-return]

    assert await asyncio.gather(*map(work, range(5))) == list(range(5))
    assert not has_app_context()
