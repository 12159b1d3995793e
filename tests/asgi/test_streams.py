"""Sending a stream's chunks: in order, once, ahead within limits, a single chunk at once.

No test depends on how long something takes: where time decides, it is switched off
(`any_pace`), and tests wait for events.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from starlette.types import Message

from asyncflask.asgi import streams
from asyncflask.asgi.streams import (
    AHEAD_BYTES,
    AHEAD_CHUNKS,
    JOIN_BYTES,
    Blocks,
    send_async_chunks,
    send_blocks,
    send_chunks,
)
from asyncflask.asgi.threads import Driver, run_in_worker

SECONDS = 45
variable: ContextVar[int] = ContextVar("variable", default=0)


class Client:
    """Takes messages while `reads` is set."""

    def __init__(self, *, pulls: bool = False) -> None:
        self.left = False
        self.pulls = pulls
        self.reads = asyncio.Event()
        self.reads.set()
        self.asked = asyncio.Event()
        """That a message is there, taken or not."""
        self.arrived = threading.Event()
        """That a message was taken."""
        self.sent: list[bytes] = []
        self.on_message: Callable[[], object] = lambda: None

    async def send(self, message: Message) -> None:
        assert message["type"] == "http.response.body"
        assert message["more_body"] is True
        self.asked.set()
        if not self.reads.is_set():
            await self.reads.wait()
        self.sent.append(message["body"])
        self.arrived.set()
        self.on_message()

    @property
    def body(self) -> bytes:
        return b"".join(self.sent)

    async def stream(self, content: Any, limit: int = 64) -> None:
        """Send *content* as a request does; *limit*: of sync functions at a time."""
        if hasattr(content, "__aiter__"):
            await send_async_chunks(self.send, self, content)
            return
        driver = Driver(asyncio.get_running_loop(), limit)
        send = send_blocks if isinstance(content, Blocks) else send_chunks
        try:
            await driver.run(send(driver, self.send, self, content))
        finally:
            driver.release()

    def start(self, content: Any, limit: int = 64) -> asyncio.Task[None]:
        return asyncio.create_task(self.stream(content, limit))


@pytest.fixture
def any_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step may take long, as on a busy machine, and counts as quick."""
    monkeypatch.setattr(streams, "QUICK_SECONDS", 3600)
    monkeypatch.setattr(streams, "HELD_SECONDS", 3600)


def sync(*chunks: bytes, at_end: Callable[[], object] = lambda: None) -> Iterator[bytes]:
    yield from chunks
    at_end()


async def asynchronous(
    *chunks: bytes, at_end: Callable[[], object] = lambda: None
) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    at_end()


BOTH = pytest.mark.parametrize("source", [sync, asynchronous])


