"""Slow clients hold all threads that there may be."""

from __future__ import annotations

from asyncflask import Flask, request
from contract.apps.diary import write

app = Flask(__name__)
app.config["MAX_THREADS"] = 3


@app.teardown_request
async def torn_down(error: BaseException | None) -> None:
    if "id" in request.args:
        write(request.args["id"], "torn down")


@app.post("/body")
def body() -> str:
    write(request.args["id"], "reads")
    return str(len(request.get_data()))


@app.get("/async")
async def async_() -> str:
    return "async"


@app.get("/sync")
def sync() -> str:
    return "sync"
