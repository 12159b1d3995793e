"""Clients that stop, in the middle of what they take or send; and others that only wait."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

from starlette.responses import StreamingResponse

from asyncflask import EventStream, Flask, request, send_file, stream_with_context
from asyncflask.ctx import has_request_context
from contract.apps.diary import write

app = Flask(__name__)
app.config.update(
    MAX_THREADS=20, EVENT_STREAM_KEEP_ALIVE=0.05, CLIENT_TIMEOUT=float(os.environ["SECONDS"])
)

PIECE = b"x" * 100_000
MANY = 200

together = threading.Barrier(20)
"""For as many threads as there may be."""

LARGE = tempfile.NamedTemporaryFile()
os.truncate(LARGE.name, len(PIECE) * MANY)

go = threading.Event()
"""What waits for this has a reason of its own."""


@app.teardown_request
def torn_down(error: BaseException | None) -> None:
    if has_request_context() and "id" in request.args:
        write(request.args["id"], "torn down" if error is None else f"torn down by {error!r}")


# -- bodies


@app.post("/body/sync")
def body_sync() -> str:
    write(request.args.get("id", ""), "reads")
    return str(len(request.get_data()))


@app.post("/body/async")
async def body_async() -> str:
    return str(len(request.get_data()))


@app.post("/body/stream", stream=True)
async def body_stream() -> str:
    return str(sum([len(chunk) async for chunk in request.stream]))


@app.post("/body/sync/stream", stream=True)
def body_sync_stream() -> str:
    return str(len(request.stream.read()))


@app.post("/body/while/responding")
def body_while_responding() -> Any:
    def echo() -> Iterator[bytes]:
        yield b"first"
        try:
            while chunk := request.stream.read(10):
                yield chunk
        finally:
            write(request.args["id"], "closed")

    return stream_with_context(echo())


@app.post("/form/async")
async def form_async() -> str:
    return str(len(request.files["f"].read()))


# -- responses


def pieces(name: str | None) -> Iterator[bytes]:
    try:
        for _ in range(MANY):
            yield PIECE
    finally:
        if name is not None:
            write(name, "closed")


async def async_pieces(name: str | None) -> AsyncIterator[bytes]:
    try:
        for _ in range(MANY):
            yield PIECE
    finally:
        if name is not None:
            write(name, "closed")


@app.get("/stream/sync")
def stream_sync() -> Any:
    return stream_with_context(pieces(request.args.get("id")))


@app.get("/stream/async")
async def stream_async() -> Any:
    return stream_with_context(async_pieces(request.args.get("id")))


@app.get("/stream/starlette")
async def stream_starlette() -> Any:
    return StreamingResponse(async_pieces(request.args.get("id")))


@app.get("/stream/one")
def one_large_chunk() -> Any:
    return iter([PIECE * MANY, b"end"])


@app.get("/file")
def file() -> Any:
    return send_file(LARGE.name, mimetype="text/plain")


@app.get("/events/sync")
def events_sync() -> Any:
    return EventStream(str(piece) for piece in pieces(request.args.get("id")))


@app.get("/events/async")
async def events_async() -> Any:
    content = async_pieces(request.args.get("id"))

    async def events() -> AsyncIterator[str]:
        try:
            async for piece in content:
                yield str(piece)
        finally:
            await content.aclose()  # type: ignore[attr-defined]

    return EventStream(events())


# -- what takes its time


async def going() -> None:
    while not go.is_set():
        await asyncio.sleep(0.01)


@app.post("/go")
async def let_go() -> str:
    go.set()
    return "gone"


@app.route("/view/sync", methods=["GET", "POST"])
def view_sync() -> str:
    go.wait()
    return "sync"


@app.route("/view/async", methods=["GET", "POST"])
async def view_async() -> str:
    await going()
    return "async"


@app.route("/idle/sync", methods=["GET", "POST"])
def idle_sync() -> Any:
    def events() -> Iterator[str]:
        yield "first"
        go.wait()
        yield "last"

    return EventStream(events())


@app.route("/idle/async", methods=["GET", "POST"], stream=True)
async def idle_async() -> Any:
    async def events() -> AsyncIterator[str]:
        yield "first"
        await going()
        yield "last"

    return EventStream(events())


@app.get("/sync/together")
def sync() -> str:
    together.wait()
    return "sync"


class Within:
    """WSGI middleware for the paths below ``/wsgi``."""

    def __init__(self, wsgi_app: Any) -> None:
        self.wsgi_app = wsgi_app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.wsgi_app(environ, start_response)


within = Flask(__name__)
within.config.update(app.config)
within.teardown_request(torn_down)
within.add_url_rule("/body/sync", view_func=body_sync, methods=["POST"])
within.add_url_rule("/stream/sync", view_func=stream_sync)
within.wsgi_app = Within(within.wsgi_app)  # type: ignore[method-assign]
app.mount("/wsgi", within)


class Hiding:
    """ASGI middleware behind which nothing of the server is seen."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def received() -> Any:
            return await receive()

        async def sent(message: Any) -> None:
            await send(message)

        await self.app(scope, received, sent)


hidden = Hiding(app)
