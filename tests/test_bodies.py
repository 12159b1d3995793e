"""When a request's body is received."""

from __future__ import annotations

import pytest

from asyncflask import Flask, request
from asyncflask.asgi.body import SMALL_BODY_BYTES
from support.asgi import Peer, chunks, exchange, http_scope


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__, static_folder=None)
    app.logger.disabled = True

    @app.before_request
    async def hook() -> str | None:
        return str(len(request.get_data())) if "read" in request.args else None

    @app.post("/")
    async def view() -> str:
        return str(len(request.get_data()))

    return app


async def post(app: Flask, version: str, *parts: bytes, query: str = "") -> Peer:
    scope = http_scope("/" + query, method="POST", http_version=version)
    if version < "2":
        scope["headers"].append((b"transfer-encoding", b"chunked"))
    return await exchange(app, scope, chunks(*parts))


@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_without_a_length_for_a_view(app: Flask, version: str) -> None:
    parts = [b"x" * 40_000] * 40
    assert (await post(app, version, *parts)).body == b"1600000"


async def test_without_a_length_for_a_hook(app: Flask) -> None:
    assert (await post(app, "1.1", b"x", query="?read")).status == 411


async def test_of_http_2_for_a_hook(app: Flask) -> None:
    """There a length is not usual, and without one the body may be empty."""
    assert (await post(app, "2", query="?read")).body == b"0"
    assert (await post(app, "2", b"x" * SMALL_BODY_BYTES, query="?read")).body == b"65536"
    large = [b"x" * SMALL_BODY_BYTES, b"x", b"x"]
    assert (await post(app, "2", *large, query="?read")).status == 413


@pytest.mark.parametrize("query", ["", "?read"])
async def test_client_that_leaves(app: Flask, query: str) -> None:
    scope = http_scope("/" + query, method="POST", headers=[("content-length", "5")])
    peer = Peer([{"type": "http.request", "body": b"abc", "more_body": True}])
    peer.leave()
    await app(scope, peer.receive, peer.send)
    assert peer.status == 400
