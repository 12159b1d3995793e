"""The smallest app: one sync view, one async view."""

from __future__ import annotations

import asyncio

from asyncflask import Flask, render_template

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    return render_template("hello.html", greeting="Hello, World!", view="A sync view")


@app.get("/later")
async def later() -> str:
    await asyncio.sleep(0.1)  # Other requests are served meanwhile.
    return render_template("hello.html", greeting="Hello, later!", view="An async view")
