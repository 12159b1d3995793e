"""Messages queued for one client: order, limits, policies. The server is a list and a gate."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Message

from asyncflask.asgi.outbox import Outbox
from asyncflask.asgi.websocket_rules import Policy, WebSocketOptions


def text(data: str) -> Message:
    return {"type": "websocket.send", "text": data}


class Server:
    """Waits before it takes a message, while its client does not read."""

    def __init__(self, *, direct: bool = True, limits: tuple[Any, ...] | None = None) -> None:
        self.reads = asyncio.Event()
        self.reads.set()
        self.sent: list[str] = []
        self.tasks: list[asyncio.Task[Any] | None] = []
        self.error: Exception | None = None
        self.stalls: list[str] = []
        self.failures: list[Exception] = []
        self.outbox = Outbox(
            self.send, direct=direct, stalled=self.stalled, failed=self.failures.append
        )
        if limits is not None:
            self.outbox.options = WebSocketOptions((), None, *limits)
        self.outbox.open()

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        if self.error is not None:
            raise self.error
        self.tasks.append(asyncio.current_task())
        self.sent.append(message["text"])

    def stalled(self, why: str) -> None:
        self.stalls.append(why)
        self.outbox.end()

    def deliver(self, *data: str) -> list[asyncio.Future[None] | None]:
        return [self.outbox.deliver(text(part)) for part in data]

    async def put(self, data: str) -> None:
        if (sent := self.outbox.put(text(data))) is not None:
            await sent

    async def settled(self) -> None:
        while self.outbox._task is not None:
            await asyncio.sleep(0)


async def test_client_that_reads_costs_no_task() -> None:
    server = Server()
    before = asyncio.all_tasks()
    assert server.deliver("a", "b") == [None, None]
    await server.put("c")
    assert server.sent == ["a", "b", "c"]
    assert server.tasks == [asyncio.current_task()] * 3
    assert asyncio.all_tasks() == before


async def test_delivered_outside_of_any_task() -> None:
    server = Server()
    loop = asyncio.get_running_loop()
    loop.call_soon(server.deliver, "a")
    await asyncio.sleep(0)
    assert server.sent == ["a"]


async def test_middleware_gets_a_task_of_its_own() -> None:
    """It may ask for the current one, as `asyncio.timeout` does."""
    server = Server(direct=False)
    assert server.deliver("a", "b") == [None, None]
    assert server.sent == []
    await server.put("c")
    assert server.sent == ["a", "b", "c"]
    assert asyncio.current_task() not in server.tasks


@pytest.mark.parametrize("direct", [True, False])
async def test_order(direct: bool) -> None:
    server = Server(direct=direct)
    server.reads.clear()
    server.deliver("a", "b")
    own = asyncio.create_task(server.put("c"))
    await asyncio.sleep(0)
    server.deliver("d")
    other = asyncio.create_task(server.put("e"))
    await asyncio.sleep(0)
    assert server.sent == []
    server.reads.set()
    await asyncio.wait_for(asyncio.gather(own, other), 10)
    assert server.sent == ["a", "b", "c", "d", "e"]
    await server.settled()
    server.deliver("f")
    await server.settled()
    assert server.sent[-1] == "f"


async def test_begun_by_the_handler_ended_by_a_task() -> None:
    server = Server()
    server.reads.clear()
    own = asyncio.create_task(server.put("a"))
    await asyncio.sleep(0)
    server.reads.set()
    await asyncio.wait_for(own, 10)
    assert server.sent == ["a"]


async def test_nothing_is_sent_before_it_is_opened() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    outbox = Outbox(send, direct=True, stalled=print, failed=print)
    outbox.deliver(text("a"))
    assert sent == []
    outbox.open()
    await asyncio.sleep(0)
    outbox.deliver(text("b"))
    await asyncio.sleep(0)
    assert [message["text"] for message in sent] == ["a", "b"]


async def test_message_that_sending_one_brings_about() -> None:
    sent: list[str] = []

    async def send(message: Message) -> None:
        sent.append(message["text"])
        if message["text"] == "a":
            outbox.deliver(text("b"))
        sent.append("end of " + message["text"])

    outbox = Outbox(send, direct=True, stalled=print, failed=print)
    outbox.open()
    outbox.deliver(text("a"))
    await asyncio.sleep(0)
    assert sent == ["a", "end of a", "b", "end of b"]


# -- limits


@pytest.mark.parametrize("by", ["messages", "size"])
async def test_close(by: str) -> None:
    server = Server(limits=(None, 2, 1000, "close") if by == "messages" else (None, 9, 2, "close"))
    server.reads.clear()
    server.deliver("a", "b", "c")  # one is being sent
    assert server.stalls == []
    server.deliver("d")
    assert len(server.stalls) == 1
    server.deliver("e")
    assert len(server.stalls) == 1
    server.reads.set()
    await server.settled()
    assert server.sent == ["a"]


async def test_long_message_waits_alone() -> None:
    server = Server(limits=(None, 9, 2, "close"))
    server.reads.clear()
    server.deliver("a", "long")
    assert server.stalls == []
    server.deliver("b")
    assert len(server.stalls) == 1


async def test_drop_oldest() -> None:
    server = Server(limits=(None, 2, 1000, "drop_oldest"))
    server.reads.clear()
    server.deliver("a", "b")
    own = asyncio.create_task(server.put("own"))
    await asyncio.sleep(0)
    server.deliver("c", "d", "e")
    server.reads.set()
    await own
    await server.settled()
    assert server.sent == ["a", "own", "d", "e"]


async def test_drop_oldest_by_size() -> None:
    server = Server(limits=(None, 99, 4, "drop_oldest"))
    server.reads.clear()
    server.deliver("a", "b", "c", "dddd", "e", "too long", "f")
    server.reads.set()
    await server.settled()
    assert server.sent == ["a", "f"]


async def test_wait() -> None:
    server = Server(limits=(None, 2, 1000, "wait"))
    server.reads.clear()
    *no, first, second, third = server.deliver("a", "b", "c", "d", "e", "f")
    assert no == [None] * 3
    assert first is not None and second is not None and third is not None
    second.cancel()  # takes it back
    await asyncio.sleep(0)
    assert not first.done()
    server.reads.set()
    await asyncio.wait_for(asyncio.gather(first, third), 10)
    await server.settled()
    assert server.sent == ["a", "b", "c", "d", "f"]
    assert server.deliver("g") == [None]


@pytest.mark.parametrize("policy", ["close", "drop_oldest", "wait"])
async def test_own_messages_are_not_counted(policy: Policy) -> None:
    server = Server(limits=(None, 2, 4, policy))
    server.reads.clear()
    own = [asyncio.create_task(server.put(f"own {n}")) for n in range(9)]
    await asyncio.sleep(0)
    assert server.deliver("a", "b") == [None, None]
    assert server.stalls == []
    server.reads.set()
    await asyncio.gather(*own)
    await server.settled()
    assert server.sent == [*(f"own {n}" for n in range(9)), "a", "b"]


async def test_client_that_does_not_read() -> None:
    server = Server(limits=(0.01, 9, 99, "close"))
    server.reads.clear()
    server.deliver("a")
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(server.put("own"), 10)
    assert server.stalls == ["This client has not read for 0.01 s."]
    with pytest.raises(ConnectionError):
        await server.put("late")
    assert server.deliver("late") == [None]
    assert server.sent == []


# -- the end


async def test_error_of_a_delivered_message() -> None:
    server = Server()
    server.error = OSError("gone")
    server.deliver("a")
    server.reads.clear()
    server.deliver("b")
    server.reads.set()
    await server.settled()
    assert server.failures == [server.error] * 2


async def test_error_of_an_own_message() -> None:
    server = Server()
    server.error = OSError("gone")
    with pytest.raises(OSError, match="gone"):
        await server.put("a")
    server.reads.clear()
    own = asyncio.create_task(server.put("b"))
    await asyncio.sleep(0)
    server.reads.set()
    with pytest.raises(OSError, match="gone"):
        await own
    assert server.failures == []
    server.error = None
    server.deliver("c")
    assert server.sent == ["c"]


async def test_own_message_that_is_not_wanted_any_more() -> None:
    server = Server()
    server.reads.clear()
    server.deliver("a")
    own = asyncio.create_task(server.put("b"))
    await asyncio.sleep(0)
    own.cancel()
    server.deliver("c")
    await asyncio.sleep(0)
    server.reads.set()
    await server.settled()
    assert server.sent == ["a", "c"]


async def test_last() -> None:
    server = Server()
    server.reads.clear()
    server.deliver("a", "b")
    last = asyncio.create_task(server.outbox.put_last(text("last")))
    await asyncio.sleep(0)
    server.deliver("late")
    server.reads.set()
    await asyncio.wait_for(last, 10)
    assert server.sent == ["a", "b", "last"]


async def test_cancelled() -> None:
    server = Server(limits=(None, 1, 99, "wait"))
    server.reads.clear()
    own = asyncio.create_task(server.put("a"))
    await asyncio.sleep(0)
    (_, room) = server.deliver("b", "c")
    server.outbox.cancel()
    assert room is not None and room.done()
    with pytest.raises(ConnectionError):
        await own
    with pytest.raises(ConnectionError):
        await server.outbox.put_last(text("last"))
    server.reads.set()
    await server.settled()
    assert server.sent == []
