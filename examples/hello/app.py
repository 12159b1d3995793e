"""The smallest app: one plain view, one async view."""

from __future__ import annotations

import asyncio

from asyncflask import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    return "Hello, World!\n"


@app.get("/later")
async def later() -> str:
    await asyncio.sleep(0.1)  # Other requests are served meanwhile.
    return "Hello, a little later!\n"
