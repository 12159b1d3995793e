"""Class-based views: the function that `as_view` makes, and where it runs."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from asyncflask import Flask, Response, make_response, request
from asyncflask.async_testing import AsyncClient
from asyncflask.views import MethodView, View


@pytest.fixture
def app() -> Flask:
    app = Flask("views_test")
    app.testing = True
    return app


def runs_on_loop(view: object) -> bool:
    return inspect.iscoroutinefunction(view)


class Hello(View):
    """Says hello."""

    methods = ("GET", "POST")
    provide_automatic_options = False

    def __init__(self, greeting: str = "Hello") -> None:
        self.greeting = greeting

    def dispatch_request(self, name: str) -> Any:
        return f"{self.greeting}, {name}"


class AsyncHello(Hello):
    """Says hello, on the loop."""

    async def dispatch_request(self, name: str) -> Any:
        return f"{self.greeting}, {name}"


class Verbs(MethodView):
    def get(self) -> str:
        return "got"

    def post(self) -> str:
        return "posted"


class AsyncVerbs(MethodView):
    async def get(self) -> str:
        return "got"

    async def post(self) -> str:
        return "posted"


class MixedVerbs(AsyncVerbs):
    def delete(self) -> str:
        return "deleted"


def allowed(app: Flask) -> set[str]:
    return set(app.test_client().options("/").allow)


class TestFunction:
    @pytest.mark.parametrize("view_class", [Hello, AsyncHello])
    def test_attributes(self, view_class: type[Hello]) -> None:
        view: Any = view_class.as_view("hello")
        assert view.view_class is view_class
        assert view.__name__ == "hello"
        assert view.__doc__ == view_class.__doc__
        assert view.__module__ == __name__
        assert view.methods == ("GET", "POST")
        assert view.provide_automatic_options is False

    @pytest.mark.parametrize("view_class", [Hello, AsyncHello])
    def test_arguments(self, app: Flask, view_class: type[Hello]) -> None:
        app.add_url_rule("/<name>", view_func=view_class.as_view("a"))
        app.add_url_rule("/bye/<name>", view_func=view_class.as_view("b", greeting="Bye"))
        client = app.test_client()
        assert client.get("/you").text == "Hello, you"
        assert client.post("/bye/you").text == "Bye, you"
        assert client.put("/you").status_code == 405

    @pytest.mark.parametrize(
        ("view_class", "on_loop"),
        [
            (Hello, False),
            (AsyncHello, True),
            (Verbs, False),
            (AsyncVerbs, True),
            (MixedVerbs, False),
            (MethodView, False),
        ],
    )
    def test_colour(self, view_class: type[View], on_loop: bool) -> None:
        assert runs_on_loop(view_class.as_view("view")) is on_loop

    def test_dispatch_of_a_method_views_own_decides(self) -> None:
        class Checked(AsyncVerbs):
            def dispatch_request(self, **kwargs: Any) -> Any:
                return super().dispatch_request(**kwargs)

        assert not runs_on_loop(Checked.as_view("checked"))

    def test_base_class_has_no_view(self, app: Flask) -> None:
        app.add_url_rule("/", view_func=View.as_view("view"))

        with pytest.raises(NotImplementedError):
            app.test_client().get("/")

    @pytest.mark.parametrize("view_class", [Verbs, AsyncVerbs])
    def test_class_can_be_replaced(self, app: Flask, view_class: type[MethodView]) -> None:
        async def get(self: MethodView) -> str:
            return "replaced"

        view: Any = view_class.as_view("verbs")
        app.add_url_rule("/", view_func=view)
        view.view_class = type("Other", (view_class,), {"get": get})
        assert app.test_client().get("/").text == "replaced"

    @pytest.mark.parametrize(("automatic", "status"), [(False, 405), (None, 200)])
    def test_automatic_options(self, app: Flask, automatic: bool | None, status: int) -> None:
        class Index(View):
            provide_automatic_options = automatic

            def dispatch_request(self) -> str:
                return ""

        app.add_url_rule("/", view_func=Index.as_view("index"))
        assert app.test_client().options("/").status_code == status


@pytest.mark.parametrize("colour", ["def", "async def"])
class TestInit:
    def view_class(self, colour: str) -> type[View]:
        class Counter(View):
            made: ClassVar[int] = 0

            def __init__(self) -> None:
                type(self).made += 1

            def dispatch_request(self) -> Any:
                return str(self.made)

        class AsyncCounter(Counter):
            async def dispatch_request(self) -> Any:
                return str(self.made)

        return Counter if colour == "def" else AsyncCounter

    def test_every_request(self, app: Flask, colour: str) -> None:
        app.add_url_rule("/", view_func=self.view_class(colour).as_view("index"))
        client = app.test_client()
        assert [client.get("/").text, client.get("/").text] == ["1", "2"]

    def test_once(self, app: Flask, colour: str) -> None:
        view_class = self.view_class(colour)
        view_class.init_every_request = False
        app.add_url_rule("/", view_func=view_class.as_view("index"))
        client = app.test_client()
        assert [client.get("/").text, client.get("/").text] == ["1", "1"]


class TestMethodView:
    @pytest.mark.parametrize("view_class", [Verbs, AsyncVerbs, MixedVerbs])
    def test_method_chooses_the_handler(self, app: Flask, view_class: type[MethodView]) -> None:
        app.add_url_rule("/", view_func=view_class.as_view("verbs"))
        client = app.test_client()
        assert client.get("/").text == "got"
        assert client.post("/").text == "posted"
        assert client.put("/").status_code == 405

    def test_handlers_of_mixed_colour(self, app: Flask) -> None:
        app.add_url_rule("/", view_func=MixedVerbs.as_view("verbs"))
        assert app.test_client().delete("/").text == "deleted"

    @pytest.mark.parametrize("view_class", [Verbs, AsyncVerbs])
    def test_head_is_get(self, app: Flask, view_class: type[MethodView]) -> None:
        app.add_url_rule("/", view_func=view_class.as_view("verbs"))
        response = app.test_client().head("/")
        assert response.status_code == 200
        assert response.data == b""

    def test_head_of_its_own(self, app: Flask) -> None:
        class Index(AsyncVerbs):
            async def head(self) -> Response:
                return Response(headers={"X-Method": request.method})

        app.add_url_rule("/", view_func=Index.as_view("index"))
        assert app.test_client().head("/").headers["X-Method"] == "HEAD"

    def test_methods_are_the_handlers(self) -> None:
        assert Verbs.methods == {"GET", "POST"}
        assert MixedVerbs.methods == {"GET", "POST", "DELETE"}

    def test_methods_of_several_bases(self, app: Flask) -> None:
        class Delete(MethodView):
            def delete(self) -> str:
                return "deleted"

        class Both(Verbs, Delete):
            pass

        app.add_url_rule("/", view_func=Both.as_view("both"))
        assert allowed(app) == {"GET", "HEAD", "OPTIONS", "POST", "DELETE"}

    def test_methods_can_be_fewer(self, app: Flask) -> None:
        class ReadOnly(Verbs):
            methods = ("GET",)

        app.add_url_rule("/", view_func=ReadOnly.as_view("read_only"))
        assert allowed(app) == {"GET", "HEAD", "OPTIONS"}

    def test_methods_can_be_others(self, app: Flask) -> None:
        class Base(MethodView):
            methods = ("GET", "PROPFIND")

        class Dav(Base):
            async def get(self) -> str:
                return "got"

            async def propfind(self) -> str:
                return "found"

        app.add_url_rule("/", view_func=Dav.as_view("dav"))
        assert set(Dav.methods) == {"GET", "PROPFIND"}
        assert app.test_client().open("/", method="PROPFIND").text == "found"

    def test_async_dispatch_before_async_handlers(self, app: Flask) -> None:
        class Checked(AsyncVerbs):
            async def dispatch_request(self, **kwargs: Any) -> Any:
                answer: Any = super().dispatch_request(**kwargs)
                return f"checked, {await answer}"

        app.add_url_rule("/", view_func=Checked.as_view("checked"))
        assert app.test_client().get("/").text == "checked, got"

    def test_plain_dispatch_before_async_handlers(self, app: Flask) -> None:
        class Checked(AsyncVerbs):
            def dispatch_request(self, **kwargs: Any) -> Any:
                answer: Any = super().dispatch_request(**kwargs)
                return f"checked, {answer}"

        app.add_url_rule("/", view_func=Checked.as_view("checked"))
        assert app.test_client().get("/").text == "checked, got"

    @pytest.mark.parametrize("mixin", [False, True])
    async def test_plain_dispatch_that_calls_async_handlers_itself(
        self, app: Flask, mixin: bool
    ) -> None:
        class Resource(MethodView):
            def dispatch_request(self, **kwargs: Any) -> Any:
                handler = getattr(self, request.method.lower())
                return {"thread": threading.get_ident(), **handler(**kwargs)}

        class Handler:
            async def get(self) -> dict[str, int]:
                return {"loop": threading.get_ident()}

            def post(self) -> dict[str, str]:
                return {"posted": "plain"}

        class Thing(Handler, Resource):
            if not mixin:
                get = Handler.get

        app.add_url_rule("/", view_func=Thing.as_view("thing"))
        async with AsyncClient(app) as client:
            answer = (await client.get("/")).json()
            assert answer["loop"] == threading.get_ident() != answer["thread"]
            assert (await client.post("/")).json()["posted"] == "plain"
        assert await Thing().get() == {"loop": threading.get_ident()}
        assert inspect.iscoroutinefunction(Handler.get)


def plain(view: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that uses the view's value at once, and knows nothing of coroutines."""

    @functools.wraps(view)
    def wrapper(**kwargs: Any) -> Response:
        response = make_response(view(**kwargs))
        response.headers["X-Order"] = response.headers.get("X-Order", "") + "plain "
        return response

    return wrapper


