"""Streams of every kind, which write down on which side they began and ended."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from starlette.responses import Response as StarletteResponse
from starlette.responses import StreamingResponse

from asyncflask import Flask, Response, request, stream_with_context
from contract.apps.diary import write

app = Flask(__name__)
CHUNK = b"x" * 65_536
produced: dict[str, int] = {}


def where() -> str:
    loop = asyncio._get_running_loop()
    return "loop" if loop is not None else f"thread {threading.get_ident()}"


def ticks(request_id: str, chunk: bytes, pause: float) -> Iterator[bytes]:
    write(request_id, f"began on {where()}")
    try:
        while True:
            produced[request_id] = produced.get(request_id, 0) + len(chunk)
            yield chunk
            if pause:
                time.sleep(pause)
    finally:
        write(request_id, f"ended on {where()}")


async def async_ticks(request_id: str, chunk: bytes, pause: float) -> AsyncIterator[bytes]:
    write(request_id, f"began on {where()}")
    try:
        while True:
            produced[request_id] = produced.get(request_id, 0) + len(chunk)
            yield chunk
            if pause:
                await asyncio.sleep(pause)
    finally:
        write(request_id, f"ended on {where()}")


class Iterable:
    """Not a generator: what it needs to clean up is in `close` (PEP 3333)."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id

    def __iter__(self) -> Iterator[bytes]:
        write(self.request_id, f"began on {where()}")
        while True:
            time.sleep(0.01)
            yield b"tick\n"

    def close(self) -> None:
        write(self.request_id, f"ended on {where()}")


class OwnResponse(StarletteResponse):
    """Sends itself, as those of some Starlette extensions do."""

    def __init__(self, request_id: str) -> None:
        super().__init__()
        del self.body
        self.request_id = request_id

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        write(self.request_id, f"began on {where()}")
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"tick\n", "more_body": True})
                await asyncio.sleep(0.01)
        finally:
            write(self.request_id, f"ended on {where()}")


def options() -> tuple[str, bytes, float]:
    chunk = CHUNK if "large" in request.args else b"tick\n"
    return request.args["id"], chunk, float(request.args.get("pause", "0.01"))


@app.route("/sync", methods=["GET", "POST"])
def sync() -> Any:
    return ticks(*options())


@app.route("/async", methods=["GET", "POST"])
async def async_() -> Any:
    return async_ticks(*options())


@app.get("/sync-from-async")
async def sync_from_async() -> Any:
    return ticks(*options())


@app.get("/sync-context")
def sync_context() -> Any:
    return stream_with_context(ticks(*options()))


@app.get("/async-context")
async def async_context() -> Any:
    return stream_with_context(async_ticks(*options()))


@app.get("/iterable")
def iterable() -> Any:
    return Response(Iterable(request.args["id"]))


@app.get("/starlette")
async def starlette() -> Any:
    return StreamingResponse(async_ticks(*options()))


@app.get("/own")
async def own() -> Any:
    return OwnResponse(request.args["id"])


@app.get("/produced/<name>")
async def how_many(name: str) -> str:
    return str(produced.get(name, 0))


@app.get("/context/sync")
def context_sync() -> Any:
    @stream_with_context
    def generate() -> Iterator[str]:
        for _ in range(3):
            yield request.args["id"]

    return generate()


@app.get("/context/async")
async def context_async() -> Any:
    @stream_with_context
    async def generate() -> AsyncIterator[str]:
        for _ in range(3):
            await asyncio.sleep(0.001)
            yield request.args["id"]

    return generate()


@app.get("/error/sync")
def error_sync() -> Any:
    def generate() -> Iterator[str]:
        yield "begun"
        raise LookupError("on purpose")

    return generate()


@app.get("/error/async")
async def error_async() -> Any:
    async def generate() -> AsyncIterator[str]:
        yield "begun"
        raise LookupError("on purpose")

    return generate()


@app.get("/sized")
def sized() -> Any:
    return Response((part for part in ("12", "34")), headers={"Content-Length": "4"})


@app.get("/gone-content")
def no_content() -> Any:
    return Response(ticks(*options()), status=204)
