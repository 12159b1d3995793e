"""Sending responses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from starlette.types import Message

from asyncflask.asgi.body import Body
from asyncflask.asgi.conversation import Conversations
from asyncflask.asgi.response import send_response
from asyncflask.asgi.threads import Driver
from support.asgi import Peer, http_scope
from support.driver import run


class TestSendResponse:
    START: Message = {"type": "http.response.start", "status": 200, "headers": []}

    async def sent(self, content: Any, peer: Peer | None = None) -> Peer:
        peer = peer or Peer()
        body = Body(http_scope(), peer.receive)

        async def main(driver: Driver) -> None:
            await send_response(driver, peer.send, body, Conversations(), self.START, content)

        await asyncio.wait_for(run(main), 30)
        return peer

    async def test_whole(self) -> None:
        peer = await self.sent(b"data")
        assert peer.sent == [self.START, {"type": "http.response.body", "body": b"data"}]
        assert peer.received == 0  # nobody has to watch for its end

    @staticmethod
    def plain() -> Iterator[bytes]:
        yield from (b"one", b"", threading.current_thread().name.encode())

    @staticmethod
    async def coroutine() -> AsyncIterator[bytes]:
        for chunk in (b"one", b"", threading.current_thread().name.encode()):
            yield chunk

    @pytest.mark.parametrize(
        ("source", "thread"), [(plain, "asyncflask-worker"), (coroutine, "MainThread")]
    )
    async def test_chunks(self, source: Callable[[], Any], thread: str) -> None:
        peer = await self.sent(source())
        assert peer.sent[0] == self.START
        assert peer.body == b"one" + thread.encode()
        assert all(message["more_body"] for message in peer.sent[1:-1])
        assert peer.sent[-1] == {"type": "http.response.body", "body": b""}

    @staticmethod
    def plain_for_ever() -> Iterator[bytes]:
        while True:
            yield b"more"

    @staticmethod
    async def async_for_ever() -> AsyncIterator[bytes]:
        while True:
            yield b"more"  # and never waits

    @pytest.mark.parametrize("source", [plain_for_ever, async_for_ever])
    async def test_client_leaves(self, source: Callable[[], Any]) -> None:
        peer = Peer()
        peer.leave_after = 3
        await self.sent(source(), peer)
        assert peer.sent[-1]["more_body"] is True  # no end: nobody would read it

    async def test_error_of_the_source(self) -> None:
        def fail() -> Iterator[bytes]:
            yield b"one"
            raise ValueError("no")

        peer = Peer()
        with pytest.raises(ValueError, match="no"):
            await self.sent(fail(), peer)
        assert peer.body == b"one"
