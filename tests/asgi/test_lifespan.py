"""Start-up and shutdown, from both ends."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from types import FrameType
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from asyncflask.asgi.lifespan import LifespanFailed, lifespan, on_stop_signal, serve_lifespan


class App:
    """Speaks the protocol with the answers that it is given."""

    def __init__(
        self,
        start: str = "lifespan.startup.complete",
        stop: str = "lifespan.shutdown.complete",
        error: Exception | None = None,
    ) -> None:
        self.answers = start, stop
        self.error = error
        self.events: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "lifespan"
        scope["state"]["name"] = "value"
        for answer in self.answers:
            self.events.append((await receive())["type"])
            message: Message = {"type": answer}
            if answer.endswith("failed"):
                message["message"] = "no database"
            await send(message)
            if answer.endswith("failed"):
                if self.error is not None:
                    raise self.error
                return


class TestLifespan:
    async def test_starts_and_stops(self) -> None:
        app = App()
        async with lifespan(app) as state:
            assert state == {"name": "value"}
            assert app.events == ["lifespan.startup"]
        assert app.events == ["lifespan.startup", "lifespan.shutdown"]

    @pytest.mark.parametrize("error", [None, ValueError("why")])
    async def test_start_fails(self, error: Exception | None) -> None:
        with pytest.raises(LifespanFailed, match="no database") as caught:
            async with lifespan(App(start="lifespan.startup.failed", error=error)):
                pytest.fail("must not be run")
        assert caught.value.__cause__ is error

    @pytest.mark.parametrize("error", [None, ValueError("why")])
    async def test_stop_fails(self, error: Exception | None) -> None:
        with pytest.raises(LifespanFailed, match="no database") as caught:
            async with lifespan(App(stop="lifespan.shutdown.failed", error=error)):
                pass
        assert caught.value.__cause__ is error

    async def test_app_that_does_not_speak_it(self) -> None:
        async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError("what is a lifespan?")

        async with lifespan(refuses) as state:
            assert state == {}

    async def test_app_that_ignores_it(self) -> None:
        async def returns(scope: Scope, receive: Receive, send: Send) -> None:
            pass

        async with lifespan(returns) as state:
            assert state == {}

    async def test_app_that_ends_before_it_is_told(self) -> None:
        async def starts_only(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})

        async with lifespan(starts_only):
            pass

    async def test_error_of_the_block(self) -> None:
        app = App()
        with pytest.raises(ValueError, match="block"):
            async with lifespan(app):
                raise ValueError("block")
        assert asyncio.all_tasks() == {asyncio.current_task()}


class TestOnStopSignal:
    @contextmanager
    def handled_by(self, handler: Any, number: signal.Signals) -> Iterator[None]:
        before = signal.signal(number, handler)
        try:
            yield
        finally:
            signal.signal(number, before)

    async def test_apps_that_end_in_any_order_leave_no_handler(self) -> None:
        """As of two requests, each with a client of another app within it."""

        def server(number: int, frame: object) -> None:
            pass

        with self.handled_by(server, signal.SIGTERM):
            one, two = asyncio.Event(), asyncio.Event()
            first, second = on_stop_signal(one.set), on_stop_signal(two.set)
            first.__enter__()
            second.__enter__()
            first.__exit__(None, None, None)
            signal.raise_signal(signal.SIGTERM)
            await two.wait()
            assert not one.is_set()
            second.__exit__(None, None, None)
            assert signal.getsignal(signal.SIGTERM) is server

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    async def test_tells_beside_the_servers_own_handler(self, number: signal.Signals) -> None:
        events: list[str] = []
        told = asyncio.Event()

        def server(number: int, frame: FrameType | None) -> None:
            events.append("server")

        with self.handled_by(server, number):
            with on_stop_signal(told.set):
                signal.raise_signal(number)
                await asyncio.wait_for(told.wait(), 10)
            assert events == ["server"]
            assert signal.getsignal(number) is server

    async def test_the_server_hears_of_it_later(self) -> None:
        events: list[str] = []
        told = asyncio.Event()

        def server(number: int, frame: FrameType | None) -> None:
            events.append("server")

        def drain() -> None:
            events.append("drain")

        with self.handled_by(server, signal.SIGTERM), on_stop_signal(told.set, 0.01, drain):
            signal.raise_signal(signal.SIGTERM)
            assert events == []
            await asyncio.wait_for(told.wait(), 10)
        assert events == ["drain", "server"]

    @pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
    async def test_a_second_signal_does_not_wait(self, second: signal.Signals) -> None:
        events: list[int] = []
        told = asyncio.Event()

        def server(number: int, frame: FrameType | None) -> None:
            events.append(number)

        with (
            self.handled_by(server, signal.SIGTERM),
            self.handled_by(server, signal.SIGINT),
            on_stop_signal(told.set, 3600.0),
        ):
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(second)
            await asyncio.wait_for(told.wait(), 10)
        assert events == [second]

    async def test_server_without_handlers(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        assert before is signal.SIG_DFL
        with on_stop_signal(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is before

    async def test_handler_that_was_replaced_meanwhile_stays(self) -> None:
        def server(number: int, frame: FrameType | None) -> None: ...

        def other(number: int, frame: FrameType | None) -> None: ...

        with self.handled_by(server, signal.SIGTERM):
            with on_stop_signal(lambda: None):
                signal.signal(signal.SIGTERM, other)
            assert signal.getsignal(signal.SIGTERM) is other

    async def test_outside_of_the_main_thread(self) -> None:
        async def inside() -> bool:
            with on_stop_signal(lambda: None):
                return threading.current_thread() is threading.main_thread()

        assert await asyncio.to_thread(asyncio.run, inside()) is False


@pytest.mark.parametrize(
    ("fails_in", "state", "scope", "types"),
    [
        (None, {"a": 1}, {"state": {"b": 2}}, ["startup.complete", "shutdown.complete"]),
        (None, {}, {}, ["startup.complete", "shutdown.complete"]),
        (None, {"a": 1}, {}, ["startup.failed"]),  # nowhere to put it
        ("start", {}, {}, ["startup.failed"]),
        ("stop", {}, {}, ["startup.complete", "shutdown.failed"]),
    ],
)
async def test_serve(
    fails_in: str | None, state: dict[str, Any], scope: Scope, types: list[str]
) -> None:
    log: list[str] = []
    sent: list[Message] = []

    @asynccontextmanager
    async def serving() -> AsyncIterator[dict[str, Any]]:
        log.append("start")
        if fails_in == "start":
            raise LookupError("no database")
        try:
            yield state
        finally:
            log.append("stop")
        if fails_in == "stop":
            raise LookupError("no database")

    async def receive() -> Message:
        log.append("receive")
        return {}

    async def send(message: Message) -> None:
        sent.append(message)

    failing = types[-1].endswith("failed")
    with pytest.raises((LookupError, RuntimeError)) if failing else nullcontext():
        await serve_lifespan(serving(), scope, receive, send)
    assert [message["type"] for message in sent] == [f"lifespan.{name}" for name in types]
    assert ("no database" in sent[-1].get("message", "")) == (fails_in is not None)
    if types[0] == "startup.complete":
        assert log == ["receive", "start", "receive", "stop"]
        assert scope.get("state", {}) == ({"a": 1, "b": 2} if state else {})
