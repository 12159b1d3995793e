"""Flask-Compress behind sync and async views and streams."""

from __future__ import annotations

import asyncio

import pytest
from flask import Response
from flask_compress import Compress

TEXT = "text " * 1000
PIECES = [TEXT[at : at + 100] for at in range(0, len(TEXT), 100)]


@pytest.fixture
def door(app, open_door):
    Compress(app)

    @app.get("/plain")
    def plain():
        return TEXT

    @app.get("/async")
    async def asynchronous():
        await asyncio.sleep(0)
        return TEXT

    @app.get("/stream/plain")
    def stream():
        return Response((piece for piece in PIECES), mimetype="text/html")

    @app.get("/stream/async")
    async def stream_asynchronous():
        await asyncio.sleep(0)
        return Response((piece for piece in PIECES), mimetype="text/html")

    @app.get("/asyncflask")
    async def of_an_asynchronous_iterator():
        async def pieces():
            for piece in PIECES:
                await asyncio.sleep(0)
                yield piece

        return Response(pieces(), mimetype="text/html")

    return open_door(app)


PATHS = ["/plain", "/async", "/stream/plain", "/stream/async"]


@pytest.mark.parametrize("path", PATHS)
def test_not_asked(door, path):
    answer = door(path, headers={"Accept-Encoding": "identity"})
    assert answer.text == TEXT and "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("path", PATHS)
def test_asked(door, path):
    answer = door(path, headers={"Accept-Encoding": "deflate"})
    assert answer.text == TEXT
    assert answer.headers["Content-Encoding"] == "deflate"
    assert "Accept-Encoding" in answer.headers["Vary"]


def test_asynchronous_iterator(door):
    """Flask knows none."""
    if Response.__module__.partition(".")[0] == "flask":
        pytest.skip("Flask streams no asynchronous iterator.")
    for encoding in ("identity", "deflate"):
        assert door("/asyncflask", headers={"Accept-Encoding": encoding}).text == TEXT
