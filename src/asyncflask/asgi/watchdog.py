"""A thread that watches an event loop and reports what blocks it.

It keeps sending callbacks to the loop. While one has not run yet, it samples the stack of the
loop's thread; whatever stays at the bottom of the stack for long is blocking the loop. Nothing
is patched. Only time in which the loop's thread computed or waited itself counts, not time in
which the machine was too busy to run it.

`loop_guard.py` finds out whose code it is, and what to write instead.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from asyncio.events import Handle
from queue import Empty
from threading import get_ident, get_native_id
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple, Protocol

from . import loops
from .native import Queue, SimpleQueue, start_thread

_LOOKS: Final = 10
"""Stack samples during the time after which a loop counts as blocked."""

_STEPS_AFTERWARDS: Final = 4
"""The number of loop iterations after a block until everything that waited has reached the app.
A new connection takes three."""

_RUN_ONCE: Final[CodeType] = asyncio.BaseEventLoop._run_once.__code__  # type: ignore[attr-defined]
_RUN_FOREVER: Final[CodeType] = asyncio.BaseEventLoop.run_forever.__code__
_RUN: Final[CodeType] = asyncio.Runner.run.__code__
_RUN_HANDLE: Final[CodeType] = Handle._run.__code__

Frames = list[FrameType]
"""The stack, from the loop's callback to the running code."""


class Times(NamedTuple):
    """Times of the loop's thread, in seconds since an arbitrary point."""

    wall: float = 0.0
    busy: float = 0.0
    """Computing."""
    starved: float = 0.0
    """Able to run, but waiting while other threads and processes ran."""
    watchdog_starved: float = 0.0
    """The same for the watchdog's thread."""
    collected: float = 0.0
    """Collecting garbage, whosever it was."""

    def since(self, before: Times) -> Times:
        return Times._make(now - then for now, then in zip(self, before, strict=True))

    def counted(self, asked: float) -> float:
        """Return for how long the same code blocked the loop. *asked*: how long the watchdog
        meant to wait. If it got no processor or interpreter, it waited longer, but the loop may
        have lacked them too; then only what the loop computed is certain."""
        most = self.wall - self.starved - self.collected
        return max(0.0, min(asked, most), self.busy - self.collected)

    def held(self, asked: float) -> float:
        """Return for how long code seen for the first time has certainly blocked the loop: it
        computed without giving up the interpreter, as C code such as `json.dumps` may."""
        return max(0.0, self.busy - self.watchdog_starved - self.collected - 2 * asked)


class Judge(Protocol):
    """Decides about what the watchdog sees. Called on the watchdog's thread."""

    def bottom(self, frames: Frames) -> FrameType:
        """Return the frame that should run only briefly: the callback's, or one that it calls."""

    def place(self, frames: Frames) -> Any:
        """Return what blocks the loop, as a hashable value; `None` if it is allowed to."""

    def look(self, place: Any, frames: Frames, busy: bool) -> Any:
        """Return what can be found out only while *place* still blocks the loop; called once it
        has done so for long enough. *busy*: it is computing."""

    def report(self, place: Any, looked: Any, seconds: float) -> None:
        """Report that *place* blocked the loop for *seconds*. *looked*: the value of `look`."""


class _Suspect:
    """A running callback, or part of one: the places where it was seen, and how long it
    certainly ran."""

    def __init__(self, bottom: FrameType, since: float) -> None:
        self.bottom: FrameType | None = bottom
        self.since = since
        self.seconds = 0.0
        self.places: dict[Any, float] = {}
        self.total = 0.0
        self.busy = 0.0
        self.looked_at: dict[Any, Any] = {}

    def seen(
        self, judge: Judge, seen: tuple[Frames, Any], counted: float, busy: float, limit: float
    ) -> None:
        frames, place = seen
        self.places[place] = self.places.get(place, 0.0) + counted
        self.total += counted
        self.busy += busy
        if self.total >= limit and place not in self.looked_at:
            self.looked_at[place] = judge.look(place, frames, self.busy > self.total / 2)

    def verdict(self) -> Any:
        """Return the place where it spent the most time."""
        return max(self.looked_at, key=lambda place: self.places[place], default=None)


