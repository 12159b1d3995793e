"""The app that every server serves. It writes what happens to the diary (`Diary`), under the
``id`` that a request has in its query.

A stream or view that has to wait for its client waits until the diary has the line ``<id> go``,
which is for the client to write: the next request may go to another process.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router
from werkzeug.middleware.proxy_fix import ProxyFix

from asyncflask import (
    EventStream,
    Flask,
    Response,
    request,
    session,
    stream_with_context,
    url_for,
    websocket,
)
from contract.apps.diary import write

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

app = Flask(__name__)
app.secret_key = "servers"
app.config["SHUTDOWN_TIMEOUT"] = 1.5
app.config["WORKER_THREADS"] = 16  # one for each case and client at a time, and soon all of them


def note(event: str) -> None:
    if "id" in request.args:
        write(request.args["id"], event)


def told_to_go() -> bool:
    return f"{request.args['id']} go\n" in Path(os.environ["DIARY"]).read_text()


async def go() -> None:
    while not told_to_go():
        await asyncio.sleep(0.02)


def go_sync() -> None:
    while not told_to_go():
        time.sleep(0.02)


@app.teardown_request
def torn_down(error: BaseException | None) -> None:
    note("teardown")


# -- lifespan ---------------------------------------------------------------------------------


@app.while_serving
async def during() -> AsyncIterator[None]:
    write(f"app-{os.getpid()}", "while begins")
    yield
    write(f"app-{os.getpid()}", "while ends")


@app.before_serving
def before() -> None:
    write(f"app-{os.getpid()}", "before")


@app.after_serving
async def after_async() -> None:
    write(f"app-{os.getpid()}", "after async")


@app.after_serving
def after_sync() -> None:
    write(f"app-{os.getpid()}", "after sync")


# -- requests and bodies ----------------------------------------------------------------------


@app.route("/method/async", methods=METHODS)
async def method_async() -> str:
    return request.method


@app.route("/method/sync", methods=METHODS)
def method_sync() -> str:
    return request.method


@app.get("/thread/sync")
def thread_sync() -> dict[str, bool]:
    return {"main": threading.current_thread() is threading.main_thread()}


@app.post("/size/async")
async def size_async() -> str:
    return str(len(request.get_data()))


@app.post("/size/sync")
def size_sync() -> str:
    return str(len(request.get_data()))


@app.post("/size/stream", stream=True)
async def size_stream() -> str:
    return str(sum([len(chunk) async for chunk in request.stream]))


@app.post("/form/async")
async def form_async() -> dict[str, Any]:
    return {"size": len(request.files["file"].read()), "by": request.form["by"]}


@app.post("/form/sync")
def form_sync() -> dict[str, Any]:
    return {"size": len(request.files["file"].read()), "by": request.form["by"]}


@app.get("/cookies")
async def cookies() -> Response:
    session["user"] = "ada"
    response = Response("set")
    response.set_cookie("other", "one")
    return response


@app.get("/large/async")
async def large_async() -> bytes:
    return b"x" * 5_000_000


@app.get("/large/sync")
def large_sync() -> bytes:
    return b"x" * 5_000_000


@app.get("/fails")
async def fails() -> str:
    raise LookupError("as it should")


@app.get("/bad-header")
def bad_header() -> Response:
    return Response("never sent", headers={"X-Bad": "snow \N{SNOWMAN}"})


# -- streams ----------------------------------------------------------------------------------


@app.get("/stream/async")
async def stream_async() -> Any:
    async def generate() -> AsyncIterator[str]:
        try:
            yield "first\n"
            await go()
            yield "second\n"
        finally:
            note("closed")

    return Response(stream_with_context(generate()), mimetype="text/plain")


@app.get("/stream/sync")
def stream_sync() -> Any:
    def generate() -> Iterator[str]:
        try:
            yield "first\n"
            go_sync()
            yield "second\n"
        finally:
            note("closed")

    return Response(stream_with_context(generate()), mimetype="text/plain")


@app.get("/endless/async")
async def endless_async() -> Any:
    async def generate() -> AsyncIterator[str]:
        try:
            while True:
                yield "tick\n"
                await asyncio.sleep(0.02)
        finally:
            note("closed")

    return Response(stream_with_context(generate()), mimetype="text/plain")


@app.get("/endless/sync")
def endless_sync() -> Any:
    def generate() -> Iterator[str]:
        try:
            while True:
                yield "tick\n"
                time.sleep(0.02)
        finally:
            note("closed")

    return Response(stream_with_context(generate()), mimetype="text/plain")


@app.get("/idle")
async def idle() -> Any:
    async def generate() -> AsyncIterator[str]:
        try:
            yield "tick\n"
            await asyncio.sleep(600)
        finally:
            note("closed")

    return Response(stream_with_context(generate()), mimetype="text/plain")


@app.get("/events")
async def events() -> EventStream:
    async def generate() -> AsyncIterator[dict[str, int]]:
        yield {"n": 1}
        await asyncio.sleep(600)

    return EventStream(generate())


@app.get("/cancelled", cancel_on_disconnect=True)
async def cancelled() -> str:
    note("began")
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        note("cancelled")
        raise
    return "never"


@app.get("/asks")
async def asks() -> str:
    note("began")
    while not await request.is_disconnected():
        await asyncio.sleep(0.02)
    note("disconnected")
    return "never seen"


# -- while the server stops -------------------------------------------------------------------


@app.get("/slow/async")
async def slow_async() -> str:
    note("began")
    await go()
    return "done"


@app.get("/slow/sync")
def slow_sync() -> str:
    note("began")
    go_sync()
    return "done"


@app.get("/stuck")
def stuck() -> str:
    note("began")
    time.sleep(600)
    return "never"


@app.get("/stuck/background")
async def stuck_background() -> str:
    app.add_background_task(time.sleep, 600)
    return "begun"


@app.get("/no-more-threads")
async def no_more_threads() -> str:
    """From here on the operating system has none to give."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threading.Thread.start = start  # type: ignore[method-assign]
    return "none"


