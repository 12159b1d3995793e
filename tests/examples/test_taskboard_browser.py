"""examples/taskboard in a real browser: two people, whose pages show what the other one does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.browser import NewPage
from support.browser import browser as browser
from support.browser import new_page as new_page
from support.servers import Server

pytestmark = pytest.mark.slow

TASKBOARD = Path(__file__).parents[2] / "examples" / "taskboard"
TIMEOUT = 45_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    env = {
        "BOARD_SECRET_KEY": "test",
        "BOARD_SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'board.sqlite'}",
    }
    with Server("board:create_app", app_dir=TASKBOARD, args=["--factory"], env=env) as server:
        yield server
        assert "Traceback" not in server.output, server.output


def register(page: Any, server: Server, name: str) -> None:
    page.set_default_timeout(TIMEOUT)
    page.goto(f"{server.url}/register")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill("correct horse")
    page.click("button:text('Register')")
    page.wait_for_selector(f"text=Log out {name}")


def test_two_people(server: Server, new_page: NewPage) -> None:
    ada, bob = new_page(), new_page(viewport={"width": 390, "height": 844})
    register(ada, server, "Ada")
    register(bob, server, "Bob")
    ada.fill("[name=title]", "Make <tea>")
    ada.click("button:text('Add')")
    bob.wait_for_selector(".title:text('Make <tea>')")
    bob.click("[aria-label=Done]")
    ada.wait_for_selector(".done .title")
    ada.get_by_label("Task").fill("x" * 80)
    ada.click("button:text('Add')")
    bob.wait_for_selector(".title:text('xxx')")
    assert bob.evaluate("document.documentElement.scrollWidth") <= 390
