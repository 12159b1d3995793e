"""Views that keep checking everything that must be theirs alone."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

from asyncflask import (
    Flask,
    current_app,
    g,
    has_app_context,
    has_request_context,
    request,
    run_sync,
    session,
    stream_with_context,
)

app = Flask(__name__)
app.secret_key = "isolation"
local = threading.local()
before = {"request": 0, "app": 0}


class Outside:
    """ASGI middleware: what is visible before a request has begun."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            before["request"] += has_request_context()
            before["app"] += has_app_context()
        await self.inner(scope, receive, send)


app.add_middleware(Outside)


@app.get("/outside")
async def outside() -> dict[str, int]:
    return before


@app.before_request
def mark() -> None:
    g.stale = "mark" in g
    g.mark = request.args.get("mark")
    local.mark = g.mark
    g.thread = threading.get_ident()


@app.teardown_request
def unmark(error: BaseException | None) -> None:
    assert threading.get_ident() == g.thread
    assert local.mark == g.mark == request.args.get("mark")


def look() -> list[Any]:
    return [request.args.get("mark"), g.mark, session.get("mark"), g.stale, current_app.name]


def look_local() -> list[Any]:
    return [local.mark, threading.get_ident() == g.thread]


def answer(seen: list[list[Any]], seen_local: list[list[Any]]) -> dict[str, Any]:
    return {"seen": seen, "local": seen_local, "count": session["count"]}


def begin() -> None:
    session["count"] = session.get("count", 0) + 1
    session.setdefault("mark", request.args["mark"])


@app.route("/sync", methods=["GET", "POST"])
def sync() -> dict[str, Any]:
    begin()
    seen, seen_local = [look()], [look_local()]
    for _ in range(3):
        time.sleep(random.random() / 200)
        seen.append(look())
        seen_local.append(look_local())
    assert not request.content_length or len(request.get_data()) == request.content_length
    return answer(seen, seen_local)


@app.route("/async", methods=["GET", "POST"])
async def async_() -> dict[str, Any]:
    begin()
    seen, seen_local = [look()], []
    for _ in range(3):
        await asyncio.sleep(random.random() / 200)
        seen.append(look())
        seen_local.append(await run_sync(look_local))
    assert not request.content_length or len(request.get_data()) == request.content_length
    return answer(seen, seen_local)


@app.route("/stream", methods=["GET", "POST"])
async def stream() -> Any:
    begin()

    @stream_with_context
    async def generate() -> AsyncIterator[str]:
        for _ in range(3):
            await asyncio.sleep(0.001)
            yield f"{request.args['mark']} {g.mark}\n"

    return generate()


@app.post("/error")
async def error() -> str:
    raise LookupError("on purpose")


# -- a database connection, which sqlite3 lets only the thread use that opened it


@app.before_request
def connect() -> None:
    if request.path.startswith("/db"):
        g.db = sqlite3.connect(":memory:")
        g.db.execute("create table marks (mark)")


@app.teardown_appcontext
def disconnect(error: BaseException | None) -> None:
    if "db" in g:
        g.db.execute("select count(*) from marks")
        g.db.close()
        closed.append(1)


closed: list[int] = []


def insert() -> str:
    g.db.execute("insert into marks values (?)", (g.mark,))
    return str(g.db.execute("select group_concat(mark) from marks").fetchone()[0])


@app.get("/db/sync")
def db_sync() -> str:
    insert()
    time.sleep(0.002)
    return insert()


@app.get("/db/async")
async def db_async() -> str:
    await run_sync(insert)
    await asyncio.sleep(0.002)
    return str(await run_sync(insert))


@app.get("/closed")
async def count_closed() -> str:
    return str(len(closed))
