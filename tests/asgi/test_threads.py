"""Loop and thread: hops, threads, contexts, waiting, limits."""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from asyncflask.asgi import loops, pool, threads
from asyncflask.asgi.loops import background_loop
from asyncflask.asgi.native import NoThread
from asyncflask.asgi.pool import Worker, slots_of
from asyncflask.asgi.threads import Driver, _Job, is_async, run_in_worker
from asyncflask.asgi.waiting import wait
from support.driver import here, here_async, run

variable: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """The jobs that threads of the pool were given."""
    jobs: list[object] = []
    post = Worker.post

    def counting(worker: Worker, job: Callable[[], None]) -> None:
        if job is not pool.wake:
            jobs.append(job)
        post(worker, job)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "post", counting)
        yield jobs


class AsyncCall:
    async def __call__(self) -> None: ...

    async def method(self) -> None: ...

    def sync(self) -> None: ...

    @classmethod
    async def of_class(cls) -> None: ...


class SyncCall:
    def __call__(self) -> None: ...


async def agen() -> Any:
    yield


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (here, False),
        (here_async, True),
        (functools.partial(here_async), True),
        (functools.partial(functools.partial(here_async)), True),
        (functools.partial(here), False),
        (AsyncCall(), True),
        (functools.partial(AsyncCall()), True),
        (AsyncCall().method, True),
        (AsyncCall.of_class, True),
        (AsyncCall().sync, False),
        (AsyncCall, False),  # a class gives an instance
        (SyncCall(), False),
        (agen, False),
        (len, False),
        (lambda: here_async(), False),  # found out when it is called
    ],
)
def test_is_async(func: Callable[..., Any], expected: bool) -> None:
    assert is_async(func) is expected


class TestCall:
    async def test_where_code_runs(self) -> None:
        async def main(driver: Driver) -> list[str]:
            call = driver.call
            return [await call(here), await call(here_async), await call(here)]

        first, loop, second = await run(main)
        assert loop == threading.current_thread().name
        assert first == second == "asyncflask-worker"

    async def test_sync_functions_in_a_row_are_one_hop(self, hops: list[object]) -> None:
        async def main(driver: Driver) -> None:
            for _ in range(5):
                await driver.call(here)

        await run(main)
        assert len(hops) == 1

    async def test_async_functions_are_none(self, hops: list[object]) -> None:
        async def main(driver: Driver) -> None:
            for _ in range(5):
                await driver.call(here_async)

        await run(main)
        assert hops == []

    async def test_each_change_to_a_thread_is_one_hop(self, hops: list[object]) -> None:
        async def main(driver: Driver) -> None:
            for func in (here, here, here_async, here_async, here, here):
                await driver.call(func)

        await run(main)
        assert len(hops) == 2

    async def test_one_thread_for_all_sync_code(self) -> None:
        async def main(driver: Driver) -> set[int]:
            idents = {await driver.call(threading.get_ident)}
            for _ in range(20):
                await driver.call(asyncio.sleep, 0)
                idents.add(await driver.call(threading.get_ident))
            await driver.to_loop()
            idents.add(await driver.run_sync(threading.get_ident))
            return idents

        results = await asyncio.gather(*(run(main) for _ in range(10)))
        assert [len(idents) for idents in results] == [1] * 10

    async def test_sync_wrapper_of_an_async_function(self) -> None:
        async def main(driver: Driver) -> Any:
            return await driver.call(lambda: here_async())

        assert await run(main) == threading.current_thread().name

    async def test_arguments(self) -> None:
        def sync(*args: int, **kwargs: int) -> object:
            return args, kwargs

        async def async_(*args: int, **kwargs: int) -> object:
            return args, kwargs

        async def main(driver: Driver) -> object:
            return [await driver.call(f, 1, 2, func=3) for f in (sync, async_)]

        assert await run(main) == [((1, 2), {"func": 3})] * 2

    @pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
    async def test_errors_come_through(self, error: BaseException) -> None:
        def fail() -> None:
            raise error

        async def main(driver: Driver) -> str:
            try:
                await driver.call(fail)
            except type(error) as caught:
                assert caught is error
                await driver.call(here_async)
            return "went on"

        assert await run(main) == "went on"

    async def test_error_that_nobody_catches_in_the_thread(self) -> None:
        async def main(driver: Driver) -> None:
            await driver.call(lambda: 1 / 0)

        with pytest.raises(ZeroDivisionError):
            await run(main)

    async def test_error_of_an_await_is_thrown_in(self) -> None:
        async def fail() -> None:
            await asyncio.sleep(0)
            raise ValueError("no")

        async def main(driver: Driver) -> str:
            with pytest.raises(ValueError, match="no"):
                await asyncio.ensure_future(fail())
            return await driver.call(here)  # type: ignore[no-any-return]

        assert await run(main) == "asyncflask-worker"

    async def test_prepare_comes_before_the_first_async_function(self) -> None:
        events: list[str] = []

        async def prepare() -> None:
            events.append("prepare")

        async def async_() -> None:
            events.append("async")

        async def main(driver: Driver) -> None:
            driver.prepare = prepare
            await driver.call(events.append, "sync")
            await driver.call(async_)
            await driver.call(async_)

        await run(main)
        assert events == ["sync", "prepare", "async", "async"]

    async def test_worker_is_given_back(self) -> None:
        async def main(driver: Driver) -> int:
            return await driver.call(threading.get_ident)  # type: ignore[no-any-return]

        assert await run(main) == await run(main)


