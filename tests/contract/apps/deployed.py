"""The app of docs/deploying.rst; `fixed` is the same behind a proxy, with `ProxyFix`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from werkzeug.middleware.proxy_fix import ProxyFix

from asyncflask import Blueprint, EventStream, Flask, request, url_for, websocket
from contract.apps.diary import write

pages = Blueprint("pages", __name__)


@pages.route("/client", methods=["GET", "POST"])
async def client() -> dict[str, Any]:
    return {"url": request.url, "client": request.remote_addr, "here": url_for("pages.client")}


@pages.get("/events")
async def events() -> EventStream:
    async def generate() -> AsyncIterator[str]:
        try:
            yield "first"
            while "events go\n" not in Path(os.environ["DIARY"]).read_text():
                await asyncio.sleep(0.02)
            yield "second"
            await asyncio.sleep(600)
        finally:
            write("events", "closed")

    return EventStream(generate())


@pages.websocket("/ws")
async def echo() -> None:
    async for message in websocket:
        await websocket.send(message)


app = Flask("deployed")
app.register_blueprint(pages)


@app.before_serving
def before() -> None:
    write("app", "before")


@app.after_serving
def after() -> None:
    write("app", "after")


fixed = Flask("fixed")
fixed.register_blueprint(pages)
fixed.wsgi_app = ProxyFix(fixed.wsgi_app, x_prefix=1)  # type: ignore[method-assign]
