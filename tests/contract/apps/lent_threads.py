"""Requests within requests: an inner request uses the outer one's thread and leaves it there."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

from asyncflask import Flask, current_app, jsonify, request

app = Flask(__name__)
meeting = threading.Barrier(2)
local = threading.local()


@app.get("/inner")
def inner() -> str:
    return str(threading.get_ident())


@app.get("/outer")
def outer() -> Any:
    return jsonify([threading.get_ident(), int(current_app.test_client().get("/inner").text)])


@app.get("/meet")
def meet() -> Any:
    """Two of these are under way at once, each on its thread."""
    local.number = request.args["number"]
    meeting.wait(30)
    return jsonify([request.args["number"], local.number])


@app.get("/after")
async def after() -> str:
    return "done"


Wsgi = Callable[..., Iterable[bytes]]


class Middleware:
    """Touches nothing."""

    def __init__(self, inner: Wsgi) -> None:
        self.inner = inner

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return self.inner(environ, start_response)


if os.environ.get("WRAPPED"):
    app.wsgi_app = Middleware(app.wsgi_app)  # type: ignore[method-assign]
