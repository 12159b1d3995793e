"""`nonblocking`: sync hooks that may run on the event loop."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from asyncflask import Blueprint, Flask, g, nonblocking, request
from asyncflask.asgi.nonblocking import name_of
from asyncflask.async_testing import AsyncClient
from support.asgi import exchange, http_scope

LOOP = threading.main_thread().name


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__, static_folder=None)

    @app.get("/async")
    async def async_view() -> list[str]:
        return ran()

    @app.get("/sync")
    def sync_view() -> list[str]:
        return ran(threading.current_thread().name)

    @app.post("/form")
    async def form() -> list[str]:
        return [*ran(), request.form["name"]]

    return app


def ran(*names: str) -> list[str]:
    """Where the hooks ran, and the view if it says so."""
    return ["loop" if name == LOOP else "thread" for name in (*g.get("threads", ()), *names)]


def note(*args: Any) -> Any:
    """A hook of any kind that notes its thread."""
    g.threads = [*g.get("threads", ()), threading.current_thread().name]
    return args[0] if args and args[0] is not None else None


async def get(app: Flask, path: str = "/async") -> Any:
    async with AsyncClient(app) as client:
        return (await client.get(path)).json()


async def test_hook_of_an_async_view_runs_on_the_loop(app: Flask) -> None:
    app.before_request(nonblocking(partial(note)))
    assert await get(app) == ["loop"]


async def test_without_the_mark_it_runs_on_a_thread(app: Flask) -> None:
    app.before_request(note)
    assert await get(app) == ["thread"]


async def test_hook_of_a_sync_view_runs_on_its_thread(app: Flask) -> None:
    app.before_request(nonblocking(partial(note)))
    assert await get(app, "/sync") == ["thread", "thread"]


async def test_hook_runs_on_the_thread_that_the_request_has(app: Flask) -> None:
    app.before_request(nonblocking(partial(note)))
    app.before_request(note)
    app.before_request(nonblocking(partial(note)))
    assert await get(app) == ["loop", "thread", "thread"]


async def test_hooks_after_the_view(app: Flask) -> None:
    threads = []

    @app.after_request
    @nonblocking
    def after(response: Any) -> Any:
        threads.append(threading.current_thread())
        return response

    @app.teardown_request
    @app.teardown_appcontext
    @nonblocking
    def teardown(error: object) -> None:
        threads.append(threading.current_thread())

    await exchange(app, http_scope("/async"))
    assert threads == [threading.main_thread()] * 3


async def test_hook_of_a_blueprint(app: Flask) -> None:
    site = Blueprint("site", __name__)
    site.before_request(nonblocking(partial(note)))
    site.add_url_rule("/site", view_func=app.view_functions["async_view"], endpoint="page")
    app.register_blueprint(site)
    assert await get(app, "/site") == ["loop"]


async def test_hook_may_read_the_form(app: Flask) -> None:
    @app.before_request
    @nonblocking
    def check() -> None:
        assert request.form["name"] == "Ada"
        note()

    async with AsyncClient(app) as client:
        assert (await client.post("/form", data={"name": "Ada"})).json() == ["loop", "Ada"]


async def test_sync_wrapper_of_an_async_function(app: Flask) -> None:
    async def before() -> None:
        note()

    app.before_request(nonblocking(lambda: before()))
    assert await get(app) == ["loop"]


class Extension:
    """Registers a bound method, as many do."""

    def __init__(self, app: Flask) -> None:
        app.before_request(self.before)

    def before(self) -> None:
        note()


@pytest.mark.parametrize("named", [True, False])
async def test_hook_of_an_extension_by_its_name(app: Flask, named: bool) -> None:
    Extension(app)
    assert name_of(Extension.before) == f"{__name__}:Extension.before"
    if named:
        app.config["NONBLOCKING_HOOKS"] = [f"{__name__}:Extension.before"]
    assert await get(app) == ["loop" if named else "thread"]


async def test_setting_that_is_changed_while_serving(app: Flask) -> None:
    Extension(app)
    assert await get(app) == ["thread"]
    app.config["NONBLOCKING_HOOKS"] = [name_of(Extension.before)]
    assert await get(app) == ["loop"]


async def test_error_names_the_hook(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    @app.after_request
    @nonblocking
    def forgets(response: object) -> None:
        pass

    async with AsyncClient(app) as client:
        assert (await client.get("/async")).status_code == 500
    assert "forgets" in caplog.text


def test_in_the_test_client(app: Flask) -> None:
    app.before_request(nonblocking(partial(note)))
    assert app.test_client().get("/async").json is not None