# -- behind a proxy, below a path -------------------------------------------------------------


@app.get("/client")
async def client() -> dict[str, Any]:
    return {"url": request.url, "client": request.remote_addr, "here": url_for("client")}


proxied = Flask("proxied")
proxied.wsgi_app = ProxyFix(proxied.wsgi_app, x_host=1, x_prefix=1)  # type: ignore[method-assign]


@proxied.get("/client")
async def proxied_client() -> dict[str, Any]:
    return {"url": request.url, "client": request.remote_addr, "here": url_for("proxied_client")}


@proxied.websocket("/client")
async def proxied_socket() -> None:
    await websocket.send_json(url=request.url, client=request.remote_addr)


async def beside(request: Any) -> PlainTextResponse:
    return PlainTextResponse(f"{request.scope['root_path']} beside")


app.mount("/proxied", proxied)
app.mount("/starlette", Router([Route("/beside", beside)]))


# -- WebSockets -------------------------------------------------------------------------------


@app.websocket("/ws", subprotocols=["v2", "v1"])
async def echo() -> None:
    try:
        async for message in websocket:
            await websocket.send(message)
    finally:
        note(f"code {websocket.close_code}")


@app.websocket("/ws/sync")
def echo_sync() -> None:
    for message in websocket.sync:
        websocket.sync.send(message)
    note(f"code {websocket.close_code}")


@app.websocket("/ws/client")
async def socket_client() -> None:
    await websocket.send_json(url=request.url, client=request.remote_addr)


@app.websocket("/ws/denied")
async def denied() -> Any:
    return {"error": "Log in first."}, 401


@app.websocket("/ws/session")
async def socket_session() -> None:
    session["user"] = "ada"
    await websocket.accept(headers=[("X-Room", "tea")])
    await websocket.send("accepted")


@app.websocket("/ws/closes")
async def closes() -> None:
    await websocket.accept()
    await websocket.close(4001, "enough")


@app.websocket("/ws/raises")
async def raises() -> None:
    await websocket.accept()
    raise LookupError("as it should")


@app.websocket("/ws/deaf")
async def deaf() -> None:
    """Neither sends nor asks for messages."""
    await websocket.accept()
    await asyncio.sleep(600)
