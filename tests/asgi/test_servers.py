"""Recognizing servers, and what their connections reveal."""

from __future__ import annotations

import asyncio
from functools import partial
from types import SimpleNamespace

import pytest
from starlette.types import Message, Send

from asyncflask.asgi import servers
from asyncflask.asgi.servers import (
    drops_accept_headers,
    server_of,
    stop_of,
    tell_once,
    wsgi_server,
)


def of_package(name: str, **attributes: object) -> Send:
    """`send` as a method of an object of this package."""

    async def send(self: object, message: Message) -> None:
        pass

    owner = type("Protocol", (SimpleNamespace,), {"__module__": f"{name}.protocol", "send": send})
    method: Send = owner(**attributes).send
    return method


async def middleware(message: Message) -> None:
    pass


async def closure(message: Message) -> None:
    pass


closure.__module__ = "gunicorn.asgi.protocol"


@pytest.mark.parametrize(
    ("send", "server"),
    [
        (of_package("uvicorn"), "uvicorn"),
        (of_package("hypercorn"), "Hypercorn"),
        (of_package("granian"), "Granian"),
        (partial(of_package("daphne")), "Daphne"),
        (closure, "gunicorn"),
        (of_package("starlette"), None),
        (middleware, None),
    ],
)
def test_server_of(send: Send, server: str | None) -> None:
    assert server_of(send) == server


def test_wsgi_server() -> None:
    assert wsgi_server("gunicorn/27.0.1") == "gunicorn"
    assert wsgi_server("") is None


def test_drops_accept_headers() -> None:
    assert drops_accept_headers(of_package("granian")) == "Granian"
    assert drops_accept_headers(of_package("uvicorn")) is None
    assert drops_accept_headers(middleware) is None


async def test_stop_of_hypercorn() -> None:
    terminated = asyncio.Event()
    context = SimpleNamespace(terminated=terminated)
    wait = stop_of(of_package("hypercorn", context=context))
    assert wait is not None
    terminated.set()
    await wait()


@pytest.mark.parametrize("send", [of_package("hypercorn"), of_package("uvicorn"), middleware])
def test_no_stop(send: Send) -> None:
    assert stop_of(send) is None


def test_tell_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_told", set())
    for text in "It cannot.", "It cannot.", "Nor this.":
        tell_once(text)
    assert caplog.messages == ["It cannot.", "Nor this."]
