"""examples/ws_api in a real browser: two windows, and an error of the API that the page shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.browser import NewPage, api
from support.browser import browser as browser
from support.browser import new_page as new_page
from support.servers import Server

pytestmark = pytest.mark.slow

WS_API = Path(__file__).parents[2] / "examples" / "ws_api"
TIMEOUT = 45_000


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("app:app", app_dir=WS_API, env={"ROOMS_URL": "memory://"}) as server:
        yield server
        assert "Traceback" not in server.output, server.output


def test_two_windows_and_an_error(server: Server, new_page: NewPage) -> None:
    ada, bob = new_page(), new_page(viewport={"width": 390, "height": 844})
    for page in ada, bob:
        page.set_default_timeout(TIMEOUT)
        page.goto(server.url)
        page.wait_for_selector("#status[data-state=open]")
    problem = ada.locator("#problem")
    api.expect(problem).to_be_hidden()
    ada.get_by_role("button", name="Add").click()
    api.expect(problem).to_have_text("A title has 1 to 200 characters.", timeout=TIMEOUT)
    api.expect(ada.locator("#status")).to_have_text("Connected")
    ada.get_by_label("Task").fill("Have <tea>")
    ada.get_by_role("button", name="Add").click()
    api.expect(problem).to_be_hidden(timeout=TIMEOUT)
    bob.get_by_label("Have <tea>").check()
    api.expect(ada.get_by_label("Have <tea>")).to_be_checked(timeout=TIMEOUT)
    assert bob.evaluate("document.documentElement.scrollWidth") == 390
