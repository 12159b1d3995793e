"""Bodies that clients keep back while the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.types import Message
from werkzeug.exceptions import ServiceUnavailable

from asyncflask.asgi.http import Body
from asyncflask.asgi.uploads import end_uploads, waited_for
from support.asgi import http_scope

SCOPE = http_scope(method="POST", headers=[("content-length", "1000")])


@asynccontextmanager
async def stopping(seconds: float) -> AsyncIterator[None]:
    task = asyncio.create_task(end_uploads(seconds))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def nothing() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("must not be reached")


async def test_stalled() -> None:
    async with stopping(0.02):
        with pytest.raises(ServiceUnavailable):
            await Body(SCOPE, nothing).receive_ahead()
    assert not waited_for


async def test_that_comes_too_slowly() -> None:
    async def receive() -> Message:
        await asyncio.sleep(0.001)
        return {"type": "http.request", "body": b"x", "more_body": True}

    body = Body(SCOPE, receive)
    async with stopping(0.1):
        with pytest.raises(ServiceUnavailable):
            await body.receive_ahead(1_000_000)
    assert body.arrived > 0


async def test_that_comes() -> None:
    messages = [b"x" * 500, b"x" * 500]

    async def receive() -> Message:
        chunk = messages.pop()
        return {"type": "http.request", "body": chunk, "more_body": bool(messages)}

    async with stopping(0.02):
        body = Body(SCOPE, receive)
        await body.receive_ahead()
    assert body.take_all() == b"x" * 1000


async def test_cancelled_by_others() -> None:
    """A cancellation that is not the server's stop stays one."""
    task = asyncio.create_task(Body(SCOPE, nothing).receive_ahead())
    while not waited_for:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not waited_for


async def test_client_that_is_waited_for_to_leave() -> None:
    """When all of the body has come, nothing more is given up."""
    body = Body(http_scope(), nothing)
    task = asyncio.create_task(body.gone())
    while not body._receiving:
        await asyncio.sleep(0)
    assert not waited_for
    task.cancel()