def asynchronous(view: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that awaits the view."""

    @functools.wraps(view)
    async def wrapper(**kwargs: Any) -> Response:
        value = view(**kwargs)
        response = make_response(await value if inspect.isawaitable(value) else value)
        response.headers["X-Order"] = response.headers.get("X-Order", "") + "async "
        return response

    return wrapper


class TestDecorators:
    @pytest.mark.parametrize("view_class", [Hello, AsyncHello])
    @pytest.mark.parametrize(
        ("decorator_list", "order", "on_loop"),
        [([plain], "plain", False), ([asynchronous], "async", True)],
    )
    def test_either_colour_on_either(
        self,
        app: Flask,
        view_class: type[Hello],
        decorator_list: list[Callable[..., Any]],
        order: str,
        on_loop: bool,
    ) -> None:
        decorated: Any = type("Decorated", (view_class,), {"decorators": decorator_list})
        view: Any = decorated.as_view("decorated")
        assert runs_on_loop(view) is on_loop
        assert view.view_class is decorated
        app.add_url_rule("/<name>", view_func=view)
        response = app.test_client().get("/you")
        assert response.text == "Hello, you"
        assert response.headers["X-Order"].strip() == order

    def test_first_is_innermost(self, app: Flask) -> None:
        class Decorated(Hello):
            decorators: ClassVar[list[Callable[..., Any]]] = [plain, asynchronous]

        app.add_url_rule("/<name>", view_func=Decorated.as_view("decorated"))
        assert app.test_client().get("/you").headers["X-Order"].strip() == "plain async"

    def test_they_see_the_name(self) -> None:
        seen = []

        def note(view: Callable[..., Any]) -> Callable[..., Any]:
            seen.append((view.__module__, view.__name__))
            return view

        class Decorated(AsyncHello):
            decorators: ClassVar[list[Callable[..., Any]]] = [note]

        Decorated.as_view("hello")
        assert seen == [(__name__, "hello")]


class Threads(MethodView):
    async def get(self) -> str:
        return threading.current_thread().name


def test_asynchronous_views_share_the_loops_thread(app: Flask) -> None:
    @app.get("/function")
    async def function() -> str:
        return threading.current_thread().name

    app.add_url_rule("/class", view_func=Threads.as_view("class"))
    client = app.test_client()
    assert client.get("/class").text == client.get("/function").text
