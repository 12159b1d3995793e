"""An app in WSGI middleware that sees an environ of its own making."""

from __future__ import annotations

from typing import Any

from asyncflask import Flask, request

app = Flask(__name__)


@app.get("/")
def view() -> str:
    return request.host


inner = app.wsgi_app


def middleware(environ: Any, start_response: Any) -> Any:
    if "remove" in environ["QUERY_STRING"]:
        del environ["HTTP_HOST"]
    return inner(environ, start_response)


app.wsgi_app = middleware  # type: ignore[method-assign]