class TestBoth:
    @BOTH
    async def test_all_in_order_and_once(self, source: Callable[..., Any]) -> None:
        chunks = [b"%d," % number * (number % 7) for number in range(30_000)]
        client = Client()
        await client.stream(source(*chunks))
        assert client.body == b"".join(chunks)

    @BOTH
    @pytest.mark.usefixtures("any_pace")
    async def test_what_is_there_is_joined(self, source: Callable[..., Any]) -> None:
        client = Client()
        client.reads.clear()  # of the sync one, the loop may take the first by itself
        made = threading.Event()
        task = client.start(source(*[b"x" * 20] * 1_000, at_end=made.set))
        await asyncio.to_thread(made.wait)
        client.reads.set()
        await task
        assert client.body == b"x" * 20_000
        assert len(client.sent) <= 2

    @BOTH
    @pytest.mark.usefixtures("any_pace")
    async def test_messages_stay_small_and_large_chunks_as_they_are(
        self, source: Callable[..., Any]
    ) -> None:
        large = b"x" * 1_000_000
        client = Client()
        await client.stream(source(large, *[b"y" * 50_000] * 9, large))
        assert client.body == large + b"y" * 450_000 + large
        assert client.sent[0] is large
        assert max(map(len, client.sent[1:-1])) <= 100_000

    @BOTH
    async def test_nothing(self, source: Callable[..., Any]) -> None:
        client = Client()
        await client.stream(source(b"", b""))
        assert client.sent == []

    @BOTH
    async def test_a_client_that_asks_for_each_chunk(self, source: Callable[..., Any]) -> None:
        """None is made before."""
        made: list[int] = []
        counts: list[int] = []
        client = Client(pulls=True)
        client.on_message = lambda: counts.append(len(made))

        def sync_numbers() -> Iterator[bytes]:
            for number in range(3):
                made.append(number)
                yield b"%d" % number

        async def async_numbers() -> AsyncIterator[bytes]:
            for chunk in sync_numbers():
                yield chunk

        await client.stream(sync_numbers() if source is sync else async_numbers())
        assert client.sent == [b"0", b"1", b"2"]
        assert counts == [1, 2, 3]

    @BOTH
    async def test_client_leaves(self, source: Callable[..., Any]) -> None:
        client = Client()

        def leave() -> None:
            client.left = True

        client.on_message = leave

        def for_ever() -> Iterator[bytes]:
            while True:
                yield b"more"

        async def async_for_ever() -> AsyncIterator[bytes]:
            while True:
                yield b"more"

        await client.stream(for_ever() if source is sync else async_for_ever())
        assert len(client.sent) == 1

    @BOTH
    async def test_error_comes_after_what_was_before_it(self, source: Callable[..., Any]) -> None:
        async def fails(*chunks: bytes) -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk
            raise LookupError("on purpose")

        def fails_sync(*chunks: bytes) -> Iterator[bytes]:
            yield from chunks
            raise LookupError("on purpose")

        client = Client()
        chunks = [b"x"] * 100
        with pytest.raises(LookupError):
            await client.stream(fails_sync(*chunks) if source is sync else fails(*chunks))
        assert client.body == b"x" * 100


