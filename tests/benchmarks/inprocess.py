"""One app called in this process, without a server: `python inprocess.py PEER WORKLOAD ...`.

What the tools that count or profile run, each time in a process of its own. It takes asyncflask
from wherever the import path leads, and knows nothing of its inside.

- ``PEER WORKLOAD count N`` answers N requests after the warm-up; or as many messages of one
  WebSocket. Before and after these it prints a line and waits for one, so that a counter can be
  switched on and off.
- ``PEER WORKLOAD time N`` prints the microseconds of processor time that a request takes, the
  least of several times N requests.
- ``PEER WORKLOAD bytecodes N`` prints how many bytecodes a request takes, on all threads together
  and without those of this file. It is the same each time, but for what waits: a wake-up more or
  less of the loop.
- ``PEER WORKLOAD packages N`` prints the same by package, the most first: whose work a request is.
- ``PEER WORKLOAD collector N`` prints the share of the processor time that Python's cyclic garbage
  collector takes, as it is set by default.
- ``PEER WORKLOAD where`` prints the file that the framework comes from.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import io
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from types import FrameType
from typing import Any

from workloads import BY_KEY, Request, Workload

WARM_UP = 40
"""Requests, or messages, that are answered first: caches filled, bytecode specialized."""
MESSAGE = "a message of forty characters, as it is."
REPEATS = 7

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
App = Callable[..., Any]


def load(peer: str, workload: Workload) -> App:
    sys.path.insert(0, str(Path(__file__).parent / "apps"))
    module, name = workload.module_and_app(peer)
    app: App = getattr(importlib.import_module(module), name)
    return as_asgi(app) if peer == "flask" else app


def as_asgi(app: App) -> App:
    """Flask's WSGI app, called as by gunicorn's thread: on one without a loop, as it waits for
    nothing (see `main`)."""

    async def call(scope: Scope, receive: Receive, send: Callable[..., Any]) -> None:
        body = (await receive())["body"]
        start: dict[str, Any] = {"type": "http.response.start"}

        def start_response(status: str, headers: list[tuple[str, str]]) -> None:
            start["status"] = int(status[:3])
            start["headers"] = [(a.lower().encode(), b.encode()) for a, b in headers]

        pieces = app(environ_of(scope, body), start_response)
        try:
            content = b"".join(pieces)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()
        await send(start)
        await send({"type": "http.response.body", "body": content})

    return call


def environ_of(scope: Scope, body: bytes) -> dict[str, Any]:
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"],
        "QUERY_STRING": scope["query_string"].decode(),
        "REMOTE_ADDR": scope["client"][0],
        "SERVER_NAME": scope["server"][0],
        "SERVER_PORT": str(scope["server"][1]),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key = name.decode().upper().replace("-", "_")
        environ[key if key.startswith("CONTENT_") else f"HTTP_{key}"] = value.decode()
    return environ


def scope_of(request: Request, cookie: str | None = None) -> Scope:
    """As uvicorn makes it for what wrk sends."""
    path, _, query = request.path.partition("?")
    headers = [(b"host", b"127.0.0.1:8000")]
    headers += [(name.lower().encode(), value.encode()) for name, value in request.headers]
    if cookie is not None:
        headers.append((b"cookie", cookie.encode()))
    if request.body:
        headers.append((b"content-length", b"%d" % len(request.body)))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "root_path": "",
        "method": request.method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers,
        "state": {},
    }


async def first_answer(
    app: App, scope: Scope, request: Request
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of the answer to *request*."""
    messages: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await app({**scope, "headers": scope["headers"][:]}, receiver(request), send)
    body = b"".join(message.get("body", b"") for message in messages)
    return messages[0]["status"], dict(messages[0]["headers"]), body