class Watchdog:
    """Watches *loop*, and reports to *judge* what blocks it for *seconds* or longer. Create it
    on the loop; `stop` it from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, judge: Judge) -> None:
        self._loop = loop
        self._seconds = seconds
        self._tick = seconds / _LOOKS
        self._pause = seconds / 4
        self._judge = judge
        self._answers: Queue[float | None] = SimpleQueue()
        self._beaten: float | None = None
        """The time of the loop's response to the last ping."""
        self._base: FrameType | None = None
        """The frame that runs the loop and calls callbacks, as far as it can be seen."""
        self._debugged = False
        self._stopped = False
        self._here()
        self._clock = Clock(self._native_id)
        gc.callbacks.append(self._on_collection)
        self._thread = start_thread(self._main, "asyncflask-watchdog")

    def stop(self) -> None:
        """End the thread, after reporting what it has seen so far."""
        self._stopped = True
        self._answers.put(None)
        self._thread.join()

    # -- on the loop

    def _here(self) -> None:
        self._ident, self._native_id = get_ident(), get_native_id()
        trace: Any = sys.gettrace()
        module = getattr(trace, "__module__", None) or type(trace).__module__
        self._debugged = trace is not None and not str(module).startswith("coverage")

    def _beat(self) -> None:
        self._base = sys._getframe(1)
        self._here()
        self._beaten = time.monotonic()
        self._settle(_STEPS_AFTERWARDS if self._beaten - self._sent > self._seconds else 0)

    def _settle(self, steps: int) -> None:
        if steps:
            self._loop.call_soon(self._settle, steps - 1)
        else:
            self._answers.put(self._beaten)

    def _on_collection(self, phase: str, info: dict[str, int]) -> None:
        if get_ident() == self._ident:
            now = time.monotonic()
            if phase == "start":
                self._collecting_since = now
            else:
                self._clock.collected += now - self._collecting_since

    # -- on the watchdog's thread

    def _main(self) -> None:
        self._clock.begin()
        try:
            while not self._stopped and self._ping():
                pass
        finally:
            gc.callbacks.remove(self._on_collection)
            self._clock.close()
            self._base = None

    def _wait(self, seconds: float) -> bool:
        """Return `True` if a response arrived within *seconds* or the watchdog was stopped."""
        try:
            self._answers.get(True, seconds)
        except Empty:
            return self._stopped
        return True

    def _ping(self) -> bool:
        """Pause, then watch the loop until it responds once. Return `False` if it is closed."""
        suspects: list[_Suspect] = []
        self._clock.of(self._native_id)
        before = self._clock.read()
        self._wait(self._pause)
        seen = self._look()
        now = self._clock.read()
        if now.since(before).held(self._pause) > 0:
            self._suspect(suspects, seen, now.since(before), self._pause, before.wall)
        before = now
        self._beaten = None
        self._sent = now.wall
        try:
            self._loop.call_soon_threadsafe(self._beat)
        except RuntimeError:
            return False
        while not self._wait(self._tick):
            seen = self._look()
            now = self._clock.read()
            if self._beaten is None:
                self._suspect(suspects, seen, now.since(before), self._tick, before.wall)
            before = now
        self._conclude(suspects, self._beaten or before.wall)
        return True

    def _look(self) -> tuple[Frames, Any]:
        """Return the current stack and place. Call it before reading the clocks, which releases
        the interpreter."""
        frames = self._frames()
        if not frames or self._debugged or self._loop in loops._blocked:
            return [], None
        return frames, self._judge.place(frames)

    def _suspect(
        self,
        suspects: list[_Suspect],
        seen: tuple[Frames, Any],
        passed: Times,
        asked: float,
        before: float,
    ) -> None:
        frames, place = seen
        if not frames:
            return
        bottom = self._judge.bottom(frames)
        if not suspects or suspects[-1].bottom is not bottom:
            self._close(suspects, before)
            suspects.append(_Suspect(bottom, before))
            counted = passed.held(asked)
        else:
            counted = passed.counted(asked)
        if place is not None:
            suspects[-1].seen(self._judge, seen, counted, passed.busy, self._seconds)

    def _frames(self) -> Frames:
        """Return the stack of the loop's current callback; empty if the loop waits for events
        or is not running."""
        frames = []
        frame = sys._current_frames().get(self._ident)
        while frame is not None and frame is not self._base:
            if frame.f_code in (_RUN_ONCE, _RUN_FOREVER, _RUN):
                break
            frames.append(frame)
            frame = frame.f_back
        else:
            if frame is None:
                return []
        frames.reverse()
        if frame.f_code is _RUN_ONCE and frames and frames[0].f_code is not _RUN_HANDLE:
            return []  # it is in select
        return frames

    def _close(self, suspects: list[_Suspect], now: float) -> None:
        """Close the last suspect, which has ended, and drop its frames."""
        if suspects and (last := suspects[-1]).bottom is not None:
            last.seconds = now - last.since
            last.bottom = None
            if last.verdict() is None:
                suspects.pop()

    def _conclude(self, suspects: list[_Suspect], now: float) -> None:
        self._close(suspects, now)
        for suspect in suspects:
            place = suspect.verdict()
            self._judge.report(place, suspect.looked_at[place], suspect.seconds)


class Clock:
    """Reads the `Times` of a thread. Linux reports how long a thread ran and how long it waited
    for a processor; elsewhere the process's computing time stands in for the thread's."""

    def __init__(self, native_id: int) -> None:
        self.collected = 0.0
        self._native_id = native_id
        self._file = _open_schedstat(native_id)
        self._own: int | None = None

    def begin(self) -> None:
        """Register the calling thread as the watchdog's."""
        self._own = _open_schedstat(get_native_id())

    def of(self, native_id: int) -> None:
        """Set the thread that the loop runs in."""
        if native_id != self._native_id:
            self._native_id = native_id
            file, self._file = self._file, _open_schedstat(native_id)
            if file is not None:
                os.close(file)

    def read(self) -> Times:
        wall = time.monotonic()
        try:
            if self._file is not None and self._own is not None:
                busy, starved = _read_schedstat(self._file)
                _, own = _read_schedstat(self._own)
                return Times(wall, busy, starved, own, self.collected)
        except (OSError, ValueError):  # the thread ended
            pass
        return Times(wall, time.process_time() - time.thread_time(), 0.0, 0.0, self.collected)

    def close(self) -> None:
        for file in (self._file, self._own):
            if file is not None:
                os.close(file)
        self._file = self._own = None


def _open_schedstat(native_id: int) -> int | None:
    try:
        return os.open(f"/proc/self/task/{native_id}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _read_schedstat(file: int) -> tuple[float, float]:
    """Return the seconds of running and of waiting for a processor (Linux: proc(5),
    sched-stats)."""
    ran, waited, _ = os.pread(file, 100, 0).split()
    return int(ran) / 1e9, int(waited) / 1e9
