"""A live dashboard of the process that serves it, drawn from server-sent events as they arrive.

One task takes samples twice a second; streams wait for it and send the new ones. They share the
last five minutes, so a browser that connects or reconnects has a chart at once, and a slow one
costs no memory.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from asyncflask import (
    EventStream,
    Flask,
    Response,
    ServerSentEvent,
    abort,
    render_template,
    request,
)

INTERVAL = 0.5  # seconds between two samples
KEPT = 600  # samples: five minutes
WORK_SECONDS = 2.0

app = Flask(__name__)


def memory() -> int | None:
    """Return the process's memory in bytes; where only its peak is known, the peak."""
    try:
        with open("/proc/self/statm") as file:  # Linux
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Monitor:
    """The samples, and the event that streams wait for."""

    def __init__(self) -> None:
        self.samples: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.requests = 0
        self.watching = 0
        self._measured = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        wall, cpu, requests = loop.time(), time.process_time(), self.requests
        while True:
            due = wall + INTERVAL
            await asyncio.sleep(INTERVAL)
            before, wall = wall, loop.time()
            cpu_before, cpu = cpu, time.process_time()
            requests_before, requests = requests, self.requests
            self.samples.append(
                {
                    "at": round(time.time() * 1000),
                    "cpu": round(100 * (cpu - cpu_before) / (wall - before), 1),
                    "memory": memory(),
                    "requests": round((requests - requests_before) / (wall - before), 1),
                    "lag": round(1000 * max(wall - due, 0), 2),
                    "watching": self.watching,
                }
            )
            # A new event for the next sample, so that the streams waiting for this one need
            # not be counted.
            measured, self._measured = self._measured, asyncio.Event()
            measured.set()

    async def follow(self, after: int) -> AsyncIterator[ServerSentEvent]:
        """Yield the samples after the time *after*, then new ones as they are taken."""
        self.watching += 1
        try:
            while True:
                new = [sample for sample in self.samples if sample["at"] > after]
                if new:
                    after = new[-1]["at"]
                    yield ServerSentEvent(new, id=after)
                await self._measured.wait()
        finally:
            self.watching -= 1


monitor = Monitor()
working = threading.Semaphore(2)


@app.while_serving
async def measure() -> AsyncIterator[None]:
    task = asyncio.create_task(monitor.run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@app.before_request
async def count() -> None:
    monitor.requests += 1


@app.after_request
async def only_our_own(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
    return response


@app.get("/")
def index() -> str:
    return render_template(
        "dashboard.html",
        pid=os.getpid(),
        python=platform.python_version(),
        system=platform.system(),
        cores=os.cpu_count() or 1,
        minutes=KEPT * INTERVAL / 60,
    )


@app.get("/samples")
async def samples() -> EventStream:
    # A page that creates a new EventSource passes the last id itself.
    last = request.last_event_id or request.args.get("after", "")
    after = int(last) if last.isdecimal() and len(last) < 20 else 0  # it comes from the client
    return EventStream(monitor.follow(after), retry=2000)


@app.get("/ping")
async def ping() -> tuple[str, int]:
    """A target for many requests."""
    return "", 204


@app.post("/work")
def work() -> tuple[str, int]:
    """Keep a processor busy for a while. As a sync view, it does not block the event loop."""
    if not working.acquire(blocking=False):
        abort(429)
    try:
        end = time.monotonic() + WORK_SECONDS
        while time.monotonic() < end:
            sum(range(1000))
    finally:
        working.release()
    return "", 204
