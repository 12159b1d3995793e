"""Responses that no server can send, and the app's own page for errors."""

from __future__ import annotations

from typing import Any

from starlette.responses import PlainTextResponse

from asyncflask import Flask, Response, g, request

app = Flask(__name__)

BAD: dict[str, Any] = {
    "space in name": {"headers": {"X Bad": "1"}},
    "colon in name": {"headers": {"X:Bad": "1"}},
    "line in name": {"headers": {"X-Bad\r\nSet-Cookie": "1"}},
    "empty name": {"headers": {"": "1"}},
    "letter in name": {"headers": {"X-Äh": "1"}},
    "nul in value": {"headers": {"X-Bad": "a\0b"}},
    "del in value": {"headers": {"X-Bad": "a\x7fb"}},
    "line in value": {"headers": {"X-Bad": "a\r\nSet-Cookie: b"}},
    "other letters in value": {"headers": {"X-Bad": "日本"}},
    "surrogate in value": {"headers": {"X-Bad": "\udc80"}},
    "length no number": {"headers": {"Content-Length": "many"}},
    "negative length": {"headers": {"Content-Length": "-1"}},
    "two lengths": {"headers": [("Content-Length", "1"), ("Content-Length", "2")]},
    "status 999": {"status": 999},
    "status 600": {"status": 600},
    "status 42": {"status": 42},
    "status 0": {"status": 0},
    "status 100": {"status": 100},
    "status 101": {"status": 101},
    "status 103": {"status": 103},
    "status negative": {"status": -1},
    "status in words": {"status": "fine"},
    "status 999 in words": {"status": "999 Fine"},
    "status with line": {"status": "200 OK\r\nSet-Cookie: a=b"},
}


def spoil(response: Any) -> Any:
    how = BAD[request.args["how"]]
    headers = how.get("headers", {})
    for name, value in headers.items() if isinstance(headers, dict) else headers:
        # As extensions do that know better: past the checks of `Headers`.
        response.headers._list.append((name, value))
    if isinstance(how.get("status"), int):
        response.status_code = how["status"]
    elif "status" in how:
        response.status = how["status"]
    return response


@app.get("/view")
def view() -> Any:
    return spoil(Response(part for part in ("a", "b", "c")))


@app.get("/view/async")
async def view_async() -> Any:
    return spoil(Response("abc"))


@app.get("/tuple")
async def in_tuple() -> Any:
    how = BAD[request.args["how"]]
    return "abc", how.get("status", 200), how.get("headers", {})


@app.get("/after")
async def after() -> str:
    g.spoil = True
    return "abc"


@app.get("/always")
def always() -> str:
    g.spoil_always = True
    return "abc"


@app.get("/starlette")
async def starlette() -> Any:
    response = PlainTextResponse("abc")
    response.set_cookie("a", "b", path="/\r\nSet-Cookie: c=d")
    return response


@app.get("/coding")
async def coding() -> Any:
    response = Response(part for part in ("a", "b", "c"))
    response.headers["Transfer-Encoding"] = request.args["how"]
    if "length" in request.args:
        response.headers["Content-Length"] = "3"
    return response


@app.get("/spaces")
async def spaces() -> Any:
    return "abc", {"X-Spaces": "  a b\t"}


@app.after_request
def after_request(response: Any) -> Any:
    if g.get("spoil_always") or g.pop("spoil", False):
        return spoil(response)
    return response


@app.errorhandler(500)
def error_page(error: Any) -> Any:
    if g.pop("spoil", None):
        raise AssertionError
    return "the page for errors", 500


@app.get("/")
async def index() -> str:
    return "fine"
