"""Fixtures for users' tests. To enable them, write ``pytest_plugins =
["asyncflask.pytest_plugin"]`` in `conftest.py`, or run ``pytest -p asyncflask.pytest_plugin``.
A fixture with the same name in `conftest.py` or a test overrides them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pytest

from .app import Flask
from .asgi.lifespan import started
from .commands import NoAppException, ScriptInfo
from .loop_guard import DEBUG_SECONDS, Block, LoopGuard
from .testing import FlaskClient, FlaskCliRunner

if TYPE_CHECKING:
    from .async_testing import AsyncClient

try:
    import pytest_asyncio
except ImportError:  # then tests use anyio's plugin, which accepts any fixture
    _fixture: Any = pytest.fixture
else:
    _fixture = pytest_asyncio.fixture

F = TypeVar("F", bound=Callable[..., object])


def _async_fixture(func: F) -> F:
    return cast(F, _fixture(func))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting for the app."""
    parser.addini(
        "asyncflask_app",
        "The app of the fixture 'app', as 'module:name' or 'module:create_app()'."
        " Default: as for the command 'asyncflask'.",
    )


@pytest.fixture
def app(pytestconfig: pytest.Config) -> Iterator[Flask]:
    """The app to test, with `TESTING` set. It is named by the setting `asyncflask_app` or the
    environment variable `FLASK_APP`; otherwise it is the one in `wsgi.py` or `app.py`. A
    factory is called for each test."""
    name = pytestconfig.getini("asyncflask_app") or os.environ.get("FLASK_APP")
    try:
        app = cast(Flask, ScriptInfo(name, set_debug_flag=False).load_app())
    except NoAppException as error:
        pytest.fail(
            f"{error.message}\nFor tests, write a fixture 'app' in conftest.py that returns"
            " the app, or set 'asyncflask_app = \"module:name\"' in pytest's configuration.",
            pytrace=False,
        )
    testing = app.testing
    app.testing = True
    yield app
    app.testing = testing


@pytest.fixture
def client(app: Flask) -> Iterator[FlaskClient]:
    """`app.test_client()`, for requests and WebSockets in sync tests. The app is started with
    its lifespan, and stopped after the test."""
    client = app.test_client()
    with started(app) as client.lifespan_state:
        yield client


@_async_fixture
async def async_client(app: Flask) -> AsyncIterator[AsyncClient]:
    """An `AsyncClient`, for requests and WebSockets on the test's own loop. The app is started,
    and stopped after the test."""
    from .async_testing import AsyncClient  # needs httpx

    async with AsyncClient(app) as client:
        yield client


@pytest.fixture
def runner(app: Flask) -> FlaskCliRunner:
    """`app.test_cli_runner()`, for the app's commands."""
    return app.test_cli_runner()


@pytest.fixture
def loop_guard(app: Flask, request: pytest.FixtureRequest) -> Iterator[list[Block]]:
    """Fails the test if code of the app blocks the event loop for `LOOP_GUARD` seconds
    (default: 0.1) or longer. The value is the list of blocks so far."""
    blocks: list[Block] = []
    guard = LoopGuard(app, app.config["LOOP_GUARD"] or DEBUG_SECONDS, blocks.append)
    with guard.installed(request.function):
        yield blocks
    if blocks:
        pytest.fail("\n".join(map(str, blocks)), pytrace=False)
