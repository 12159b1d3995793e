"""Reloading pages: `LiveReload` around an app, in memory. `test_debugger_browser.py` shows that
pages do reload."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles
from watchfiles import Change

from asyncflask import Blueprint, Flask, Response, request, send_file, websocket
from asyncflask.async_testing import AsyncClient
from asyncflask.livereload import HELD_BYTES, PATH, SCRIPT, LiveReload, _Filter, folders_of
from support.asgi import exchange, http_scope

PAGE = "<!doctype html><html><body><p>page</p></body></html>"
HTML = {"Accept": "text/html,*/*"}
TAG = re.compile(r'<script src="/__asyncflask__/livereload\.js\?v=\w+-\d+" async></script>')


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask("livereload_test", root_path=str(tmp_path), static_folder="static")
    (tmp_path / "static").mkdir()
    (tmp_path / "templates").mkdir()
    app.get("/")(lambda: PAGE)
    return app


def client_of(app: Flask, *exclude: str) -> AsyncClient:
    return AsyncClient(LiveReload(app, app, exclude))


async def get(app: Flask, path: str = "/", **headers: str) -> Any:
    async with client_of(app) as client:
        return await client.get(path, headers=headers or HTML)


# -- the script in pages --------------------------------------------------------------------


async def test_page_has_the_script(app: Flask) -> None:
    response = await get(app)
    assert TAG.sub("", response.text) == PAGE
    assert TAG.search(response.text)
    assert response.text.endswith("</script></body></html>")
    assert int(response.headers["Content-Length"]) == len(response.content)


@pytest.mark.parametrize(
    ("status", "mimetype", "headers", "body"),
    [
        (200, "text/html", {}, "<p>a fragment</p>"),
        (200, "application/json", {}, '"</body>"'),
        (200, "text/plain", {}, PAGE),
        (200, "text/html", {"Content-Encoding": "br"}, PAGE),
        (200, "text/html", {"Content-Disposition": "attachment; filename=x.html"}, PAGE),
        (206, "text/html", {"Content-Range": "bytes 0-51/100"}, PAGE),
        (204, "text/html", {}, ""),
    ],
)
async def test_others_do_not(
    app: Flask, status: int, mimetype: str, headers: dict[str, str], body: str
) -> None:
    @app.get("/other")
    def other() -> Response:
        return Response(body, status, {**headers, "ETag": '"x"'}, mimetype=mimetype)

    peer = await exchange(LiveReload(app, app), http_scope("/other"))
    plain = await exchange(app, http_scope("/other"))
    assert (peer.sent, peer.body) == (plain.sent, body.encode())


async def test_streams_pass_as_they_come(app: Flask) -> None:
    @app.get("/stream")
    def stream() -> Iterator[str]:
        yield "<html><body>"
        yield "</body>"

    peer = await exchange(LiveReload(app, app), http_scope("/stream"))
    assert peer.body == b"<html><body></body>"
    assert "content-length" not in dict(peer.headers)


@pytest.mark.parametrize("size", [300_000, HELD_BYTES + 1])
async def test_page_of_a_file(app: Flask, tmp_path: Path, size: int) -> None:
    """It comes in several pieces, with its length. A large one is not held back."""
    path = tmp_path / "page.html"
    path.write_text(f"{'x' * (size - len(PAGE))}{PAGE}")
    app.get("/file", endpoint="file")(lambda: send_file(path))
    response = await get(app, "/file")
    assert int(response.headers["Content-Length"]) == len(response.content)
    assert TAG.sub("", response.text) == path.read_text()
    assert bool(TAG.search(response.text)) == ("ETag" not in response.headers) == (size == 300_000)


async def test_page_is_sent_even_if_the_browser_has_it(app: Flask) -> None:
    @app.get("/cached")
    def cached() -> Response:
        response = Response(PAGE)
        response.set_etag("x")
        response.make_conditional(request)
        return response

    assert (await get(app, "/cached", **HTML, **{"If-None-Match": '"x"'})).status_code == 200
    assert (await get(app, "/cached", **{"If-None-Match": '"x"'})).status_code == 304


async def test_error_page_has_the_script(app: Flask) -> None:
    app.register_error_handler(404, lambda error: (PAGE, 404))
    response = await get(app, "/missing")
    assert response.status_code == 404
    assert TAG.sub("", response.text) == PAGE != response.text


async def test_head_and_post(app: Flask) -> None:
    app.post("/post", endpoint="post")(lambda: PAGE)
    head = await exchange(LiveReload(app, app), http_scope("/", "HEAD"))
    assert (head.status, head.body) == (200, b"")
    assert "content-length" not in dict(head.headers)
    post = await exchange(LiveReload(app, app), http_scope("/post", "POST"))
    assert post.body == PAGE.encode()  # to reload it would be to send the form again


async def test_script_under_a_policy_and_a_prefix(app: Flask) -> None:
    policy = "script-src 'nonce-a+b/c=' 'strict-dynamic'"
    app.get("/csp", endpoint="csp")(lambda: (PAGE, {"Content-Security-Policy": policy}))
    scope = http_scope("/app/csp", root_path="/app")
    body = (await exchange(LiveReload(app, app), scope)).body
    assert b'<script src="/app/__asyncflask__/livereload.js?v=' in body
    assert b' nonce="a+b/c=" async></script></body>' in body
    script = http_scope("/app/__asyncflask__/livereload.js", root_path="/app")
    assert (await exchange(LiveReload(app, app), script)).body == SCRIPT


async def test_starlettes_responses(app: Flask) -> None:
    app.get("/starlette", endpoint="starlette")(lambda: HTMLResponse(PAGE))
    assert TAG.search((await get(app, "/starlette")).text)


async def test_nothing_without_it(app: Flask) -> None:
    app.debug = True
    async with AsyncClient(app) as client:
        assert (await client.get("/", headers=HTML)).text == PAGE
        assert (await client.get(f"{PATH}.js")).status_code == 404


# -- the news of changes --------------------------------------------------------------------


def version_in(page: str) -> str:
    version: str = re.findall(r"v=([\w-]+)", page)[0]
    return version


async def test_pages_hear_of_changes(app: Flask, tmp_path: Path) -> None:
    async with client_of(app) as client:
        page = await client.get("/")
        async with (
            client.websocket_connect(PATH) as one,
            client.websocket_connect(PATH) as other,
        ):
            first = await one.receive()
            assert await other.receive() == first == version_in(page.text)
            (tmp_path / "templates" / "page.html").write_text("changed")
            second = await one.receive()
            assert await other.receive() == second != first
        page = await client.get("/")
        assert version_in(page.text) != first


@pytest.mark.parametrize(
    ("name", "counts"),
    [("a.css", True), ("page.html", True), (".a.css.swp", False), ("a~", False), ("a.tmp", False)],
)
def test_files_that_count(name: str, counts: bool) -> None:
    assert _Filter(("*.tmp",))(Change.added, f"/app/static/{name}") is counts


async def test_failure_of_watching_is_told(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = asyncio.Event()
    caplog.handler.addFilter(lambda record: told.set() or True)  # type: ignore[func-returns-value]
    monkeypatch.setattr("watchfiles.awatch", lambda *args, **kwargs: 1 / 0)
    async with client_of(app) as client, client.websocket_connect(PATH) as connection:
        assert await connection.receive()
        await told.wait()
    assert "reload pages yourself" in caplog.text


async def test_each_process_has_a_version_of_its_own(app: Flask) -> None:
    assert LiveReload(app, app).version != LiveReload(app, app).version


async def test_app_without_folders() -> None:
    app = Flask("nothing", static_folder=None, template_folder=None)
    async with client_of(app) as client, client.websocket_connect(PATH) as connection:
        assert await connection.receive()


async def test_other_websockets_are_the_apps(app: Flask) -> None:
    @app.websocket("/ws")
    async def ws() -> None:
        await websocket.send("the app's")

    async with client_of(app) as client, client.websocket_connect("/ws") as connection:
        assert await connection.receive() == "the app's"


def test_folders(app: Flask, tmp_path: Path) -> None:
    blueprint = Blueprint(
        "b", __name__, root_path=str(tmp_path / "b"), static_folder="s", template_folder="t"
    )
    app.register_blueprint(blueprint)
    app.mount("/assets", StaticFiles(directory=tmp_path))
    app.jinja_loader = jinja2.ChoiceLoader(
        [
            jinja2.FileSystemLoader([tmp_path / "x", tmp_path / "y"]),
            jinja2.PrefixLoader({"p": jinja2.FileSystemLoader(tmp_path / "z")}),
            jinja2.DictLoader({}),
        ]
    )
    folders = {Path(folder).relative_to(tmp_path).as_posix() for folder in folders_of(app)}
    assert folders == {"static", "x", "y", "z", "b/s", "b/t", "."}
