"""An operating system that refuses to start threads on demand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from asyncflask import Flask, g, request
from contract.apps.diary import write

app = Flask(__name__)
app.config["SHUTDOWN_TIMEOUT"] = 2
refused = False
start = threading.Thread.start


def start_unless_refused(thread: threading.Thread) -> None:
    if refused and thread.name.startswith("asyncflask"):
        raise RuntimeError("can't start new thread")
    start(thread)


threading.Thread.start = start_unless_refused  # type: ignore[assignment,method-assign]


@app.before_request
async def begin() -> None:
    g.id = request.args.get("id", "")


@app.teardown_request
def torn_down(error: BaseException | None) -> None:
    write(g.id, f"torn down {request.path}")


@app.get("/refuse/<int:answer>")
async def refuse(answer: int) -> str:
    global refused
    refused = bool(answer)
    return "so be it"


@app.get("/sync")
def sync() -> str:
    return "sync"


@app.get("/stream")
def stream() -> Iterator[bytes]:
    while True:
        yield b"x" * 100_000


@app.get("/async/<int:number>")
async def asynchronous(number: int) -> Any:
    return str(number)
