"""The answers as a bare ASGI callable: no framework, hence the limit.

It has no views, so its sync view is its async one.
"""

from __future__ import annotations

import asyncio
import json
from urllib.parse import parse_qs

from common import CHUNK, CHUNKS, WAIT_SECONDS
from starlette.types import Receive, Scope, Send

TEXT = b"Hello, World!"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await respond(scope, receive, send)
    elif scope["type"] == "websocket":
        await echo(receive, send)
    else:
        raise NotImplementedError("There is no lifespan here.")


async def respond(scope: Scope, receive: Receive, send: Send) -> None:
    path: str = scope["path"]
    if path in ("/async", "/sync"):
        await answer(send, b"text/plain; charset=utf-8", TEXT)
    elif path == "/wait/async":
        await asyncio.sleep(WAIT_SECONDS)
        await answer(send, b"text/plain; charset=utf-8", TEXT)
    elif path == "/echo":
        await answer_json(send, json.loads(await body(receive)))
    elif path == "/stream/async":
        await stream(send)
    else:
        query = parse_qs(scope["query_string"].decode("ascii"))
        id = int(path.rpartition("/")[2])
        await answer_json(send, {"id": id, "page": int(query["page"][0]), "q": query["q"][0]})


async def body(receive: Receive) -> bytes:
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message["body"])
        more = message["more_body"]
    return b"".join(parts)


async def stream(send: Send) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(CHUNKS):
        await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def answer_json(send: Send, data: object) -> None:
    await answer(send, b"application/json", json.dumps(data, separators=(",", ":")).encode())


async def answer(send: Send, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
