"""Request bodies: announced, received, limited, read."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Message
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from asyncflask.asgi import body as module
from asyncflask.asgi.body import Body, BodyFile
from asyncflask.asgi.threads import Driver, run_in_worker
from support.asgi import Peer, chunks, http_scope
from support.driver import run

DISCONNECT: Message = {"type": "http.disconnect"}


def body_of(*messages: Message, length: int | str | None = None, **more: Any) -> Body:
    """A body that is announced by its length, or as chunked."""
    header = ("transfer-encoding", "chunked")
    if length is not None:
        header = ("content-length", str(length))
    scope = http_scope(method="POST", headers=[header], **more)
    return Body(scope, Peer(messages).receive)


async def ahead(body: Body, spool: bool = True) -> None:
    async def main(driver: Driver) -> None:
        await body.receive_ahead()
        if spool:
            await body.spool(driver)

    await run(main)


class TestAnnounced:
    @pytest.mark.parametrize(
        ("method", "version", "headers", "length", "complete"),
        [
            ("GET", "1.1", [], 0, True),
            ("POST", "1.1", [], 0, True),
            ("POST", "1.1", [("content-length", "0")], 0, True),
            ("POST", "1.1", [("content-length", "3")], 3, False),
            ("POST", "1.1", [("content-length", "x")], 0, False),
            ("POST", "1.1", [("transfer-encoding", "chunked")], 0, False),
            ("GET", "2", [], 0, True),
            ("POST", "2", [], 0, False),  # HTTP/2 announces no length
        ],
    )
    def test_request(
        self, method: str, version: str, headers: Any, length: int, complete: bool
    ) -> None:
        scope = http_scope(method=method, headers=headers, http_version=version)
        body = Body(scope, Peer().receive)
        assert (body.content_length, body.complete) == (length, complete)

    def test_websocket(self) -> None:
        assert Body({**http_scope(), "type": "websocket"}, Peer().receive).complete


class TestPlainRead:
    """On a thread, reading waits for what has not come."""

    READS: dict[str, Callable[[io.BufferedReader], bytes]] = {
        "all": lambda file: file.read(),
        "sized": lambda file: b"".join(iter(lambda: file.read(2), b"")),
        "lines": lambda file: b"".join(file),
    }

    @pytest.mark.parametrize("how", READS)
    @pytest.mark.parametrize("early", [False, True])
    @pytest.mark.parametrize("buffer_size", [2, 65_536])
    async def test_reads(self, how: str, early: bool, buffer_size: int) -> None:
        body = body_of(*chunks(b"one\n", b"", b"two\nthree"))
        if early:
            await ahead(body)
        file: Any = io.BufferedReader(BodyFile(body), buffer_size)
        assert await run_in_worker(self.READS[how], file) == b"one\ntwo\nthree"
        assert await run_in_worker(file.read) == b""

    async def test_no_body_waits_for_nothing(self) -> None:
        peer = Peer()
        body = Body(http_scope(), peer.receive)
        assert body.file().read() == b""
        assert body.file().readable()
        assert peer.received == 0

    async def test_on_the_loop_is_an_error_that_teaches(self) -> None:
        body = body_of(*chunks(b"data"))
        with pytest.raises(RuntimeError, match=r"async for chunk in request\.stream"):
            body.file().read()

    async def test_on_the_loop_when_it_is_there(self) -> None:
        body = body_of(*chunks(b"da", b"ta"))
        await ahead(body)
        assert body.file().read() == b"data"

    async def test_client_leaves(self) -> None:
        body = body_of(*chunks(b"part")[:1], DISCONNECT)
        with pytest.raises(ClientDisconnected):
            await run_in_worker(body.file().read)
        assert body.left


class TestAsyncRead:
    async def test_chunks_as_they_come(self) -> None:
        body = body_of(*chunks(b"one", b"two"))
        assert [chunk async for chunk in body] == [b"one", b"two"]
        assert [chunk async for chunk in body] == []

    async def test_client_leaves(self) -> None:
        body = body_of(*chunks(b"part")[:1], DISCONNECT)
        got = []
        with pytest.raises(ClientDisconnected):
            async for chunk in body:
                got.append(chunk)
        assert got == [b"part"]

    async def test_two_readers_lose_nothing(self) -> None:
        """One task receives at a time; who waited meanwhile looks at what there is."""
        queue: asyncio.Queue[Message] = asyncio.Queue()
        body = Body(http_scope(method="POST", headers=[("content-length", "9")]), queue.get)
        both = asyncio.gather(body.fill(), body.fill())
        await asyncio.sleep(0)
        queue.put_nowait({"type": "http.request", "body": b"only", "more_body": True})
        await asyncio.wait_for(both, 10)
        assert list(body.chunks) == [b"only"]

    async def test_end_that_another_task_received(self) -> None:
        """A stream that reads the request it answers, watched for its client's leaving."""
        queue: asyncio.Queue[Message] = asyncio.Queue()
        body = Body(http_scope(method="POST", headers=[("content-length", "9")]), queue.get)
        watch = asyncio.create_task(body.gone())
        await asyncio.sleep(0)
        reader = asyncio.create_task(body.fill())
        await asyncio.sleep(0)
        queue.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        await asyncio.wait_for(reader, 45)
        assert not watch.done()
        queue.put_nowait(DISCONNECT)
        await watch