class TestContext:
    async def test_both_ways(self) -> None:
        seen: list[str] = []

        def sync(value: str) -> None:
            seen.append(variable.get())
            variable.set(value)

        async def async_(value: str) -> None:
            sync(value)

        async def main(driver: Driver) -> None:
            await driver.call(sync, "1")
            await driver.call(async_, "2")
            await driver.call(sync, "3")
            seen.append(variable.get())

        variable.set("0")
        await run(main)
        assert seen == ["0", "1", "2", "3"]
        assert variable.get() == "0"  # a request's changes are its own

    async def test_run_sync(self) -> None:
        def sync() -> str:
            before = variable.get()
            variable.set("by the thread")
            return before

        variable.set("by the loop")
        assert await run_in_worker(sync) == "by the loop"
        assert variable.get() == "by the thread"

    def test_wait(self) -> None:
        async def async_() -> str:
            before = variable.get()
            await asyncio.sleep(0)
            variable.set("by the loop")
            return before

        variable.set("by the thread")
        assert wait(async_()) == "by the thread"
        assert variable.get() == "by the loop"
        variable.set("unset")


class TestCancellation:
    """A thread cannot be interrupted: the task is cancelled when the thread has finished."""

    async def cancelled(self, main: Callable[[Driver, threading.Event], Any]) -> None:
        working, go_on = threading.Event(), threading.Event()

        def work() -> None:
            working.set()
            assert go_on.wait(10)

        async def whole(driver: Driver) -> None:
            await main(driver, work)  # type: ignore[arg-type]

        task = asyncio.create_task(run(whole))
        await asyncio.to_thread(working.wait, 10)
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_coroutine_that_goes_on(self) -> None:
        events: list[str] = []

        async def main(driver: Driver, work: Any) -> None:
            try:
                await driver.call(work)
                events.append("thread went on")
                await driver.call(here_async)
                events.append("loop went on")
            finally:
                events.append(await driver.call(here))

        await self.cancelled(main)
        assert events == ["thread went on", "asyncflask-worker"]

    async def test_coroutine_that_ends_in_the_thread(self) -> None:
        async def main(driver: Driver, work: Any) -> None:
            await driver.call(work)

        await self.cancelled(main)

    async def test_run_sync(self) -> None:
        async def main(driver: Driver, work: Any) -> None:
            await driver.run_sync(work)

        await self.cancelled(main)


