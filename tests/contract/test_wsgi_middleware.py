"""The iterable that WSGI middleware returns is closed once, however the request ends (PEP
3333)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from asyncflask import Flask, Response, stream_with_context
from contract.raw import SECONDS
from support.asgi import Peer, chunks, exchange, http_scope


class Body(list[bytes]):
    """A body that is a list."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


class Iterable:
    """A body whose iterator is another object."""

    closed = 0

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)

    def close(self) -> None:
        self.closed += 1


class LateStart(Iterable):
    """A body that starts the response with its first chunk."""

    start_response: Any

    def __iter__(self) -> Iterator[bytes]:
        self.start_response("200 OK", [])
        yield from self.chunks


@pytest.mark.parametrize("content", [[b"whole"], [b"in ", b"parts"]], ids=["one", "two"])
@pytest.mark.parametrize("kind", [Body, Iterable, LateStart])
async def test_body_is_closed(kind: Any, content: list[bytes]) -> None:
    body = kind(content)

    def middleware(environ: Any, start_response: Any) -> Any:
        if kind is LateStart:
            body.start_response = start_response
        else:
            start_response("200 OK", [])
        return body

    app = Flask("middleware")
    app.wsgi_app = middleware  # type: ignore[method-assign]
    peer = await exchange(app, http_scope("/"))
    assert peer.body == b"".join(content)
    assert body.closed == 1


async def test_request_is_cancelled_while_the_middleware_runs() -> None:
    body = Body([b"never sent"])
    inside, go = threading.Event(), threading.Event()

    def middleware(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        inside.set()
        assert go.wait(SECONDS)
        return body

    app = Flask("middleware")
    app.wsgi_app = middleware  # type: ignore[method-assign]
    peer = Peer(chunks())
    request = asyncio.create_task(app(http_scope("/"), peer.receive, peer.send))
    assert await asyncio.to_thread(inside.wait, SECONDS)
    request.cancel()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert body.closed == 1


def test_body_that_is_dropped_on_another_thread() -> None:
    """The garbage collector may do so. Sync code of the request stays on its own thread."""
    app = Flask("dropped")
    torn_down: list[int] = []
    app.teardown_request(lambda error: torn_down.append(threading.get_ident()))

    @app.get("/")
    def stream() -> Response:
        return Response(stream_with_context(iter("abc")))

    app.get("/next")(lambda: "next")
    kept: list[Any] = []

    def server_that_forgets() -> None:
        response = app.test_client().get("/", buffered=False)
        kept.append(response.response)

    server_that_forgets()
    other = threading.Thread(target=kept.clear)
    other.start()
    other.join(SECONDS)
    assert not other.is_alive()
    app.test_client().get("/next")
    assert set(torn_down) == {threading.get_ident()}
