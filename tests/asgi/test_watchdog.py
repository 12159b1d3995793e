"""The watchdog. Its decisions are tested with invented times; that it sees what blocks a loop,
with loops that are blocked until it has."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from threading import Event
from types import FrameType
from typing import Any

import pytest
import uvloop

from asyncflask.asgi.loops import off_loop
from asyncflask.asgi.watchdog import Frames, Times, Watchdog

SECONDS = 0.05


class Notes:
    """A judge that notes the functions which block the loop."""

    def __init__(self) -> None:
        self.blocked: list[str] = []
        self.looked = Event()

    def bottom(self, frames: Frames) -> FrameType:
        return frames[0]

    def place(self, frames: Frames) -> str | None:
        names = [frame.f_code.co_name for frame in frames]
        return next((name for name in names if name.startswith("block")), None)

    def look(self, place: str, frames: Frames, busy: bool) -> None:
        self.looked.set()

    def report(self, place: str, looked: None, seconds: float) -> None:
        self.blocked.append(place)


def block_by_sleeping(notes: Notes) -> None:
    time.sleep(5 * SECONDS)


def block_by_waiting(notes: Notes) -> None:
    assert notes.looked.wait(45)


def block_by_computing(notes: Notes) -> None:
    while not notes.looked.is_set():
        sum(range(1_000))


LARGE = [str(n) for n in range(2_000_000)]


def block_by_holding_the_interpreter(notes: Notes) -> None:
    json.dumps(LARGE)


def run(main: Callable[[], Coroutine[Any, Any, None]], loop: str) -> None:
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "block",
    [
        block_by_sleeping,
        block_by_waiting,
        block_by_computing,
        block_by_holding_the_interpreter,
    ],
)
def test_sees_what_blocks(loop: str, block: Callable[[Notes], None]) -> None:
    notes = Notes()

    async def main() -> None:
        watchdog = Watchdog(asyncio.get_running_loop(), SECONDS, notes)
        try:
            while not notes.blocked:  # a busy machine may leave the watchdog no time to look
                block(notes)
                await asyncio.sleep(0.01)
        finally:
            watchdog.stop()

    run(main, loop)
    assert set(notes.blocked) == {block.__name__}


def test_reports_at_its_end_what_it_has_seen() -> None:
    notes = Notes()

    async def main() -> None:
        watchdog = Watchdog(asyncio.get_running_loop(), SECONDS, notes)
        block_by_waiting(notes)
        watchdog.stop()  # before the loop came round

    run(main, "asyncio")
    assert notes.blocked == ["block_by_waiting"]


def test_many_short_callbacks_are_not_a_long_one() -> None:
    notes = Notes()
    ended = Event()

    def block_shortly(n: int) -> None:
        if n:
            asyncio.get_running_loop().call_soon(block_shortly, n - 1)
        else:
            ended.set()

    async def main() -> None:
        watchdog = Watchdog(asyncio.get_running_loop(), SECONDS, notes)
        block_shortly(50_000)
        while not ended.is_set():
            await asyncio.sleep(0)
        watchdog.stop()

    run(main, "asyncio")
    assert notes.blocked == []


def test_a_loop_that_waits_for_the_test_client_is_not_blocked() -> None:
    notes = Notes()

    def block_with_leave() -> None:
        with off_loop():
            notes.looked.wait(10 * SECONDS)

    async def main() -> None:
        watchdog = Watchdog(asyncio.get_running_loop(), SECONDS, notes)
        block_with_leave()
        watchdog.stop()

    run(main, "asyncio")
    assert not notes.looked.is_set()


def test_a_loop_that_is_not_running_or_closed_is_not_blocked() -> None:
    notes = Notes()

    def block_without_the_loop() -> None:
        notes.looked.wait(10 * SECONDS)

    async def watch() -> Watchdog:
        return Watchdog(asyncio.get_running_loop(), SECONDS, notes)

    loop = asyncio.new_event_loop()
    watchdog = loop.run_until_complete(watch())
    block_without_the_loop()
    loop.close()
    block_without_the_loop()
    watchdog.stop()
    assert not notes.looked.is_set()


# -- which time counts: seconds, with looks a hundredth of a second apart

ASKED = 0.01


@pytest.mark.parametrize(
    ("passed", "counted"),
    [
        pytest.param(Times(wall=0.01), 0.01, id="it waited"),
        pytest.param(Times(wall=0.01, busy=0.01), 0.01, id="it computed"),
        pytest.param(Times(wall=0.01, busy=0.002, starved=0.008), 0.002, id="others ran"),
        pytest.param(Times(wall=2.0, starved=2.0), 0.0, id="only others ran"),
        pytest.param(Times(wall=2.0), 0.01, id="the watchdog did not run either"),
        pytest.param(Times(wall=2.0, busy=1.5), 1.5, id="it kept the interpreter for itself"),
        pytest.param(Times(wall=0.5, busy=0.5, collected=0.5), 0.0, id="it collected garbage"),
    ],
)
def test_counts_what_the_same_code_did(passed: Times, counted: float) -> None:
    assert passed.counted(ASKED) == pytest.approx(counted)


@pytest.mark.parametrize(
    ("passed", "held"),
    [
        pytest.param(Times(wall=0.01, busy=0.01), 0.0, id="as long as the watchdog meant to wait"),
        pytest.param(Times(wall=1.0, busy=1.0), 0.98, id="it kept the interpreter for itself"),
        pytest.param(
            Times(wall=1.0, busy=0.9, watchdog_starved=0.9),
            0.0,
            id="the watchdog had no processor",
        ),
        pytest.param(Times(wall=1.0, busy=1.0, collected=1.0), 0.0, id="it collected garbage"),
    ],
)
def test_counts_what_code_seen_for_the_first_time_did(passed: Times, held: float) -> None:
    assert passed.held(ASKED) == pytest.approx(held)
