"""Dash in a headless Chromium: sync and async callbacks, files, an error, debug mode."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright
from servers import Process
from serving import UNDER_FLASK, WAYS, served

HERE = Path(__file__).parent
CHROMIUM = shutil.which("chromium")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

expect.set_options(timeout=60_000)  # on a busy machine


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture(params=WAYS)
def server(request):
    with served(request.param, "dashboard:server", folder=HERE) as server:
        yield server


@pytest.fixture
def page(browser, server):
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url)
    yield page
    context.close()


def test_in_a_browser(page, server):
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    expect(page.locator("#clicks")).to_have_text("0 clicks on /_dash-update-component")
    page.click("#button")
    page.click("#button")
    expect(page.locator("#clicks")).to_have_text("2 clicks on /_dash-update-component")

    page.fill("#name", "Grace")
    expect(page.locator("#greeting")).to_have_text("Hello, Grace, at /")
    assert {"Grace"} == {c["value"] for c in page.context.cookies() if c["name"] == "name"}

    for _ in range(3):
        page.click("#add")
    expect(page.locator("#list li")).to_have_text(["1", "2", "3"])
    expect(page.locator("#graph")).to_contain_text("plot a")
    expect(page.locator("#table")).to_contain_text("2")
    with page.expect_download() as download:
        page.click("#download-button")
    assert Path(download.value.path()).read_text() == "a,b"

    page.click("#fail")
    page.click("#button")
    expect(page.locator("#clicks")).to_contain_text("3 clicks")
    expect(page.locator("#failed")).to_have_text("nothing yet")
    assert "as it should" in server.output
    assert not errors


def test_beside_dash(server):
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/plain").text == "beside Dash"
        assert client.get("/_dash-layout").json()["type"] == "Div"
        assert len(client.get("/_dash-dependencies").json()) == 6
        script = client.get("/").text.split('<script src="')[1].split('"')[0]
        first = client.get(script)
        assert first.status_code == 200
        again = client.get(script, headers={"If-None-Match": first.headers.get("ETag", "")})
        assert again.status_code in (200, 304)
        assert client.get("/_dash-component-suites/dash/nothing.js").status_code in (404, 500)


def test_debug_mode(browser, tmp_path):
    """``app.run(debug=True)``, as most have it: Dash's own developer tools, and hot reload."""
    (tmp_path / "main.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(HERE)!r})\n"
        "from dashboard import app\n"
        "app.run(debug=True, port=sys.argv[1], use_reloader=False)\n"
    )
    server = Process([sys.executable, str(tmp_path / "main.py"), "{port}"])
    try:
        server.start()
        reload_hash = httpx.get(f"{server.url}/_reload-hash").json()
        assert reload_hash["hard"] is True or "reloadHash" in reload_hash
        page = browser.new_page()
        page.goto(server.url)
        page.click("#button")
        expect(page.locator("#clicks")).to_contain_text("1 clicks")
        page.click("#fail")
        expect(page.locator(".dash-debug-menu, .dash-debug-menu__outer").first).to_be_visible()
        expect(page.locator("body")).to_contain_text("Callback error updating failed.children")
        page.close()
    finally:
        code = server.stop()
        server.close()
    assert UNDER_FLASK or code == 0
