"""Functions called when a response has been sent; one waits until its client has it."""

from __future__ import annotations

import os
import threading
from typing import Any

from asyncflask import Flask, make_response, request
from contract.apps.diary import write

app = Flask(__name__)
received = threading.Event()


def finish(request_id: str) -> None:
    write(request_id, "closed in time" if received.wait(40) else "closed too early")
    received.clear()


@app.get("/sync")
def sync() -> Any:
    response = make_response("body")
    request_id = request.args["id"]
    response.call_on_close(lambda: finish(request_id))
    return response


@app.get("/async")
async def async_() -> Any:
    response = make_response("body")
    request_id = request.args["id"]
    response.call_on_close(lambda: finish(request_id))
    return response


@app.get("/raises")
def raises() -> Any:
    response = make_response("body")

    def fail() -> None:
        raise LookupError("on purpose")

    response.call_on_close(fail)
    return response


@app.get("/received")
async def client_has_it() -> str:
    received.set()
    return "thanks"


if os.environ.get("WRAPPED"):
    inner = app.wsgi_app

    def middleware(environ: Any, start_response: Any) -> Any:
        return inner(environ, start_response)

    app.wsgi_app = middleware  # type: ignore[method-assign]