def receiver(request: Request) -> Receive:
    """Gives the body, then nothing, as from a client that waits for its answer."""
    messages = iter([{"type": "http.request", "body": request.body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in messages:
            return message
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    return receive


async def discard(message: dict[str, Any]) -> None:
    """The `send` of a server that has nobody to send to."""


async def prepared(app: App, workload: Workload) -> list[tuple[Scope, Request]]:
    """The workload's requests, checked, and the scopes to call the app with."""
    cookie, token = None, b""
    if workload.sign_in is not None:
        _, headers, token = await first_answer(app, scope_of(workload.sign_in), workload.sign_in)
        cookie = headers[b"set-cookie"].decode().partition(";")[0]
    requests = [request.with_token(token) for request in workload.requests]
    scopes = [scope_of(request, cookie) for request in requests]
    for scope, request in zip(scopes, requests, strict=True):
        status, _, _ = await first_answer(app, scope, request)
        if status != request.status:
            raise SystemExit(f"{request.path} is answered with {status}, not {request.status}.")
    return list(zip(scopes, requests, strict=True))


async def answer(app: App, requests: list[tuple[Scope, Request]], count: int) -> None:
    for scope, request in islice(cycle(requests), count):
        # Each request has its own, as an app may write to it.
        own = {**scope, "headers": scope["headers"][:], "state": {}}
        await app(own, receiver(request), discard)


class Connection:
    """A WebSocket of a server: *count* messages, each when the one before has come back; then the
    client leaves, or is silent."""

    __module__ = "uvicorn"  # A server's methods are called more directly than a middleware's.

    def __init__(self, count: int, *, leaves: bool = True) -> None:
        self._left = count
        self._leaves = leaves
        self.silent = asyncio.Event()
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._queue.put_nowait({"type": "websocket.connect"})

    async def receive(self) -> dict[str, Any]:
        return await self._queue.get()

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.accept" or message.get("text") == MESSAGE:
            # As what has been read from a socket: in a step of the loop of its own.
            asyncio.get_running_loop().call_soon(self._say)

    def _say(self) -> None:
        self._left -= 1
        if self._left >= 0:
            self._queue.put_nowait({"type": "websocket.receive", "text": MESSAGE})
        elif self._leaves:
            self._queue.put_nowait({"type": "websocket.disconnect", "code": 1000})
        else:
            self.silent.set()


async def converse(app: App, workload: Workload, count: int) -> None:
    connection = Connection(count)
    scope = {**scope_of(workload.requests[0]), "type": "websocket", "scheme": "ws"}
    del scope["method"]
    await app({**scope, "subprotocols": []}, connection.receive, connection.send)


class Bytecodes:
    """Counts them from now on, by file, in threads that are started later too."""

    def __init__(self) -> None:
        self.by_file: Counter[str] = Counter()
        self._file = __file__
        threading.settrace(self._enter)
        sys.settrace(self._enter)

    def _enter(self, frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename == self._file:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._step

    def _step(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "opcode":
            self.by_file[frame.f_code.co_filename] += 1
        return self._step

    def stop(self) -> Counter[str]:
        sys.settrace(None)
        threading.settrace(None)
        return self.by_file


def package_of(file: str) -> str:
    """What a file belongs to: a package from outside, asyncflask, the app, or Python's library."""
    for marker in ("/site-packages/", "/src/"):
        if marker in file:
            return file.partition(marker)[2].partition("/")[0].removesuffix(".py")
    return "the app" if "/benchmarks/apps/" in file else "Python's library"


class CollectorTime:
    """Seconds of processor time that collections take from now on."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, _: dict[str, int]) -> None:
        now = time.thread_time()
        if phase == "start":
            self._began = now
        else:
            self.seconds += now - self._began


async def run(app: App, workload: Workload, mode: str, count: int) -> None:
    # Tracing begins before a thread starts.
    bytecodes = Bytecodes() if mode in ("bytecodes", "packages") else None
    if workload.kind == "websocket":
        answer_all = partial(converse, app, workload)
    else:
        answer_all = partial(answer, app, await prepared(app, workload))
    await answer_all(WARM_UP)
    gc.collect()
    if mode != "collector":
        gc.freeze()  # What was imported is not looked through again by chance.
    if mode == "count":
        print("warm", flush=True)
        sys.stdin.readline()
        await answer_all(count)
        print("done", flush=True)
        sys.stdin.readline()
    elif bytecodes is not None:
        before = bytecodes.by_file.copy()
        await answer_all(count)
        by_file = bytecodes.stop() - before
        if mode == "bytecodes":
            print(f"{by_file.total() / count:.1f}")
            return
        by_package: Counter[str] = Counter()
        for file, number in by_file.items():
            by_package[package_of(file)] += number
        for package, number in by_package.most_common():
            print(f"{package:<24}{number / count:>10,.0f}")
    elif mode == "collector":
        collector = CollectorTime()
        began = time.process_time()
        await answer_all(count)
        print(f"{collector.seconds / (time.process_time() - began):.1%}")
    else:
        times = []
        for _ in range(REPEATS):
            began = time.process_time()
            await answer_all(count)
            times.append((time.process_time() - began) / count)
        print(f"{min(times) * 1e6:.3f}")


def main() -> None:
    peer, key, mode, *count = sys.argv[1:]
    workload = BY_KEY[key]
    app = load(peer, workload)
    if mode == "where":
        print(sys.modules.get(peer, sys.modules["common"]).__file__)
        return
    coro = run(app, workload, mode, int(count[0]))
    if peer == "flask":
        with suppress(StopIteration):
            coro.send(None)
    else:
        asyncio.run(coro)


if __name__ == "__main__":
    main()
