"""The same app under WSGI servers, within WSGI middleware, and mounted in other apps."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect
from websockets.typing import Origin

from contract.raw import APPS, SECONDS, TESTS, Connection, Diary, get, serve
from support.servers import Process


class Site:
    def __init__(self, server: Process, diary: Diary, prefix: str) -> None:
        self.server = server
        self.diary = diary
        self.prefix = prefix
        self.client = httpx.Client(base_url=server.url + prefix, timeout=SECONDS)


def gunicorn(app: str, diary: Diary, *args: str) -> Process:
    """Under gunicorn: WSGI; by default its sync worker, which takes one request at a time."""
    command = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:{port}", "--no-control-socket"]
    command += ["--graceful-timeout", "5", *(args or ["-k", "sync"])]
    return Process([*command, f"{APPS}.{app}"], cwd=TESTS, env=diary.env)


GEVENT = {
    "gunicorn-gevent": ["-k", "gevent"],
    "gunicorn-gevent-preload": ["-k", "gevent", "--preload"],  # imported before it patches
    "gunicorn-gevent-pywsgi": ["-k", "gunicorn.workers.ggevent.GeventPyWSGIWorker"],
}


KINDS = {
    "gunicorn": ("everywhere:app", ""),
    **dict.fromkeys(GEVENT, ("everywhere:app", "")),
    "uvicorn": ("everywhere:app", ""),
    "gunicorn-proxied": ("everywhere:proxied", ""),
    "uvicorn-proxied": ("everywhere:proxied", ""),
    "uvicorn-wrapped": ("everywhere:wrapped", ""),
    "starlette": ("everywhere:starlette", "/inner"),
    "host": ("everywhere:host", "/inner"),
}


@pytest.fixture(scope="module", params=KINDS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    target, prefix = KINDS[request.param]
    diary = Diary(tmp_path_factory.mktemp("diary") / "diary")
    wsgi = request.param.startswith("gunicorn")
    args = GEVENT.get(request.param, [])
    with gunicorn(target, diary, *args) if wsgi else serve(target, diary=diary) as server:
        site = Site(server, diary, prefix)
        with site.client:
            yield site
        output = server.output
    expected = output.count("LookupError: on purpose")
    assert output.count("Traceback") == expected, output


@pytest.mark.parametrize("view", ["sync", "async"])
def test_view(site: Site, view: str) -> None:
    reply = site.client.get(f"/{view}?a=%C3%A4")
    seen = reply.json()
    url = site.server.url + site.prefix
    assert seen == {
        "url": f"{url}/{view}?a=ä",
        "root": site.prefix,
        "path": f"/{view}",
        "script": site.prefix,
        "remote": "127.0.0.1",
        "scheme": "http",
        "here": f"{site.prefix}/sync?x=%C3%A4",
        "external": f"{url}/sync",
        "started": seen["started"],
    }
    assert reply.headers["X-Began"] == f"/{view}"


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("size", [10, 700_000])
def test_upload(site: Site, colour: str, size: int) -> None:
    reply = site.client.post(
        f"/form/{colour}", data={"name": "ä"}, files={"file": ("f.txt", b"x" * size)}
    )
    assert reply.json() == {"form": {"name": "ä"}, "files": {"file": size}}


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_form(site: Site, colour: str) -> None:
    reply = site.client.post(f"/form/{colour}", data={"name": "ä", "b": "c"})
    assert reply.json() == {"form": {"name": "ä", "b": "c"}, "files": {}}


def test_body(site: Site) -> None:
    assert site.client.post("/json", json=["ä"]).json() == {"json": ["ä"]}
    assert site.client.post("/json", content=b"{").status_code == 415
    reply = site.client.post("/json", content=b"{", headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert site.client.post("/raw", content=b"x" * 900_000).text == "900000"
    parts = (b"x" * 1000 for _ in range(900))  # chunked
    assert site.client.post("/raw", content=parts).text == "900000"


@pytest.mark.parametrize("path", ["/raw", "/form/sync", "/form/async"])
def test_body_over_the_limit(site: Site, path: str) -> None:
    with Connection(site.server) as connection:
        connection.request(
            site.prefix + path,
            "POST",
            b"",
            "Content-Length: 3000000",
            "Content-Type: multipart/form-data; boundary=B",
        )
        assert connection.reply("POST").status == 413


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("count", [0, 1, 500])
def test_stream(site: Site, colour: str, count: int) -> None:
    name = f"{colour}{count}"
    reply = site.client.get(f"/stream/{colour}?count={count}&id={name}")
    assert reply.text == "".join(f"{name} {number}\n" for number in range(count))
    site.diary.wait(name, "torn down")
    reply = site.client.head(f"/stream/{colour}?count={count}&id={name}-head")
    assert (reply.status_code, reply.text) == (200, "")
    site.diary.wait(f"{name}-head", "torn down")
    assert site.diary.of(name) == ["torn down"]


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_stream_whose_client_leaves(site: Site, colour: str) -> None:
    name = f"left-{colour}"
    with Connection(site.server) as connection:
        connection.request(f"{site.prefix}/stream/{colour}?count=100000000&id={name}")
        connection.read_until(b" 3\n")
    site.diary.wait(name, "torn down")
    assert site.diary.of(name) == ["torn down"]


def test_session(site: Site) -> None:
    assert [site.client.get("/count").text for _ in range(3)] == ["1", "2", "3"]


def test_responses(site: Site) -> None:
    reply = site.client.get("/starlette")
    assert (reply.status_code, reply.json(), reply.headers["X-Own"]) == (201, {"a": 1}, "yes")
    assert site.client.get("/error/418").text == "short and stout"
    assert site.client.get("/error/404").status_code == 404
    assert site.client.get("/error/500").status_code == 500
    assert site.client.get("/nowhere").status_code == 404
    assert site.client.post("/sync").status_code == 405
    assert "GET" in site.client.options("/sync").headers["Allow"]


def test_urls(site: Site) -> None:
    reply = site.client.get("/slash?a=b")
    assert reply.status_code == 308
    url = site.server.url + site.prefix
    assert reply.headers["Location"] in (f"{url}/slash/?a=b", f"{site.prefix}/slash/?a=b")
    assert site.client.get("/redirect").headers["Location"] == f"{site.prefix}/sync"
    assert site.client.get("/blueprint/").text == f"{site.prefix}/blueprint/"


def test_keep_alive_and_order(site: Site) -> None:
    for number in range(20):
        view = ("sync", "async")[number % 2]
        assert site.client.get(f"/{view}").json()["path"] == f"/{view}"


# -- middleware


@pytest.fixture(scope="module", params=["gunicorn-proxied", "uvicorn-proxied"])
def proxied(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    diary = Diary(tmp_path_factory.mktemp("diary") / "diary")
    target = "everywhere:proxied"
    wsgi = request.param.startswith("gunicorn")
    with gunicorn(target, diary) if wsgi else serve(target, diary=diary) as server:
        yield server


FORWARDED = {
    "X-Forwarded-For": "10.1.2.3",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "site.example",
    "X-Forwarded-Prefix": "/prefix",
}


@pytest.mark.parametrize("view", ["sync", "async"])
def test_wsgi_middleware(proxied: Process, view: str) -> None:
    seen = httpx.get(f"{proxied.url}/{view}", headers=FORWARDED, timeout=SECONDS).json()
    assert seen == {
        "url": f"https://site.example/prefix/{view}",
        "root": "/prefix",
        "path": f"/{view}",
        "script": "/prefix",
        "remote": "10.1.2.3",
        "scheme": "https",
        "here": "/prefix/sync?x=%C3%A4",
        "external": "https://site.example/prefix/sync",
        "started": seen["started"],
    }


def test_websocket_behind_a_proxy(tmp_path: Path) -> None:
    with (
        serve("everywhere:proxied", diary=Diary(tmp_path / "diary")) as server,
        connect(
            f"{server.ws_url}/ws",
            additional_headers=FORWARDED,
            origin=Origin("https://site.example"),
        ) as connection,
    ):
        seen = json.loads(connection.recv(SECONDS))
        assert seen == ["/prefix", "/ws", "/prefix/sync"]


def test_websocket_beside_middleware(tmp_path: Path) -> None:
    with (
        serve("everywhere:wrapped", diary=Diary(tmp_path / "diary")) as server,
        connect(f"{server.ws_url}/ws") as connection,
    ):
        assert json.loads(connection.recv(SECONDS)) == ["", "/ws", "/sync"]


# -- mounted


def test_mounted_in_starlette(tmp_path: Path) -> None:
    """The lifespan of a mounted app is its owner's affair: Starlette does not run it."""
    with serve("everywhere:starlette", diary=Diary(tmp_path / "diary")) as server:
        reply = json.loads(get(server, "/").body)
        assert reply == {"outer": "state", "here": "http://localhost/"}
        with connect(f"{server.ws_url}/inner/ws") as connection:
            assert json.loads(connection.recv(SECONDS)) == ["/inner", "/ws", "/inner/sync"]


