"""Running coroutines in a context of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from asyncflask.asgi.stepping import in_this_context

variable: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.mark.parametrize("begun", [False, True])
class TestInContext:
    """The server's function, called from another context."""

    async def call(self, func: Callable[..., Any], begun: bool) -> None:
        variable.set("the server's")
        outside = in_this_context(func)
        call = outside.beginner() if begun else outside
        variable.set("the handler's")
        rest = call("argument")
        if rest is not None:
            await rest
        assert variable.get() == "the handler's"

    @pytest.mark.parametrize("waits", [0, 1, 3])
    async def test_coroutine_function(self, begun: bool, waits: int) -> None:
        seen = []

        async def func(argument: str) -> None:
            seen.append(argument)
            for _ in range(waits):
                seen.append(variable.get())
                await asyncio.sleep(0)
            seen.append(variable.get())

        await self.call(func, begun)
        assert seen == ["argument", *["the server's"] * (waits + 1)]

    @pytest.mark.parametrize("done", [False, True])
    async def test_future(self, begun: bool, done: bool) -> None:
        seen = []

        def func(argument: str) -> asyncio.Future[None]:
            seen.append(variable.get())
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            if done:
                future.set_result(None)
            else:
                loop.call_soon(lambda: future.set_result(None))
            return future

        await self.call(func, begun)
        assert seen == ["the server's"]

    async def test_error(self, begun: bool) -> None:
        async def func(argument: str) -> None:
            raise LookupError

        with pytest.raises(LookupError):
            await self.call(func, begun)

    async def test_cancelled(self, begun: bool) -> None:
        seen = []

        async def func(argument: str) -> None:
            try:
                await asyncio.sleep(10)
            finally:
                seen.append(variable.get())

        task = asyncio.create_task(self.call(func, begun))
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["the server's"]