class TestRunSync:
    async def test_value_and_error(self) -> None:
        assert await run_in_worker(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await run_in_worker(divmod, 7, 0)

    async def test_task_that_outlives_its_request(self) -> None:
        tasks: list[asyncio.Task[str]] = []
        over = asyncio.Event()

        async def late(driver: Driver) -> str:
            await over.wait()
            return await driver.run_sync(here)

        async def main(driver: Driver) -> None:
            tasks.append(asyncio.create_task(late(driver)))

        await run(main)
        over.set()
        assert await tasks[0] == "asyncflask-worker"

    async def test_thread_is_kept_for_a_task_until_it_is_done(self) -> None:
        working, go_on = threading.Event(), threading.Event()

        def work() -> str:
            working.set()
            go_on.wait(10)
            return here()

        tasks: list[asyncio.Task[str]] = []

        async def main(driver: Driver) -> Worker | None:
            tasks.append(asyncio.create_task(driver.run_sync(work)))
            await asyncio.to_thread(working.wait, 10)
            return driver.worker

        worker = await run(main)
        assert worker not in pool._idle
        go_on.set()
        await tasks[0]
        assert worker in pool._idle


class TestSlots:
    @pytest.mark.limit("WORKER_THREADS")
    async def test_limit(self) -> None:
        slots = slots_of(asyncio.get_running_loop(), 2)
        lock = threading.Lock()
        now = most = 0

        def work() -> None:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            threading.Event().wait(0.005)
            with lock:
                now -= 1

        async def main(driver: Driver) -> None:
            await driver.call(work)

        await asyncio.gather(*(run(main) for _ in range(8)))
        assert most <= 2
        assert slots.free == 2

    async def test_who_waits_longest_is_next(self) -> None:
        slots_of(asyncio.get_running_loop(), 1)
        order = list[int]()

        async def request(number: int) -> None:
            async def main(driver: Driver) -> None:
                await driver.call(order.append, number)
                await driver.to_loop()
                await driver.call(order.append, number)

            await run(main)

        await asyncio.gather(*(request(number) for number in range(4)))
        assert order == [0, 1, 2, 3, 0, 1, 2, 3]

    async def test_waiting_threads_are_not_running(self) -> None:
        """All threads there are wait for coroutines that need a thread themselves."""
        loop = asyncio.get_running_loop()
        slots = slots_of(loop, 2)
        assert slots_of(loop, 99) is slots  # who asks first

        def sync() -> str:
            return wait(run_in_worker(here))

        async def main(driver: Driver) -> Any:
            return await driver.call(sync)

        both = asyncio.gather(*(run(main) for _ in range(6)))
        assert await asyncio.wait_for(both, 30) == ["asyncflask-worker"] * 6
        assert slots.free == 2

    async def test_error_gives_the_slot_back(self) -> None:
        slots = slots_of(asyncio.get_running_loop(), 1)

        async def main(driver: Driver) -> None:
            await driver.call(lambda: 1 / 0)

        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await run(main)
        await asyncio.sleep(0)  # the step of the loop in which it landed ends
        assert slots.free == 1


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Decides whether the system gives threads; at first it does not."""
    start = threading.Thread.start
    refuses = True

    def started(thread: threading.Thread) -> None:
        if refuses and thread.name == "asyncflask-worker":
            raise RuntimeError("can't start new thread")
        start(thread)

    def switch(refusing: bool) -> None:
        nonlocal refuses
        refuses = refusing

    threads.shutdown()  # so that none is idle
    monkeypatch.setattr(threading.Thread, "start", started)
    yield switch


class TestNoThread:
    """Threads that cannot be had are an error of the requests that need one."""

    async def test_request_is_told_and_the_next_one_goes_on(
        self, no_threads: Callable[[bool], None]
    ) -> None:
        slots = slots_of(asyncio.get_running_loop(), 2)

        async def main(driver: Driver) -> str:
            try:
                return await driver.call(here)  # type: ignore[no-any-return]
            except NoThread as error:
                assert "can't start new thread" in str(error)
                assert not driver.in_thread
                return await driver.call(here_async)  # type: ignore[no-any-return]

        for _ in range(5):
            assert await run(main) == threading.current_thread().name
        assert await asyncio.gather(*(run(main) for _ in range(5)))
        no_threads(False)
        assert await run(main) == "asyncflask-worker"
        await asyncio.sleep(0)
        assert slots.free == 2

    async def test_those_who_wait_for_a_slot(self, no_threads: Callable[[bool], None]) -> None:
        """Each is told, though it is another's end that starts it; nobody loses a slot."""
        slots = slots_of(asyncio.get_running_loop(), 1)
        working, go_on, end = threading.Event(), threading.Event(), asyncio.Event()

        def work() -> None:
            working.set()
            assert go_on.wait(10)

        async def first(driver: Driver) -> str:
            await driver.call(work)
            await driver.call(end.wait)  # it keeps its thread, and is not running
            return await driver.call(here)  # type: ignore[no-any-return]

        async def other(driver: Driver) -> str:
            return await driver.call(here)  # type: ignore[no-any-return]

        no_threads(False)
        running = asyncio.create_task(run(first))
        await asyncio.to_thread(working.wait, 10)
        no_threads(True)
        waiting = [asyncio.create_task(run(other)) for _ in range(3)]
        while len(slots.waiting) < 3:
            await asyncio.sleep(0)
        go_on.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [NoThread] * 3
        end.set()
        assert await running == "asyncflask-worker"
        assert await run(other) == "asyncflask-worker"  # of the first
        await asyncio.sleep(0)
        assert (slots.free, len(slots.waiting)) == (1, 0)

    async def test_teardown_runs_all_the_same(self, no_threads: Callable[[bool], None]) -> None:
        async def main(driver: Driver) -> list[str]:
            with pytest.raises(NoThread):
                await driver.call(here)
            driver.loop_if_no_thread = True
            return [await driver.call(func) for func in (here, here_async, here)]

        assert await run(main) == [threading.current_thread().name] * 3

    async def test_run_sync_in_such_a_teardown(self, no_threads: Callable[[bool], None]) -> None:
        async def main(driver: Driver) -> str:
            driver.loop_if_no_thread = True
            return await driver.run_sync(here)

        assert await run(main) == threading.current_thread().name

    async def test_error_in_such_a_teardown(self, no_threads: Callable[[bool], None]) -> None:
        async def main(driver: Driver) -> None:
            driver.loop_if_no_thread = True
            await driver.call(lambda: 1 / 0)

        with pytest.raises(ZeroDivisionError):
            await run(main)

    async def test_nobody_catches_it(self, no_threads: Callable[[bool], None]) -> None:
        async def main(driver: Driver) -> None:
            await driver.call(here)

        with pytest.raises(NoThread):
            await run(main)

    async def test_run_sync(self, no_threads: Callable[[bool], None]) -> None:
        with pytest.raises(NoThread):
            await run_in_worker(here)
        no_threads(False)
        assert await run_in_worker(here) == "asyncflask-worker"

    def test_background_loop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        threads.shutdown()
        coro = here_async()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refused)
            with pytest.raises(NoThread):
                wait(coro)
        assert wait(coro) == "asyncflask-loop"

    async def test_max_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        threads.shutdown()
        monkeypatch.setattr(pool, "_max_threads", 2)
        end = asyncio.Event()
        held = 0

        async def holding(driver: Driver) -> None:
            nonlocal held
            await driver.call(here)
            await driver.to_loop()
            held += 1
            await end.wait()

        async def main(driver: Driver) -> str:
            return await driver.call(here)  # type: ignore[no-any-return]

        tasks = [asyncio.create_task(run(holding)) for _ in range(2)]
        while held < 2:
            await asyncio.sleep(0.001)
        with pytest.raises(NoThread, match=r"All 2 threads.*MAX_THREADS"):
            await run(main)
        end.set()
        await asyncio.gather(*tasks)
        assert await run(main) == "asyncflask-worker"

    def test_the_first_limit_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pool, "_max_threads", None)
        pool.limit_threads(3)
        pool.limit_threads(4)
        assert pool._max_threads == 3

    async def test_no_more_threads_than_slots_are_needed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who waits for a slot takes the thread of the one that has ended."""
        slots_of(asyncio.get_running_loop(), 2)
        threads.shutdown()
        monkeypatch.setattr(pool, "_max_threads", 2)

        async def main(driver: Driver) -> str:
            return await driver.call(here)  # type: ignore[no-any-return]

        results = await asyncio.gather(*(run(main) for _ in range(20)))
        assert results == ["asyncflask-worker"] * 20

    async def test_cancelled_when_the_process_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server waits for the tasks that it cancels; it need not wait for sync code then."""
        monkeypatch.setattr(threads, "ABANDON_SECONDS", 0.01)
        loop = asyncio.get_running_loop()
        driver = Driver(loop)
        began, go_on = threading.Event(), threading.Event()

        def block() -> None:
            began.set()
            go_on.wait(10)

        async def serve() -> None:
            await driver.call(block)

        task = asyncio.ensure_future(driver.run(serve()))
        await asyncio.to_thread(began.wait)
        loops.will_end(loop, loop.time())
        task.cancel()
        with pytest.raises(threads.Abandoned):
            await task
        go_on.set()

    async def test_that_ends_by_itself_when_the_process_ends(self) -> None:
        loop = asyncio.get_running_loop()
        driver = Driver(loop)
        began, go_on = threading.Event(), threading.Event()

        def block() -> None:
            began.set()
            go_on.wait(10)

        async def serve() -> None:
            try:
                await driver.call(block)
            finally:
                await driver.to_loop()

        task = asyncio.ensure_future(driver.run(serve()))
        await asyncio.to_thread(began.wait)
        loops.will_end(loop, loop.time())
        task.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert type(caught.value) is asyncio.CancelledError  # and was not abandoned
        driver.release()

    async def test_abandoned_while_it_waits_for_a_slot(self) -> None:
        slots = slots_of(asyncio.get_running_loop(), 1)
        working, go_on = threading.Event(), threading.Event()
        called: list[str] = []

        def work() -> None:
            working.set()
            assert go_on.wait(10)

        async def busy(driver: Driver) -> None:
            await driver.call(work)

        async def main(driver: Driver) -> None:
            await driver.call(called.append, "by an abandoned request")

        running = asyncio.create_task(run(busy))
        await asyncio.to_thread(working.wait, 10)
        waiting = asyncio.create_task(run(main))
        while not slots.waiting:
            await asyncio.sleep(0)
        threads.abandon(waiting)
        with pytest.raises(threads.Abandoned):
            await waiting
        go_on.set()
        await running
        await asyncio.sleep(0)
        assert (called, slots.free) == ([], 1)

    @pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of address space")
    def test_real_limit(self) -> None:
        """The system gives some threads and then no more; afterwards all goes on."""
        code = """
            import asyncio, re, resource, threading
            from asyncflask.asgi.threads import Driver, NoThread

            async def request(end):
                driver = Driver()
                async def main():
                    try:
                        await driver.call(int)
                    except NoThread:
                        return False
                    await driver.to_loop()
                    await end.wait()
                    return True
                try:
                    return await driver.run(main())
                finally:
                    driver.release()

            async def round():
                end = asyncio.Event()
                tasks = [asyncio.create_task(request(end)) for _ in range(40)]
                await asyncio.wait(tasks, timeout=0.1)
                end.set()
                return sum(await asyncio.gather(*tasks))

            async def main():
                got = [await round() for _ in range(4)]
                assert 0 < got[0] < 40, got
                resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
                assert await round() == 40

            used = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10
            threading.stack_size(64 << 20)
            resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), -1))
            asyncio.run(main())
        """
        command = [sys.executable, "-c", textwrap.dedent(code)]
        result = subprocess.run(command, timeout=60, capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, "")


