"""What the fuzzers share: the real Flask, requests in memory for both frameworks, and a server."""

from __future__ import annotations

import asyncio
import importlib
import io
import logging
import re
import sys
import tarfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from random import Random
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import uvicorn
from starlette.types import ASGIApp, Scope
from werkzeug.test import run_wsgi_app

from conformance.run import CACHE, RELEASE, SHA256
from support.asgi import Peer
from support.suites import fetch

SECONDS: Final = 30.0
"""After this something hangs."""

UVICORNS: Final = re.compile(r"(^|/)(uvicorn|uvloop|websockets|h11|asyncio)/")
"""The files of a traceback that has nothing to do with an app."""

Headers = list[tuple[bytes, bytes]]


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    """With names in lower case, sorted."""
    body: bytes


def expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"{what}:\n    found    {found!r}\n    expected {expected!r}")


@cache
def real_flask() -> Any:
    """Flask 3.1.3 itself, of its source release."""
    archive = fetch(RELEASE, SHA256, CACHE)
    folder = CACHE / "source"
    with tarfile.open(archive) as tar:
        wanted = f"{RELEASE}/src/"
        members = [member for member in tar if member.name.startswith(wanted)]
        tar.extractall(folder, members, filter="data")
    sys.path.insert(0, str(folder / RELEASE / "src"))
    return importlib.import_module("flask")


def http_scope(target: bytes, method: str, headers: Headers, **more: Any) -> Scope:
    """As uvicorn makes it."""
    raw_path, _, query = target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path.decode("ascii")),
        "raw_path": raw_path,
        "root_path": "",
        "query_string": query,
        "headers": headers,
        "client": ("127.0.0.1", 50000),
        "server": ("localhost", 80),
        **more,
    }


def environ_of(scope: Scope, body: bytes) -> dict[str, Any]:
    """The same request as a WSGI server tells it (PEP 3333): a path of bytes, headers joined."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(scope["raw_path"].decode("ascii"), "latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": scope["server"][0],
        "SERVER_PORT": str(scope["server"][1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": scope["client"][0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        text = value.decode("latin-1").strip(" \t")
        if "_" in name.decode("latin-1"):
            continue  # as gunicorn and nginx do
        if key in environ:
            text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
        environ[key] = text
    return environ


def ask_flask(app: Any, scope: Scope, body: bytes = b"") -> Answer:
    content, status, headers = run_wsgi_app(app.wsgi_app, environ_of(scope, body), buffered=True)
    pairs = sorted((name.lower(), value) for name, value in headers)
    return Answer(int(status.split()[0]), pairs, b"".join(content))


def ask_asgi(app: ASGIApp, scope: Scope, body: Sequence[bytes] = (b"",)) -> Answer:
    """The answer of *app*, on the loop of all fuzzers, to a body that comes in pieces."""
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in body]
    peer = Peer([*messages, {"type": "http.request", "body": b"", "more_body": False}])

    async def ask() -> None:
        async with asyncio.timeout(SECONDS):
            await app(scope, peer.receive, peer.send)

    runner().run(ask())
    return Answer(peer.status, sorted(peer.headers), peer.body)


@cache
def runner() -> asyncio.Runner:
    return asyncio.Runner()


def cut(chance: Random, data: bytes, most: int = 8) -> list[bytes]:
    """*data* in random pieces."""
    places = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(most)))
    return [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]


def mutated(chance: Random, data: bytes, most: int = 4) -> bytes:
    """*data* with some bytes changed, left out, doubled or added."""
    changed = bytearray(data)
    for _ in range(chance.randrange(1, most + 1)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(5):
            case 0:
                changed[at:at] = chance.randbytes(1)
            case 1:
                del changed[at : at + chance.choice([1, 1, 5])]
            case 2:
                changed[at:at] = changed[at : at + chance.randrange(20)]
            case 3:
                changed[at : at + 1] = chance.choice(b"\r\n\0 :;,=/%\"'\\\xff\x80").to_bytes(1)
            case _:
                other = chance.randrange(len(changed) + 1)
                changed[at:at] = changed[other : other + chance.randrange(20)]
    return bytes(changed)


class Errors(logging.Handler):
    """Keeps what is logged with a traceback, or by asyncio; but for what uvicorn does on its own,
    such as with text that is no UTF-8."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        tb = error.__traceback__ if error else None
        files = {frame.filename for frame in traceback.extract_tb(tb)}
        is_uvicorns = files and all(UVICORNS.search(file) for file in files)
        if (error or record.name == "asyncio") and not is_uvicorns:
            self.found.append(self.format(record))

    def check(self) -> None:
        if self.found:
            found, self.found = self.found, []
            raise AssertionError("in the log:\n" + "\n".join(found))


@contextmanager
def served(app: ASGIApp, http: Any) -> Iterator[tuple[int, Errors]]:
    """A server for *app* on a thread of this process; gives its port and its log."""
    errors = Errors()
    logging.getLogger().addHandler(errors)
    config = uvicorn.Config(app, port=0, http=http, log_config=None, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            if not thread.is_alive():
                raise RuntimeError("the server does not start")
        yield server.servers[0].sockets[0].getsockname()[1], errors
    finally:
        server.should_exit = True
        thread.join(SECONDS)
        logging.getLogger().removeHandler(errors)
