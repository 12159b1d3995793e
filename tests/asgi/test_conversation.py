"""Conversations, which last as long as their client."""

from __future__ import annotations

import asyncio
import threading

import pytest

from asyncflask.asgi.conversation import Conversation, Conversations
from asyncflask.asgi.threads import Abandoned, Driver, run_in_worker


@pytest.fixture
def conversations() -> Conversations:
    return Conversations()


async def never() -> None:
    await asyncio.Event().wait()


async def now() -> None:
    pass


async def test_block_that_ends(conversations: Conversations) -> None:
    async with Conversation(conversations, never) as conversation:
        assert conversations.open == {conversation}
        await asyncio.sleep(0)
    assert conversations.open == set()
    assert conversation.ended is None
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}  # nobody watches any more


async def test_block_that_fails(conversations: Conversations) -> None:
    with pytest.raises(ValueError, match="no"):
        async with Conversation(conversations, never):
            raise ValueError("no")
    assert conversations.open == set()


async def test_client_leaves(conversations: Conversations) -> None:
    async with Conversation(conversations, now) as conversation:
        await never()
    assert conversation.ended == "left"
    task = asyncio.current_task()
    assert task is not None and not task.cancelling()  # what follows can await again
    await asyncio.sleep(0)


async def test_client_that_is_watched_later(conversations: Conversations) -> None:
    async with Conversation(conversations, now, watched=False) as conversation:
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        conversation.watch()
        conversation.watch()  # once is enough
        assert len(asyncio.all_tasks()) == 2
        await never()
    assert conversation.ended == "left"
    conversation.watch()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_block_may_clean_up(conversations: Conversations) -> None:
    cleaned = False
    async with Conversation(conversations, now):
        try:
            await never()
        finally:
            await asyncio.sleep(0)
            cleaned = True
    assert cleaned


async def test_error_in_the_clean_up_is_seen(conversations: Conversations) -> None:
    with pytest.raises(ValueError, match="no"):
        async with Conversation(conversations, now):
            try:
                await never()
            finally:
                raise ValueError("no")


async def test_cancellation_from_outside_is_not_ours(conversations: Conversations) -> None:
    async def block() -> None:
        async with Conversation(conversations, never):
            await never()

    task = asyncio.create_task(block())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_both_at_once(conversations: Conversations) -> None:
    """The client leaves and somebody else cancels: the latter goes on."""

    async def block() -> None:
        async with Conversation(conversations, never) as conversation:
            conversation.end("left")
            task.cancel()
            await never()

    task = asyncio.create_task(block())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_timeout_round_it(conversations: Conversations) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), Conversation(conversations, never):
            await never()


class TestStop:
    async def talk(
        self, conversations: Conversations, events: list[str], listens: bool
    ) -> Conversation:
        told = asyncio.Event()

        def tell() -> None:
            events.append("told")
            told.set()

        async with Conversation(conversations, never, tell) as conversation:
            await (told.wait() if listens else never())
            events.append("ended by itself")
        return conversation

    async def test_told_first(self, conversations: Conversations) -> None:
        events: list[str] = []
        task = asyncio.create_task(self.talk(conversations, events, listens=True))
        await asyncio.sleep(0)
        await conversations.stop(30)
        assert (await task).ended is None
        assert events == ["told", "ended by itself"]

    async def test_cancelled_at_the_deadline(self, conversations: Conversations) -> None:
        events: list[str] = []
        task = asyncio.create_task(self.talk(conversations, events, listens=False))
        await asyncio.sleep(0)
        await conversations.stop(0.01)
        assert (await task).ended == "shutdown"
        assert events == ["told"]

    async def test_late_ones_are_told_at_once(self, conversations: Conversations) -> None:
        events: list[str] = []
        await conversations.stop(0)
        await self.talk(conversations, events, listens=True)
        assert events == ["told", "ended by itself"]

    async def test_nothing_to_tell(self, conversations: Conversations) -> None:
        async def stream() -> Conversation:
            async with Conversation(conversations, never) as conversation:
                await never()
            return conversation

        task = asyncio.create_task(stream())
        await asyncio.sleep(0)
        await conversations.stop(0)
        assert (await task).ended == "shutdown"

    async def test_after_its_end_nothing_happens(self, conversations: Conversations) -> None:
        async with Conversation(conversations, never) as conversation:
            pass
        conversation.end("shutdown")
        assert conversation.ended is None


@pytest.mark.parametrize("how", ["pipeline", "run_sync", "run_in_worker"])
async def test_plain_code_that_blocks(
    conversations: Conversations, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left behind when the server stops, and by nothing else."""
    monkeypatch.setattr("asyncflask.asgi.conversation.ABANDON_SECONDS", 0.05)
    began, go_on = threading.Event(), threading.Event()
    driver = Driver(asyncio.get_running_loop())
    left = asyncio.Event()
    after = []

    def block() -> None:
        began.set()
        go_on.wait(10)

    async def converse() -> None:
        async with Conversation(conversations, left.wait) as conversation:  # type: ignore[arg-type]
            if how == "pipeline":
                await driver.to_thread()
                block()
            elif how == "run_sync":
                await driver.run_sync(block)
            else:
                await run_in_worker(block)
        after.append(conversation.ended)

    async def serve() -> None:
        await driver.run(converse())

    task = asyncio.create_task(serve())
    while not began.is_set():
        await asyncio.sleep(0.01)
    left.set()
    task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    await conversations.stop(0.05)
    if how == "pipeline":
        with pytest.raises(Abandoned):
            await task
        assert after == []
    else:
        with pytest.raises(asyncio.CancelledError):
            await task
    go_on.set()
    driver.release()
    assert driver.worker is None
    # What the thread tells the loop at last is of no consequence.
    assert await run_in_worker(lambda: "goes on") == "goes on"
    await asyncio.sleep(0.05)


class Unsent:
    """A connection whose client takes in what it is sent after so many looks."""

    def __init__(self, looks: float) -> None:
        self.looks = looks
        self.aborted = False

    @property
    def flushed(self) -> bool:
        self.looks -= 1
        return self.aborted or self.looks < 0

    def abort(self) -> None:
        self.aborted = self.aborted or self.looks > 0


async def test_client_that_does_not_take_in_the_end(conversations: Conversations) -> None:
    slow, stalled = Unsent(3), Unsent(float("inf"))
    conversations.lingering = {slow}
    await asyncio.wait_for(conversations.stop(60), 30)
    assert not slow.aborted
    conversations.lingering = {stalled}
    await asyncio.wait_for(conversations.stop(0.1), 30)
    assert stalled.aborted