class TestPool:
    def test_background_loop_comes_back_after_a_shutdown(self) -> None:
        first = background_loop()
        assert background_loop() is first
        threads.shutdown()
        assert first.is_closed()
        threads.shutdown()  # nothing to do
        assert background_loop() is not first
        assert wait(here_async()) == "asyncflask-loop"

    def test_shutdown_cancels_what_is_left(self) -> None:
        ended = threading.Event()
        started = threading.Event()

        async def for_ever() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(for_ever(), background_loop())
        assert started.wait(10)
        threads.shutdown()
        assert ended.is_set()
        assert future.cancelled()

    async def test_shutdown_ends_idle_threads(self) -> None:
        async def main(driver: Driver) -> threading.Thread:
            return await driver.call(threading.current_thread)  # type: ignore[no-any-return]

        thread = await run(main)
        assert thread.is_alive()
        threads.shutdown()
        assert not thread.is_alive()

    async def test_idle_threads_end_by_themselves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pool, "IDLE_SECONDS", 0.01)

        async def main(driver: Driver) -> threading.Thread:
            return await driver.call(threading.current_thread)  # type: ignore[no-any-return]

        thread = await run(main)
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()
        assert pool._idle == []

    async def test_thread_that_is_in_use_does_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pool, "IDLE_SECONDS", 0.01)

        async def main(driver: Driver) -> tuple[int, int]:
            first = await driver.call(threading.get_ident)
            await driver.call(asyncio.sleep, 0.1)
            return first, await driver.call(threading.get_ident)

        first, second = await run(main)
        assert first == second

    async def test_thread_from_outside(self) -> None:
        """Under WSGI the calling thread is the request's thread."""
        loop = asyncio.get_running_loop()

        async def main(driver: Driver) -> Any:
            return await driver.call(threading.get_ident)

        def outside() -> tuple[int, int]:
            worker = threads.this_worker()
            outcome: pool.Outcome[int] = pool.Outcome(worker)

            def start() -> None:
                task = loop.create_task(run(main, worker=worker))
                task.add_done_callback(lambda task: outcome.set(task.result()))

            loop.call_soon_threadsafe(start)
            return threading.get_ident(), outcome.result()

        caller, worker = await asyncio.to_thread(outside)
        assert caller == worker

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_fork(self) -> None:
        """A server that forks after an import which used the loop."""
        code = """
            import os, sys, warnings
            from asyncflask.asgi.loops import background_loop
            from asyncflask.asgi.threads import run_in_worker
            from asyncflask.asgi.waiting import wait

            warnings.simplefilter("ignore")  # forking with threads, from Python 3.12 on
            wait(run_in_worker(int))
            before = background_loop()
            if pid := os.fork():
                sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            assert wait(run_in_worker(int, "42")) == 42
            assert background_loop() is not before
            sys.exit(42)
        """
        command = [sys.executable, "-c", textwrap.dedent(code)]
        assert subprocess.run(command, timeout=60).returncode == 42


def test_loop_that_was_closed_meanwhile() -> None:
    """A thread that ends after its loop has nobody to tell."""
    loop = asyncio.new_event_loop()
    driver = Driver(loop)
    job = _Job(driver, copy_context(), str, "value")
    loop.close()
    job()
    assert job.take() == (None, None)
