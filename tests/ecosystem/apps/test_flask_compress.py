"""Flask-Compress behind sync and async views and streams."""

from __future__ import annotations

import asyncio

import pytest
from flask import Response
from flask_compress import Compress

TEXT = "text " * 1000


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
        return Response(
            (TEXT[i : i + 100] for i in range(0, len(TEXT), 100)), mimetype="text/html"
        )

    @app.get("/stream/async")
    async def stream_asynchronous():
        await asyncio.sleep(0)
        return stream()

    return open_door(app)


@pytest.mark.parametrize("path", ["/plain", "/async", "/stream/plain", "/stream/async"])
def test_not_asked(door, path):
    answer = door(path, headers={"Accept-Encoding": "identity"})
    assert answer.text == TEXT and "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("path", ["/plain", "/async", "/stream/plain", "/stream/async"])
def test_gzip(door, path):
    answer = door(path, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in answer.headers["Vary"]
