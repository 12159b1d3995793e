"""Streams of every kind, which record on which thread they begin and end."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from starlette.responses import Response as StarletteResponse
from starlette.responses import StreamingResponse

from asyncflask import (
    Flask,
    Response,
    request,
    send_file,
    stream_template_string,
    stream_with_context,
)
from contract.apps.diary import write

PLACES = 3
app = Flask(__name__)
app.config["WORKER_THREADS"] = PLACES
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


ROWS = 20_000


def row(number: int) -> str:
    return f"{number},{'x' * 40}\n"


@app.get("/rows/sync")
def rows_sync() -> Any:
    return (row(number) for number in range(ROWS))


@app.get("/rows/sync-context")
def rows_sync_context() -> Any:
    @stream_with_context
    def generate() -> Iterator[str]:
        for number in range(ROWS):
            assert request.endpoint == "rows_sync_context"
            yield row(number)

    return generate()


@app.get("/rows/template")
def rows_template() -> Any:
    source = "{% for number in range(rows) %}{{ row(number) }}{% endfor %}"
    return stream_template_string(source, rows=ROWS, row=row)


@app.get("/rows/async")
async def rows_async() -> Any:
    async def generate() -> AsyncIterator[str]:
        for number in range(ROWS):
            if number % 1_000 == 999:
                await asyncio.sleep(0)
            yield row(number)

    return generate()


@app.get("/rows/file")
def rows_file() -> Any:
    text = "".join(row(number) for number in range(ROWS))
    return send_file(io.BytesIO(text.encode()), mimetype="text/csv")


@app.get("/megabytes/<kind>")
def megabytes(kind: str) -> Any:
    def generate() -> Iterator[bytes]:
        for number in range(8):
            yield bytes([65 + number]) * 1_000_000

    async def generate_async() -> AsyncIterator[bytes]:
        for chunk in generate():
            yield chunk

    return generate() if kind == "sync" else generate_async()


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