class TestSync:
    @pytest.mark.usefixtures("any_pace")
    async def test_lone_chunk_is_sent_at_once(self) -> None:
        """Though the step after it does not end before it has arrived."""
        client = Client()

        def generate() -> Iterator[bytes]:
            for chunk in (b"one", b"two", b"three"):
                client.arrived.clear()
                yield chunk
                assert client.arrived.wait(SECONDS)

        await client.stream(generate())
        assert client.sent == [b"one", b"two", b"three"]

    @pytest.mark.usefixtures("any_pace")
    @pytest.mark.parametrize(
        ("size", "most"), [(1_000, AHEAD_BYTES // 1_000 + 1), (1, AHEAD_CHUNKS), (400_000, 1)]
    )
    @pytest.mark.limit("AHEAD_BYTES")
    async def test_bound_when_the_client_does_not_read(self, size: int, most: int) -> None:
        """And the thread of the stream counts no more as running: there is but one place."""
        made: list[bytes] = []

        def for_ever() -> Iterator[bytes]:
            while True:
                made.append(b"x" * size)
                yield made[-1]

        client = Client()
        client.reads.clear()
        task = client.start(for_ever(), limit=1)
        await client.asked.wait()
        # A place is free when the stream has come back to the loop, to wait for its client.
        await run_in_worker(made.copy)
        stopped_at = len(made)
        # What the loop has taken out counts for the bytes, not for the number of chunks.
        assert 1 <= stopped_at <= most + (AHEAD_CHUNKS if size == 1 else 0)
        assert await run_in_worker(lambda: len(made)) == stopped_at
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(made) == stopped_at
        assert client.sent == []

    async def test_goes_on_when_the_client_reads_again(self) -> None:
        client = Client()
        client.reads.clear()
        chunks = [b"%d," % number for number in range(100_000)]
        task = client.start(iter(chunks), limit=1)
        await client.asked.wait()
        await run_in_worker(int)
        client.reads.set()
        await task
        assert client.body == b"".join(chunks)

    async def test_one_that_never_waits_lets_others_run(self) -> None:
        client = Client()

        def for_ever() -> Iterator[bytes]:
            while True:
                yield b""

        task = client.start(for_ever(), limit=1)
        for _ in range(3):
            await run_in_worker(int)
        client.left = True
        await task

    async def test_all_on_one_thread_and_in_one_context(self) -> None:
        threads: set[int] = set()
        values: list[int] = []

        def generate() -> Iterator[bytes]:
            try:
                for number in range(5_000):
                    threads.add(threading.get_ident())
                    values.append(variable.get())
                    variable.set(number + 1)
                    yield b"x" * 200
            finally:
                threads.add(threading.get_ident())

        await Client().stream(generate())
        assert values == list(range(5_000))
        assert len(threads) == 1

    async def test_send_fails(self) -> None:
        """Beside the thread too: it stops, and the error is raised once."""
        client = Client()

        def fail() -> None:
            raise ConnectionError("on purpose")

        def for_ever() -> Iterator[bytes]:
            while True:
                yield b"more"

        client.on_message = fail
        with pytest.raises(ConnectionError):
            await client.stream(for_ever())
        assert len(client.sent) == 1

    @pytest.mark.usefixtures("any_pace")
    async def test_send_fails_while_the_thread_is_busy(self) -> None:
        client = Client()

        def fail() -> None:
            raise ConnectionError("on purpose")

        client.on_message = fail

        def generate() -> Iterator[bytes]:
            yield b"one"
            assert client.arrived.wait(SECONDS)
            yield b"two"
            raise AssertionError("goes on")

        content = generate()
        with pytest.raises(ConnectionError):
            await client.stream(content)
        content.close()  # type: ignore[attr-defined]

    async def test_both_fail(self) -> None:
        client = Client()

        def fail() -> None:
            raise ConnectionError("the client")

        client.on_message = fail

        def generate() -> Iterator[bytes]:
            yield b"one"
            client.arrived.wait(SECONDS)
            raise LookupError("the generator")

        with pytest.raises(ConnectionError) as caught:
            await client.stream(generate())
        # If the first chunk was sent by itself, its error came first.
        assert caught.value.__context__ is None or isinstance(
            caught.value.__context__, LookupError
        )

    @pytest.mark.usefixtures("any_pace")
    async def test_cancelled_while_the_thread_is_busy(self) -> None:
        """At shutdown: it ends after the step, and what it was sending is cancelled."""
        client = Client()
        client.reads.clear()
        goes_on = threading.Event()
        ended: list[bool] = []

        def generate() -> Iterator[bytes]:
            yield b"one"
            assert goes_on.wait(SECONDS)
            ended.append(True)

        task = client.start(generate())
        await client.asked.wait()
        task.cancel()
        goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [True]
        assert client.sent == []

    @pytest.mark.parametrize("view", [bytes, bytearray, memoryview])
    async def test_a_buffer_that_is_used_again(self, view: type[Any]) -> None:
        def generate() -> Iterator[Any]:
            buffer = bytearray(1)
            for number in range(100):
                buffer[0] = number
                yield view(buffer) if view is not bytearray else buffer

        client = Client()
        await client.stream(generate())
        assert client.body == bytes(range(100))


class TestAsync:
    async def test_lone_chunk_is_sent_at_once(self) -> None:
        client = Client()
        arrived = asyncio.Event()
        client.on_message = arrived.set

        async def generate() -> AsyncIterator[bytes]:
            for chunk in (b"one", b"two", b"three"):
                arrived.clear()
                yield chunk
                await arrived.wait()

        await client.stream(generate())
        assert client.sent == [b"one", b"two", b"three"]

    @pytest.mark.usefixtures("any_pace")
    async def test_bound_when_the_client_does_not_read(self) -> None:
        made: list[int] = []

        async def for_ever() -> AsyncIterator[bytes]:
            while True:
                made.append(1)
                yield b"x" * 1_000

        client = Client()
        client.reads.clear()
        task = client.start(for_ever())
        await client.asked.wait()
        assert len(made) == streams.JOIN_BYTES // 1_000 + 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_text_and_buffers(self) -> None:
        async def generate() -> AsyncIterator[Any]:
            for chunk in ("é", b"b", bytearray(b"c"), "", memoryview(b"d")):
                yield chunk

        client = Client()
        await client.stream(generate())
        assert client.body == "ébcd".encode()

    async def test_iterator_that_gives_futures(self) -> None:
        class Numbers:
            def __init__(self) -> None:
                self.left = 3

            def __aiter__(self) -> Numbers:
                return self

            def __anext__(self) -> asyncio.Future[bytes]:
                future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
                if self.left:
                    self.left -= 1
                    future.set_result(b"%d" % self.left)
                else:
                    future.set_exception(StopAsyncIteration())
                return future

        client = Client()
        await client.stream(Numbers())
        assert client.body == b"210"

    @pytest.mark.usefixtures("any_pace")
    async def test_waits_for_what_another_task_waits_for(self) -> None:
        """While the client is slow, and after it."""
        client = Client()
        client.reads.clear()
        shared: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def generate() -> AsyncIterator[bytes]:
            yield b"one"
            yield await shared

        async def wait() -> bytes:
            return await shared

        task = client.start(generate())
        await client.asked.wait()
        other = asyncio.create_task(wait())
        await asyncio.sleep(0)
        client.reads.set()
        client.asked.clear()
        await asyncio.sleep(0)
        shared.set_result(b"two")
        await task
        assert await other == b"two"
        assert client.sent == [b"one", b"two"]

    @pytest.mark.usefixtures("any_pace")
    @pytest.mark.parametrize("waits", ["future", "task", "sleep"])
    @pytest.mark.parametrize("how", ["cancelled", "send fails"])
    async def test_ends_while_generator_and_client_wait(self, waits: str, how: str) -> None:
        """The generator is cancelled where it waits, and may wait when it cleans up."""
        client = Client()
        client.reads.clear()
        steps: list[str] = []
        inner = asyncio.create_task(asyncio.Event().wait())

        def fail() -> None:
            raise ConnectionError("on purpose")

        client.on_message = fail

        async def generate() -> AsyncIterator[bytes]:
            yield b"one"
            try:
                if waits == "future":
                    await asyncio.get_running_loop().create_future()
                elif waits == "task":
                    await inner
                else:
                    while True:
                        await asyncio.sleep(0)
            except asyncio.CancelledError:
                steps.append("cancelled")
                raise
            finally:
                await asyncio.sleep(0)
                steps.append("cleaned up")

        content = generate()
        task = client.start(content)
        await client.asked.wait()
        if how == "cancelled":
            task.cancel()
        else:
            client.reads.set()
        with pytest.raises(asyncio.CancelledError if how == "cancelled" else ConnectionError):
            await task
        assert steps == ["cancelled", "cleaned up"]
        await content.aclose()  # type: ignore[attr-defined]
        inner.cancel()
        await asyncio.wait([inner])


# -- files


@pytest.mark.parametrize(
    ("sizes", "messages"),
    [
        ([], []),
        ([10_240], [10_240]),
        ([8192, 8192, 100], [16_484]),
        ([JOIN_BYTES], [JOIN_BYTES]),
        ([JOIN_BYTES - 1, 10, 20], [JOIN_BYTES + 9, 20]),
        ([262_144, 262_144, 1], [262_144, 262_144, 1]),
    ],
)
async def test_small_blocks_of_a_file_and_its_end_take_one_switch(
    sizes: list[int], messages: list[int]
) -> None:
    client = Client()
    await client.stream(Blocks([b"x" * size for size in sizes]))
    assert [len(message) for message in client.sent] == messages


async def test_file_stops_when_its_client_leaves() -> None:
    client = Client()

    def leave() -> None:
        client.left = True

    client.on_message = leave
    blocks = iter([b"x" * JOIN_BYTES] * 3)
    await client.stream(Blocks(blocks))
    assert len(client.sent) == 1
    assert len(list(blocks)) == 2