def test_mounting(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    with serve("everywhere:host", diary=diary) as server:
        assert diary.of("guest") == ["starts"]
        reply = json.loads(get(server, "/guest/home").body)
        assert reply == {"outer": "guest", "here": "http://localhost/guest/home"}
        for prefix in ("", "/inner"):
            seen = json.loads(get(server, f"{prefix}/async").body)
            assert (seen["root"], seen["path"], seen["started"]) == (prefix, "/async", 1)
            with connect(f"{server.ws_url}{prefix}/ws") as connection:
                expected = [prefix, "/ws", f"{prefix}/sync"]
                assert json.loads(connection.recv(SECONDS)) == expected
        assert get(server, "/guest/nowhere").status == 404
        assert get(server, "/guests").status == 404
    assert diary.of("guest") == ["starts", "stops"]
    assert diary.of("app") == ["stopped", "stopped"]


def test_root_path(tmp_path: Path) -> None:
    """uvicorn's own option for an app below a prefix."""
    args = "--root-path", "/outer"
    with serve("everywhere:app", "httptools", *args, diary=Diary(tmp_path / "diary")) as server:
        seen = json.loads(get(server, "/async").body)
        assert (seen["root"], seen["path"]) == ("/outer", "/async")
        assert seen["here"] == "/outer/sync?x=%C3%A4"
