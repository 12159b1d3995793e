"""Clients that make no progress, and bodies that are held back while the server stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from typing import Any

import pytest
from starlette.types import Message
from werkzeug.exceptions import ClientDisconnected, RequestTimeout, ServiceUnavailable

from asyncflask.asgi import stalls
from asyncflask.asgi.body import Body
from asyncflask.asgi.stalls import BlindSend, end_uploads, patient
from support.asgi import http_scope

SCOPE = http_scope(method="POST", headers=[("content-length", "1000")])


class App:
    """What waits for clients."""

    logger = logging.getLogger("stalls")

    def __init__(self, seconds: float | None) -> None:
        self.config: dict[str, Any] = {"CLIENT_TIMEOUT": seconds}


def waits() -> set[stalls.Wait]:
    return stalls._here().waits


async def nothing() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("must not be reached")


async def drip() -> Message:
    await asyncio.sleep(0.001)
    return {"type": "http.request", "body": b"x", "more_body": True}


class TestStop:
    """While the server stops."""

    @asynccontextmanager
    async def stopping(self, seconds: float) -> AsyncIterator[None]:
        task = asyncio.create_task(end_uploads(seconds))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def test_stalled(self) -> None:
        async with self.stopping(0.02):
            with pytest.raises(ServiceUnavailable):
                await Body(SCOPE, nothing).receive_ahead()
        assert not waits()

    async def test_that_comes_too_slowly(self) -> None:
        body = Body(SCOPE, drip)
        async with self.stopping(0.1):
            with pytest.raises(ServiceUnavailable):
                await body.receive_ahead(1_000_000)
        assert body.arrived > 0

    async def test_that_comes(self) -> None:
        messages = [b"x" * 500, b"x" * 500]

        async def receive() -> Message:
            chunk = messages.pop()
            return {"type": "http.request", "body": chunk, "more_body": bool(messages)}

        async with self.stopping(0.02):
            body = Body(SCOPE, receive)
            await body.receive_ahead()
        assert body.take_all() == b"x" * 1000

    async def test_client_that_is_waited_for_to_leave(self) -> None:
        """When all of the body has come, nothing more is given up."""
        body = Body(http_scope(), nothing)
        task = asyncio.create_task(body.gone())
        while not body._receiving:
            await asyncio.sleep(0)
        assert not waits()
        task.cancel()


class TestBody:
    def body(self, seconds: float | None, receive: Any = nothing) -> Body:
        body = Body(SCOPE, receive)
        body.app = App(seconds)
        return body

    async def test_stalled(self, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(RequestTimeout):
            await self.body(0.02).receive_ahead()
        assert not waits()
        assert caplog.messages == [
            "The client of POST '/' sent too little of its body for 0.02 s (CLIENT_TIMEOUT)."
        ]

    async def test_that_drips(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stalls, "LEAST_RATE", 100_000)
        body = self.body(0.02, drip)
        with pytest.raises(RequestTimeout):
            await body.receive_ahead(1_000_000)
        assert body.arrived > 0

    async def test_feed_may_drip(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stalls, "LEAST_RATE", 100_000)
        stalled = asyncio.create_task(self.body(0.2).receive_ahead())
        async for _ in self.body(0.2, drip):
            if stalled.done():
                break
        assert isinstance(stalled.exception(), RequestTimeout)

    async def test_time_that_nobody_waits_does_not_count(self) -> None:
        body, stalled = self.body(0.02), self.body(0.02)
        watching = asyncio.create_task(body.gone())
        for _ in range(3):
            with pytest.raises(RequestTimeout):
                await self.body(0.02).receive_ahead()
        assert body in waits()
        assert body.error is None
        watching.cancel()
        del stalled

    async def test_that_another_receives(self) -> None:
        """Who watches the client goes on doing so, and can be cancelled."""
        body = self.body(0.02)
        watching = asyncio.create_task(body.gone())
        while not body._receiving:
            await asyncio.sleep(0)
        with pytest.raises(RequestTimeout):
            await body.receive_ahead()
        while not body._receiving:
            await asyncio.sleep(0)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching

    async def test_no_limit(self) -> None:
        for seconds in None, 0, -1:
            task = asyncio.create_task(self.body(seconds).receive_ahead())
            while not waits():
                await asyncio.sleep(0)
            assert not stalls._here().sweeps
            task.cancel()
            await asyncio.wait([task])

    async def test_cancelled_by_others(self) -> None:
        """A cancellation that is not of here stays one."""
        task = asyncio.create_task(self.body(60).receive_ahead())
        while not waits():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not waits()


class Connection:
    """Of a server: of what is sent the client takes what `rate` says, at each look."""

    def __init__(self, rate: int, size: int = 0) -> None:
        self.rate = rate
        self.size = size
        self.closed = asyncio.Event()
        self.transport = self

    def get_write_buffer_size(self) -> int:
        self.size = max(0, self.size - self.rate)
        if not self.size:
            self.closed.set()
        return self.size

    def get_extra_info(self, name: str) -> None:
        return None

    def abort(self) -> None:
        self.size = -1
        self.closed.set()

    async def send(self, message: Message) -> None:
        await self.closed.wait()


class TestSend:
    async def test_stalled(self, caplog: pytest.LogCaptureFixture) -> None:
        connection = Connection(rate=0, size=100_000)
        send = patient(connection.send, Context(), nothing, Body(SCOPE, nothing), App(0.02))
        await send({"type": "http.response.body", "body": b"x"})
        assert connection.size == -1
        assert not waits()
        assert caplog.messages == [
            "The client of POST '/' took too little of the response for 0.02 s (CLIENT_TIMEOUT)."
        ]

    async def test_slow(self) -> None:
        connection = Connection(rate=1_000, size=20_000)
        send = patient(connection.send, Context(), nothing, Body(SCOPE, nothing), App(0.02))
        await send({"type": "http.response.body", "body": b"x"})
        assert connection.size == 0

    async def test_connection_that_only_receive_shows(self) -> None:
        connection = Connection(rate=0, size=100_000)

        async def send(message: Message) -> None:
            await connection.send(message)

        patient_send = patient(send, Context(), connection.send, Body(SCOPE, nothing), App(0.02))  # type: ignore[arg-type]
        await patient_send({"type": "http.response.body", "body": b"x"})
        assert connection.size == -1


class TestBlindSend:
    async def test_stalled(self) -> None:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)
            await asyncio.Event().wait()

        body = Body(SCOPE, nothing)
        watching = asyncio.create_task(body.gone())
        while not body._receiving:
            await asyncio.sleep(0)
        blind = patient(send, Context(), nothing, body, App(0.02))
        assert isinstance(blind, BlindSend)
        await blind({"type": "http.response.body", "body": b"x" * 200_000})
        await watching
        await blind({"type": "http.response.body", "body": b""})
        assert body.left
        assert isinstance(body.error, ClientDisconnected)
        assert len(sent) == 1
        assert not waits()

    async def test_cancelled_by_others(self) -> None:
        blind = patient(
            lambda message: nothing(),  # type: ignore[arg-type, return-value]
            Context(),
            nothing,
            Body(SCOPE, nothing),
            App(60),
        )
        task = asyncio.ensure_future(blind({"type": "http.response.body"}))
        while not waits():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not waits()

    async def test_long_message_is_sent_in_pieces(self) -> None:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        blind = patient(send, Context(), nothing, Body(SCOPE, nothing), App(60))
        await blind({"type": "http.response.body", "body": b"x" * 150_000})
        assert [len(message["body"]) for message in sent] == [65_536, 65_536, 18_928]
        assert [message["more_body"] for message in sent] == [True, True, False]
