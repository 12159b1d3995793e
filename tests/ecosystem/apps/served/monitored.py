"""The views of the apps that are watched by monitoring libraries: each way for a request to end,
in sync and in async code."""

from __future__ import annotations

import asyncio

from flask import Flask, abort


def add_views(app: Flask) -> None:
    @app.get("/sync/<int:number>")
    def sync_item(number):
        return f"sync {number}"

    @app.get("/async/<int:number>")
    async def async_item(number):
        await asyncio.sleep(0)
        return f"async {number}"

    @app.get("/sync/refused")
    def sync_refused():
        abort(403)

    @app.get("/async/refused")
    async def async_refused():
        abort(403)

    @app.get("/sync/broken")
    def sync_broken():
        raise ZeroDivisionError("sync")

    @app.get("/async/broken")
    async def async_broken():
        await asyncio.sleep(0)
        raise ZeroDivisionError("async")

    @app.get("/sync/stream")
    def sync_stream():
        return iter(["one ", "two"])
