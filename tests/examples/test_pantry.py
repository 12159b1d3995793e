"""examples/pantry on a real server, with an MCP client, and in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from support.browser import NewPage, api
from support.browser import browser as browser
from support.browser import new_page as new_page
from support.servers import Server

pytestmark = pytest.mark.slow

PANTRY = Path(__file__).parents[2] / "examples" / "pantry"
SECONDS = 45.0
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("app:app", app_dir=PANTRY) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.fixture
def log_in(new_page: NewPage, server: Server) -> Any:
    def log_in(name: str, **options: Any) -> Any:
        page = new_page(**options)
        page.set_default_timeout(SECONDS * 1000)
        page.goto(server.url)
        page.get_by_label("Your name").fill(name)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_selector("#status[data-state=open]", state="attached")
        return page

    return log_in


async def add_by_mcp(server: Server, cookies: dict[str, str], name: str) -> str:
    async with httpx2.AsyncClient(cookies=cookies, timeout=SECONDS) as http:
        url = f"{server.url}/assistant/mcp"
        async with Client(streamable_http_client(url, http_client=http)) as client:
            result = await client.call_tool("add_to_list", {"name": name, "amount": 3})
            return str(result.content[0].text)  # type: ignore[union-attr]


async def test_without_a_browser(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=SECONDS) as client:
        for url in "/items", "/changes", "/docs", "/openapi.json", "/assistant/mcp":
            assert (await client.get(url)).status_code == 401
        for url in "/livez", "/readyz":
            assert (await client.get(url)).status_code == 200
        await client.post("/login", data={"name": "Ada"})
        added = await client.post("/items", json={"name": "Tea"})
        assert (added.status_code, added.json()["by"]) == (201, "Ada")
        for empty in "", " ":
            assert (await client.post("/items", json={"name": empty})).status_code == 422
        assert (await client.put("/items/7/done")).status_code == 404
        cookies = dict(client.cookies)
        assert await add_by_mcp(server, cookies, "Rice") == "Rice is on the list."
        items = (await client.get("/items")).json()
        assert [(item["name"], item["by"]) for item in items] == [
            ("Tea", "Ada"),
            ("Rice", "Ada's assistant"),
        ]


def test_two_people(log_in: Any, tmp_path: Path) -> None:
    # The longest name there is, in one word.
    ada, grace = log_in("A" * 30), log_in("Grace", viewport=PHONE, color_scheme="dark")
    ada.get_by_label("What", exact=True).fill("Oat milk")
    ada.get_by_label("How many").fill("2")
    ada.get_by_role("button", name="Add").click()
    line = grace.locator("li")
    api.expect(line).to_contain_text("2 ×")
    api.expect(line).to_contain_text("Oat milk")
    api.expect(line).to_contain_text("A" * 30)
    line.get_by_role("checkbox").check()
    api.expect(ada.locator("li.done")).to_contain_text("Oat milk")
    api.expect(ada.locator("#left")).to_have_text("nothing to buy")
    grace.reload()
    api.expect(grace.locator("li.done")).to_contain_text("Oat milk")
    ada.screenshot(path=tmp_path / "ada.png")
    grace.screenshot(path=tmp_path / "grace.png")
    width = grace.evaluate("document.documentElement.scrollWidth")
    assert width == PHONE["width"]


def test_what_is_wrong_is_said(log_in: Any) -> None:
    page = log_in("Ada")
    page.evaluate("document.getElementById('new').noValidate = true")
    page.get_by_label("How many").fill("100")
    page.get_by_label("What", exact=True).fill("Tea")
    page.get_by_role("button", name="Add").click()
    api.expect(page.locator("#problem")).to_contain_text("amount: Input should be less than")
    assert page.locator("li").count() == 0


def test_page_of_the_api(log_in: Any, server: Server, tmp_path: Path) -> None:
    page = log_in("Ada")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{server.url}/docs")
    api.expect(page.get_by_role("heading", name="Pantry")).to_be_visible()
    page.locator("#operations-default-add_item .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    api.expect(page.locator(".responses-table.live-responses-table")).to_contain_text("201")
    page.screenshot(path=tmp_path / "docs.png", full_page=True)
    # All of it comes from here.
    assert [url for url in asked if not url.startswith((server.url, "data:"))] == []
