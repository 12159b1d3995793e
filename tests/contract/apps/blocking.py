"""An app whose code blocks the loop in all the usual ways."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
import urllib.request

import requests

from asyncflask import Flask, request, websocket

SECONDS = 0.3

app = Flask(__name__)
app.config["LOOP_GUARD"] = 0.05
lock = threading.Lock()
large = [{"number": n, "text": str(n)} for n in range(300_000)]


@app.get("/")
async def index() -> str:
    return "Hello"


@app.get("/sleep")
async def sleep() -> str:
    time.sleep(SECONDS)
    return "slept"


@app.get("/requests")
async def by_requests() -> str:
    return requests.get(request.args["url"], timeout=60).text


@app.get("/urllib")
async def by_urllib() -> str:
    with urllib.request.urlopen(request.args["url"], timeout=60) as response:
        return response.read().decode()  # type: ignore[no-any-return]


@app.get("/sqlite")
async def by_sqlite() -> list[int]:
    count = "with recursive c(n) as (select 1 union all select n + 1 from c where n < 3000000)"
    db = sqlite3.connect(":memory:")
    try:
        return list(db.execute(count + " select count(*) from c").fetchone())
    finally:
        db.close()


@app.get("/json")
async def by_json() -> str:
    return str(len(json.dumps(large)))


@app.get("/large")
async def returns_much() -> list[dict[str, object]]:
    return large


@app.get("/lock")
async def by_lock() -> str:
    lock.acquire()
    threading.Timer(SECONDS, lock.release).start()
    with lock:
        return "locked"


@app.before_request
async def slow_hook() -> None:
    if request.path == "/hook":
        time.sleep(SECONDS)


@app.get("/hook")
async def behind_a_hook() -> str:
    return "hooked"


def pause() -> None:
    time.sleep(SECONDS)


@app.get("/helper")
async def asks_a_helper() -> str:
    pause()
    return "helped"


async def work() -> None:
    time.sleep(SECONDS)


@app.get("/task")
async def starts_a_task() -> str:
    await asyncio.create_task(work())
    return "worked"


async def later() -> None:
    time.sleep(SECONDS)


@app.get("/background")
async def starts_in_background() -> str:
    app.add_background_task(later)
    return "later"


@app.websocket("/ws")
async def chat() -> None:
    async for message in websocket:
        time.sleep(SECONDS)
        await websocket.send(message)


@app.get("/sync")
def sync_view() -> str:
    time.sleep(SECONDS)
    return "slept on a thread"
