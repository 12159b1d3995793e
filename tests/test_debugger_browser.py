"""The debugger, and pages that reload, in a browser: `asyncflask run --debug` and Chromium."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.browser import NewPage
from support.browser import browser as browser
from support.browser import new_page as new_page
from support.servers import Process

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="tests by POSIX signals"),
]

APP = """
import asyncio

from asyncflask import Flask, g, render_template, request, websocket

app = Flask(__name__)


@app.get("/")
async def index():
    return render_template("index.html", code="CODE")


@app.get("/fails")
async def fails():
    g.user = "ada"
    local = 42
    raise LookupError("broken on purpose")


@app.get("/template")
def template():
    return render_template("fails.html", user=None)


@app.websocket("/ws")
async def ws():
    number = await websocket.receive()
    raise LookupError(number)
"""
INDEX = """<!doctype html>
<html>
<head><title>page</title><link rel="stylesheet" href="/static/style.css"></head>
<body><h1>TEXT</h1><p>{{ code }}</p></body>
</html>
"""


class Site:
    """An app that is being written, and its server."""

    def __init__(self, folder: Path, server: Process) -> None:
        self.folder = folder
        self.server = server
        self.url = server.url

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    @property
    def pin(self) -> str:
        return str(re.findall(r"Debugger PIN: ([\d-]+)", self.server.output)[-1])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    for folder in "templates", "static":
        (tmp_path / folder).mkdir()
    (tmp_path / "app.py").write_text(APP.replace("CODE", "first code"))
    (tmp_path / "templates" / "index.html").write_text(INDEX.replace("TEXT", "First"))
    (tmp_path / "templates" / "fails.html").write_text("<p>\n{{ user.name.first }}\n")
    (tmp_path / "static" / "style.css").write_text("h1 { color: rgb(1, 1, 1) }")
    command = [sys.executable, "-m", "asyncflask", "run", "--debug", "--port", "{port}"]
    with Process(command, cwd=tmp_path) as server:
        yield Site(tmp_path, server)


@pytest.fixture
def page(new_page: NewPage) -> Any:
    page = new_page()
    page.set_default_timeout(60_000)
    return page


def open_console(page: Any, site: Site, frame: int = -1) -> Any:
    """Open the console of a frame, and unlock it."""
    frames = page.locator("div.frame")
    chosen = frames.nth(frame % frames.count())
    chosen.hover()
    chosen.locator("pre.current img").click()
    # It fades in; one that fades in and out at once stays where it is.
    page.wait_for_function("getComputedStyle(document.querySelector('.pin-prompt')).opacity == 1")
    page.fill(".pin-prompt input[name=pin]", site.pin)
    page.click(".pin-prompt input[name=btn]")
    page.wait_for_selector(".pin-prompt", state="hidden")
    return chosen.locator("xpath=..").locator("pre.console")


def evaluate(page: Any, console: Any, code: str) -> str:
    answers = console.locator(".output > div")
    count = answers.count()
    console.locator("input").fill(code)
    console.locator("input").press("Enter")
    answers.nth(count).wait_for()
    shown: str = answers.nth(count).inner_text()
    assert shown.startswith(f">>> {code}")
    return shown.removeprefix(f">>> {code}").strip()


def test_console_of_a_frame(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/fails?name=ada")
    assert page.inner_text("h1") == "LookupError"
    assert page.locator("div.frame").count() == 1
    console = open_console(page, site)
    assert "'name': 'ada'" in evaluate(page, console, "request.args")
    assert evaluate(page, console, "await asyncio.sleep(0.01, local)") == "42"
    assert evaluate(page, console, "g.user") == "'ada'"

    page.click("p.folded a")
    page.wait_for_selector("text=dispatch.py")
    page.click("h2.traceback")  # to the text that can be copied
    assert "LookupError: broken on purpose" in page.inner_text("div.plain pre")


def test_template(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/template")
    assert "fails.html, line 2" in page.inner_text("p.template")
    files = page.locator("div.frame cite").all_inner_texts()
    line = next(number for number, file in enumerate(files) if file.endswith('fails.html"'))
    console = open_console(page, site, line)
    assert evaluate(page, console, "user, request.path") == "(None, '/template')"


def test_websocket_by_the_log(page: Any, site: Site) -> None:
    page.goto(site.url)
    page.evaluate(
        """url => new Promise(resolve => {
            const socket = new WebSocket(url);
            socket.onopen = () => socket.send("7");
            socket.onclose = resolve;
        })""",
        f"{site.server.ws_url}/ws",
    )
    deadline = time.monotonic() + 60
    while not (urls := re.findall(r"In the debugger: (\S+)", site.server.output)):
        assert time.monotonic() < deadline  # it is logged after the connection was closed
        time.sleep(0.05)
    assert "Exception on /ws [WEBSOCKET]" in site.server.output
    page.goto(urls[0])
    console = open_console(page, site)
    assert evaluate(page, console, "number, request.path") == "('7', '/ws')"


def test_foreign_host(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/fails")
    secret = page.evaluate("SECRET")
    frame = page.locator("div.frame").get_attribute("id").removeprefix("frame-")
    for query in {"cmd": "local", "frm": frame}, {"cmd": "pinauth", "pin": site.pin}:
        query = {"__debugger__": "yes", "s": secret, **query}
        foreign = {"Host": "evil.example"}
        assert httpx.get(site.url, params=query, headers=foreign).status_code == 400


def test_page_reloads(page: Any, site: Site) -> None:
    """After an edit of a template, a static file, the code; after a broken edit was mended."""
    page.goto(site.url)
    assert (page.inner_text("h1"), page.inner_text("p")) == ("First", "first code")
    site.write("templates/index.html", INDEX.replace("TEXT", "Second"))
    page.wait_for_selector("h1:text-is('Second')")

    page.evaluate("window.before = true")
    site.write("static/style.css", "h1 { color: rgb(2, 2, 2) }")
    page.wait_for_function(
        "!window.before && getComputedStyle(document.querySelector('h1')).color == 'rgb(2, 2, 2)'"
    )

    site.write("app.py", APP.replace("CODE", "second code"))
    page.wait_for_selector("p:text-is('second code')")

    site.write("app.py", f"{APP}\ndef (")
    page.wait_for_selector("h1:text-is('SyntaxError')")
    assert "def (" in page.inner_text("div.detail")
    site.write("app.py", APP.replace("CODE", "third code"))
    page.wait_for_selector("p:text-is('third code')")

    fails_to_start = "\n@app.before_serving\ndef start():\n    raise LookupError('no database')\n"
    site.write("app.py", APP + fails_to_start)
    page.wait_for_selector("h1:text-is('LookupError')")
    assert "no database" in page.inner_text("div.detail")
    site.write("app.py", APP.replace("CODE", "fourth code"))
    page.wait_for_selector("p:text-is('fourth code')")
    # A handful of versions, and no reload without one.
    assert site.server.output.count('"GET / HTTP/1.1"') < 20
    assert "livereload" not in site.server.output
