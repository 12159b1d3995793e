"""Views that return an uploaded file, byte for byte."""

from __future__ import annotations

from asyncflask import Flask, request

app = Flask(__name__)


@app.post("/sync")
def sync() -> bytes:
    content: bytes = request.files["f"].read()
    return content


@app.post("/async")
async def async_() -> bytes:
    content: bytes = request.files["f"].read()
    return content
