"""The answers of the benchmark as a bare ASGI callable: no framework, hence the upper bound.

It has no views, so the "sync view" of this one is the same as the async one.
"""

from __future__ import annotations

import json
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

TEXT = b"Hello, World!"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError("Only HTTP is served here.")
    path: str = scope["path"]
    if path in ("/async", "/sync"):
        await answer(send, b"text/plain; charset=utf-8", TEXT)
    else:
        query = parse_qs(scope["query_string"].decode("ascii"))
        data = {
            "id": int(path.removeprefix("/users/")),
            "page": int(query["page"][0]),
            "q": query["q"][0],
        }
        body = json.dumps(data, separators=(",", ":")).encode() + b"\n"
        await answer(send, b"application/json", body)


async def answer(send: Send, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
