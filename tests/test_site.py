"""The documentation as HTML: pages fit a phone, links lead somewhere, buttons copy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
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


def test_search_copy_buttons_and_dark_mode(site: Path, new_page: NewPage) -> None:
    page: Any = new_page(viewport=WIDE, color_scheme="dark")
    page.goto((site / "quickstart.html").as_uri())
    assert page.locator("button.copybtn").count() > 5
    assert page.locator("input[name=q]").count() >= 1
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(part) for part in background.strip("rgb()").split(",")[:3])
    assert max(red, green, blue) < 60, background
