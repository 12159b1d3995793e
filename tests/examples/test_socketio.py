"""examples/socketio in a real browser. The script of Socket.IO comes from the example itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.browser import NewPage, api
from support.browser import browser as browser
from support.browser import new_page as new_page
from support.servers import Server

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "socketio"
MILLISECONDS = 45_000


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("app:app", app_dir=EXAMPLE) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.fixture
def pages(new_page: NewPage, server: Server) -> list[Any]:
    """Two people with a browser each."""
    pages = [new_page(), new_page()]
    for page in pages:
        page.goto(server.url)
        see(page, "#state", "You are Guest")
    return pages


def see(page: Any, selector: str, text: str) -> None:
    api.expect(page.locator(selector)).to_contain_text(text, timeout=MILLISECONDS)


def say(page: Any, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def test_two_people_talk(pages: list[Any], server: Server) -> None:
    ada, bob = pages
    for page in pages:
        see(page, "#here", "2 online: Guest")
    say(ada, "Hello, <b>Bob</b>!")
    for page in pages:
        see(page, "#log", "Hello, <b>Bob</b>!")
    api.expect(ada.locator("body")).to_have_attribute("data-acknowledged", "sent")
    response = httpx.post(f"{server.url}/announce", data={"text": "closing time"})
    assert response.json() == {"listeners": 2}
    for page in pages:
        see(page, "#log", "the server: closing time")
    bob.close()
    see(ada, "#here", "1 online: Guest")


def test_connection_comes_back(pages: list[Any], server: Server) -> None:
    assert server.stop() == 0, server.output
    for page in pages:
        see(page, "#state", "Reconnecting")
    with Server("app:app", app_dir=EXAMPLE, port=server.port):
        for page in pages:
            see(page, "#state", "You are Guest")
        say(pages[0], "Did you notice anything?")
        see(pages[1], "#log", "Did you notice anything?")
