"""The first page of every example in a real browser, on a phone and on a desktop: it fits the
width, its console is clean, and it works offline, as it asks no other host for anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.browser import NewPage
from support.browser import browser as browser
from support.browser import new_page as new_page
from support.servers import HOST, Server

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
FACTORIES = {"flaskr": "flaskr:create_app", "taskboard": "board:create_app"}
FIRST_PAGES = {"flaskr": "/auth/login"}  # the others begin at "/"
TIMEOUT = 45_000
SIZES = [(390, 844), (1280, 800)]


@pytest.fixture(scope="module", params=sorted(path.name for path in EXAMPLES.iterdir()))
def example(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "pantry":
        pytest.importorskip("mcp")
    return name


@pytest.fixture(scope="module")
def server(example: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    database = tmp_path_factory.mktemp(example) / "board.sqlite"
    env = {
        "BOARD_SECRET_KEY": "test",
        "BOARD_SQLALCHEMY_DATABASE_URI": f"sqlite:///{database}",
        "ROOMS_URL": "memory://",
    }
    target = FACTORIES.get(example, "app:app")
    args = ["--factory"] if example in FACTORIES else []
    with Server(target, app_dir=EXAMPLES / example, args=args, env=env) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.mark.parametrize("size", SIZES, ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_first_page(
    example: str, server: Server, new_page: NewPage, size: tuple[int, int], scheme: str
) -> None:
    width, height = size
    page = new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.set_default_timeout(TIMEOUT)
    said: list[Any] = []
    hosts: set[str | None] = set()
    page.on("console", lambda message: said.append(message))
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    page.on("websocket", lambda socket: hosts.add(urlsplit(socket.url).hostname))
    page.goto(server.url + FIRST_PAGES.get(example, "/"), wait_until="load")
    assert page.locator("h1").first.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert [message.text for message in said if message.type == "error"] == []
    assert hosts - {None} == {HOST}  # None: data in the page itself


def test_readme_says_what_to_try_and_look_at(example: str) -> None:
    readme = (EXAMPLES / example / "README.rst").read_text("utf-8")
    assert ".. code-block:: console" in readme
    tries = readme.partition("What to try\n-----------\n")[2].partition("\n--")[0]
    assert 3 <= tries.count("\n- ") <= 5
    assert "What to look at\n---------------\n" in readme
