"""The HTML documentation: pages fit a phone, links work, buttons copy."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from support.browser import NewPage
from support.browser import browser as browser
from support.browser import new_page as new_page
from test_docs import BUILD_SECONDS, DOCS

pytestmark = pytest.mark.slow

PHONE = {"width": 390, "height": 844}
WIDE = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("furo")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-d", str(folder / "doctrees")]
    subprocess.run(
        [*command, str(DOCS), str(folder / "html")], check=True, timeout=BUILD_SECONDS, cwd=folder
    )
    return folder / "html"


class Page(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = {""}
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.links.add(value)


def pages(site: Path) -> Iterator[Path]:
    yield from (path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts)


def test_links_lead_somewhere(site: Path) -> None:
    read = {path.resolve(): Page(path) for path in pages(site)}
    broken = []
    for path, page in read.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists() or (
                target in read and unquote(parts.fragment) not in read[target].anchors
            ):
                broken.append(f"{path.name}: {link}")
    assert not broken


def test_nothing_is_loaded_from_elsewhere(site: Path, new_page: NewPage) -> None:
    asked: list[str] = []
    page = new_page(viewport=WIDE)
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_pages_fit_a_phone(site: Path, new_page: NewPage) -> None:
    page = new_page(viewport=PHONE)
    too_wide = []
    for path in pages(site):
        page.goto(path.as_uri())
        if page.evaluate("document.documentElement.scrollWidth") > PHONE["width"]:
            too_wide.append(path.name)
    assert too_wide == []


@pytest.mark.parametrize("size", [PHONE, WIDE], ids=["phone", "desktop"])
def test_tables_of_text_fit(site: Path, new_page: NewPage, size: dict[str, int]) -> None:
    """No sentence has to be scrolled sideways; only tables of numbers may."""
    page = new_page(viewport=size)
    too_wide = []
    for path in pages(site):
        page.goto(path.as_uri())
        too_wide += page.locator(".table-wrapper").evaluate_all(
            """tables => tables
                .filter(table => table.scrollWidth > table.clientWidth + 1)
                .filter(table => [...table.querySelectorAll("td")]
                    .some(cell => cell.innerText.length > 60))
                .map(table => location.pathname + ": " + table.innerText.slice(0, 60))"""
        )
    assert too_wide == []


def test_cells_of_a_table_on_a_phone_say_what_they_are(site: Path, new_page: NewPage) -> None:
    page = new_page(viewport=PHONE)
    page.goto((site / "limits.html").as_uri())
    table = page.locator("table.rows").first
    headings = table.locator("th").all_text_contents()
    cells = table.locator("tbody tr").first.locator("td")
    heads = cells.evaluate_all("cells => cells.map(cell => cell.dataset.head)")
    assert heads[1:] == [heading.strip() for heading in headings[1:]]


@pytest.fixture
def served(site: Path) -> Iterator[str]:
    """The URL of the site: the search loads the pages that it has found, which needs a server."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_search_finds(served: str, new_page: NewPage) -> None:
    page = new_page(viewport=PHONE)
    page.goto(f"{served}/search.html?q=websocket")
    found = page.locator("#search-results").get_by_role("link", name="WebSockets", exact=True)
    found.wait_for(timeout=45_000)


def test_copy_buttons_show_on_a_phone(site: Path, new_page: NewPage) -> None:
    page = new_page(viewport=PHONE, is_mobile=True, has_touch=True)
    page.goto((site / "quickstart.html").as_uri())
    button = page.locator("button.copybtn").first
    assert float(button.evaluate("button => getComputedStyle(button).opacity")) > 0.5


def test_search_copy_buttons_and_dark_mode(site: Path, new_page: NewPage) -> None:
    page: Any = new_page(viewport=WIDE, color_scheme="dark")
    page.goto((site / "quickstart.html").as_uri())
    assert page.locator("button.copybtn").count() > 5
    assert page.locator("input[name=q]").count() >= 1
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(part) for part in background.strip("rgb()").split(",")[:3])
    assert max(red, green, blue) < 60, background