class TestLimit:
    async def test_announced(self) -> None:
        peer = Peer(chunks(b"x" * 11))
        scope = http_scope(method="POST", headers=[("content-length", "11")])
        body = Body(scope, peer.receive)
        body.limit(10)
        with pytest.raises(RequestEntityTooLarge):
            await ahead(body)
        assert peer.received == 0

    async def test_chunked(self) -> None:
        peer = Peer(chunks(*[b"x" * 4] * 100))
        scope = http_scope(method="POST", headers=[("transfer-encoding", "chunked")])
        body = Body(scope, peer.receive)
        body.limit(10)
        with pytest.raises(RequestEntityTooLarge):
            await ahead(body)
        assert peer.received == 3

    @pytest.mark.parametrize("limit", [10, None])
    async def test_within(self, limit: int | None) -> None:
        body = body_of(*chunks(b"x" * 10), length=10)
        body.limit(limit)
        await ahead(body)
        assert body.file().read() == b"x" * 10

    async def test_for_those_who_iterate(self) -> None:
        body = body_of(*chunks(b"x" * 4, b"x" * 4))
        body.limit(5)
        with pytest.raises(RequestEntityTooLarge):
            async for _ in body:
                pass

    async def test_for_plain_reads(self) -> None:
        body = body_of(*chunks(b"x" * 11))
        body.limit(10)
        with pytest.raises(RequestEntityTooLarge):
            await run_in_worker(body.file().read)


class TestSpool:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "SPOOL_BYTES", 5)

    @pytest.mark.limit("SPOOL_BYTES")
    async def test_large_body_goes_to_disk(self) -> None:
        body = body_of(*chunks(b"abc", b"def", b"ghi"))
        await ahead(body)
        assert body.spooled is not None
        assert not body.chunks
        assert io.BufferedReader(BodyFile(body), 2).read(4) == b"abcd"
        file = body.spooled
        body.end()
        assert file.closed

    async def test_all_of_it(self) -> None:
        body = body_of(*chunks(b"abc", b"def", b"g"))
        await ahead(body)
        assert body.file().read() == b"abcdefg"
        body.end()

    async def test_written_off_the_loop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        names = []
        write_out = Body._write_out

        def noting(body: Body, also: None) -> None:
            names.append(threading.current_thread().name)
            write_out(body, also)

        monkeypatch.setattr(Body, "_write_out", noting)
        body = body_of(*chunks(b"abcdef", b"ghi"))
        await ahead(body)
        assert set(names) == {"asyncflask-worker"}
        body.end()

    async def test_form_is_left_to_its_parser(self) -> None:
        peer = Peer(chunks(b"abc", b"def", b"ghi"))
        scope = http_scope(method="POST", headers=[("transfer-encoding", "chunked")])
        body = Body(scope, peer.receive)
        await ahead(body, spool=False)
        assert (body.spooled, body.complete, peer.received) == (None, False, 2)
        assert await run_in_worker(body.file().read) == b"abcdefghi"

    async def test_error_after_it(self) -> None:
        body = body_of(*chunks(b"abcdef")[:1], DISCONNECT)
        with pytest.raises(ClientDisconnected):
            await ahead(body)
        body.end()


class TestGone:
    async def test_keeps_what_comes(self) -> None:
        body = body_of(*chunks(b"one", b"two"), DISCONNECT)
        await asyncio.wait_for(body.gone(), 10)
        assert body.left
        assert body.file().read() == b"onetwo"

    @pytest.mark.limit("READ_AHEAD_BYTES")
    async def test_does_not_read_ahead_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "READ_AHEAD_BYTES", 5)
        peer = Peer(chunks(*[b"xyz"] * 10))
        scope = http_scope(method="POST", headers=[("transfer-encoding", "chunked")])
        body = Body(scope, peer.receive)
        task = asyncio.create_task(body.gone())
        await asyncio.sleep(0.01)
        assert peer.received == 2
        task.cancel()

    async def test_but_notices_it_all_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "READ_AHEAD_BYTES", 5)
        monkeypatch.setattr(module, "READ_AHEAD_SECONDS", 0.001)
        body = body_of(*chunks(b"xyz", b"xyz", b"xyz")[:3], DISCONNECT)
        await asyncio.wait_for(body.gone(), 10)
        assert body.left

    async def test_keeps_no_more_while_a_response_is_sent(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "READ_AHEAD_BYTES", 5)
        monkeypatch.setattr(module, "READ_AHEAD_SECONDS", 0.001)
        monkeypatch.setattr(module, "SPOOL_BYTES", 8)
        body = body_of(*chunks(b"xyz", b"xyz", b"xyz", b"xyz"), DISCONNECT)
        await asyncio.wait_for(body.gone_unread(), 10)
        assert not body.chunks
        with pytest.raises(RequestEntityTooLarge):
            await run_in_worker(body.file().read)

    async def test_after_the_close(self) -> None:
        body = body_of(*chunks(b"never received"))
        body.end()
        assert await body._receive() == DISCONNECT

    async def test_as_receive(self) -> None:
        peer = Peer()
        peer.leave()
        assert await Body(http_scope(), peer.receive).as_receive() == DISCONNECT

    async def test_is_disconnected(self) -> None:
        peer = Peer(chunks(b"data"))
        scope = http_scope(method="POST", headers=[("content-length", "4")])
        body = Body(scope, peer.receive)
        assert not await body.is_disconnected()  # unknown as yet: it would lose the body
        await ahead(body)
        assert not await body.is_disconnected()
        peer.leave()
        assert await body.is_disconnected()
        assert await body.is_disconnected()
        assert body.file().read() == b"data"
