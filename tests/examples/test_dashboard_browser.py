"""examples/dashboard in a real browser: headless Chromium, in which the charts move."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.browser import NewPage, api
from support.browser import browser as browser
from support.browser import new_page as new_page
from support.servers import Server

pytestmark = pytest.mark.slow

DASHBOARD = Path(__file__).parents[2] / "examples" / "dashboard"
PHONE = {"width": 390, "height": 844}
TIMEOUT = 45_000


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("app:app", app_dir=DASHBOARD) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.fixture
def open_page(new_page: NewPage, server: Server) -> NewPage:
    def open_page(**options: Any) -> Any:
        page = new_page(**options)
        page.set_default_timeout(TIMEOUT)
        page.goto(server.url)
        live(page)
        return page

    return open_page


def live(page: Any) -> None:
    page.wait_for_selector("#status[data-state=open]", state="attached")


def points(page: Any, chart: str = "cpu") -> int:
    """How many points the line of a chart has."""
    count: int = page.evaluate(
        "chart => (document.querySelector(`[data-chart=${chart}] .line`)"
        ".getAttribute('d') ?? '').split(/[ML]/).length - 1",
        chart,
    )
    return count


def wait_for_points(page: Any, number: int, chart: str = "cpu") -> None:
    for _ in range(TIMEOUT // 100):
        if points(page, chart) >= number:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"The chart has {points(page, chart)} points, and should have {number}.")


def test_charts_move(open_page: NewPage) -> None:
    page = open_page()
    for chart in ("cpu", "requests", "lag", "memory"):
        wait_for_points(page, 3, chart)
        api.expect(page.locator(f"[data-chart={chart}] output")).not_to_have_text("–")
    before = points(page)
    transform = page.locator("[data-chart=cpu] g g").get_attribute("transform")
    wait_for_points(page, before + 3)
    assert page.locator("[data-chart=cpu] g g").get_attribute("transform") != transform


def test_requests_show(open_page: NewPage) -> None:
    page = open_page()
    wait_for_points(page, 2, "requests")
    top = page.locator("[data-chart=requests] .label").nth(2)
    page.click("#burst")
    api.expect(top).to_have_text(re.compile("[1-9]0+"), timeout=TIMEOUT)
    api.expect(top).not_to_have_text("10", timeout=TIMEOUT)


def test_pointer_shows_what_was(open_page: NewPage) -> None:
    page = open_page()
    wait_for_points(page, 3)
    cursor = page.locator("[data-chart=memory] .cursor")
    api.expect(cursor).to_have_attribute("visibility", "hidden")
    box = page.locator("[data-chart=cpu] svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 10, box["y"] + 20)
    api.expect(cursor).to_have_attribute("visibility", "visible")  # in all charts


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(open_page: NewPage, scheme: str) -> None:
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True, color_scheme=scheme)
    wait_for_points(page, 2)
    size = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    assert size[0] == PHONE["width"]
    assert size[1] <= PHONE["height"]
    about = page.locator("header p").first  # which process this is, not cut
    assert about.evaluate("p => p.scrollWidth <= p.clientWidth")
    background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (background == "rgb(242, 245, 244)") is (scheme == "light")


def test_goes_on_after_a_restart(open_page: NewPage, server: Server) -> None:
    page = open_page()
    wait_for_points(page, 3)
    before = points(page)
    assert server.stop() == 0
    api.expect(page.locator("#status")).to_have_text("Reconnecting", timeout=TIMEOUT)
    with Server("app:app", app_dir=DASHBOARD, port=server.port):
        live(page)
        wait_for_points(page, before + 3)
        api.expect(page.locator("#status")).to_have_text("Live")
