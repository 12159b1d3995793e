"""Sync code that waits for async code, and functions for both kinds of callers."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from asyncflask.asgi import pool, waiting
from asyncflask.asgi.loops import background_loop
from asyncflask.asgi.threads import Driver, run_in_worker
from asyncflask.asgi.waiting import async_to_sync, call_here, drive, value_or_awaitable, wait
from support.driver import here, here_async, run


class TestWait:
    async def test_in_a_worker_it_is_the_requests_loop(self) -> None:
        async def main(driver: Driver) -> Any:
            return await driver.call(lambda: wait(running_loop()))

        assert await run(main) is asyncio.get_running_loop()

    def test_in_the_main_thread_it_is_the_background_loop(self) -> None:
        assert wait(running_loop()) is background_loop()
        assert wait(here_async()) == "asyncflask-loop"

    async def test_in_a_thread_of_the_user_it_is_the_servers_loop(self) -> None:
        await run_in_worker(here)  # a request came
        found = await asyncio.to_thread(lambda: wait(running_loop()))
        assert found is asyncio.get_running_loop()

    def test_any_awaitable(self) -> None:
        class Answer:
            def __await__(self) -> Any:
                yield from asyncio.sleep(0).__await__()
                return 42

        assert wait(Answer()) == 42

    @pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
    def test_error(self, error: BaseException) -> None:
        async def fail() -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            wait(fail())
        assert caught.value is error
        assert wait(here_async()) == "asyncflask-loop"  # which goes on

    def test_cancelled(self) -> None:
        async def cancelled() -> None:
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            wait(cancelled())

    async def test_on_the_loop_is_an_error_that_teaches(self) -> None:
        with pytest.raises(RuntimeError, match=r"'here_async' is async.*'await'"):
            wait(here_async())  # and no warning: it was never awaited

    def test_keyboard_interrupt_cancels_what_is_waited_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended = threading.Event()
        started = threading.Event()

        async def for_ever() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        def interrupted(outcome: Any) -> Any:
            started.wait(10)
            raise KeyboardInterrupt

        monkeypatch.setattr(pool.Outcome, "result", interrupted)
        with pytest.raises(KeyboardInterrupt):
            wait(for_ever())
        assert ended.wait(10)

    @pytest.mark.parametrize("scheduled", [True, False])
    def test_keyboard_interrupt_while_the_loop_is_told(
        self, monkeypatch: pytest.MonkeyPatch, scheduled: bool
    ) -> None:
        """With *to_its_end*, it comes when the coroutine has ended, or was never begun."""
        loop = background_loop()
        begun = threading.Event()
        ended = threading.Event()

        async def for_ever() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.set()

        class Interrupted:
            """The loop; the first call is interrupted, after or before it has an effect."""

            def __getattr__(self, name: str) -> Any:
                return getattr(loop, name)

            def call_soon_threadsafe(self, func: Any) -> None:
                monkeypatch.setattr(Interrupted, "call_soon_threadsafe", tell)
                if scheduled:
                    tell(self, func)
                    begun.wait(10)
                raise KeyboardInterrupt

        def tell(self: object, func: Any) -> None:
            loop.call_soon_threadsafe(func)

        monkeypatch.setattr(waiting, "loop_for_outsiders", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            wait(for_ever(), to_its_end=True)
        assert begun.is_set() is ended.is_set() is scheduled

    async def test_sync_code_runs_while_a_thread_waits(self) -> None:
        """The thread that waits for the loop does the request's other sync work."""

        async def ask_back(driver: Driver) -> int:
            return await driver.run_sync(threading.get_ident)

        async def main(driver: Driver) -> tuple[int, int]:
            def sync() -> tuple[int, int]:
                return threading.get_ident(), wait(ask_back(driver))

            return await driver.call(sync)  # type: ignore[no-any-return]

        outer, inner = await run(main)
        assert outer == inner


async def running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


class TestSyncAndAsync:
    def test_value_or_awaitable(self) -> None:
        value: object = value_or_awaitable(here_async())
        assert value == "asyncflask-loop"

    async def test_value_or_awaitable_on_the_loop(self) -> None:
        assert await value_or_awaitable(here_async()) == threading.current_thread().name

    def test_async_to_sync(self) -> None:
        assert async_to_sync(here_async)() == "asyncflask-loop"
        assert async_to_sync(here_async).__name__ == "here_async"

    def test_drive(self) -> None:
        async def steps() -> list[str]:
            return [await call_here(here), await call_here(here_async)]

        assert drive(steps()) == [here(), "asyncflask-loop"]

    def test_drive_of_what_suspends(self) -> None:
        with pytest.raises(RuntimeError, match="sync code suspended"):
            drive(asyncio.sleep(0))
