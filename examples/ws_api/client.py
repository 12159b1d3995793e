"""A client of the API in ``app.py``: ``python client.py ws://127.0.0.1:8000/api``."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from itertools import count
from types import TracebackType
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

URL = "ws://127.0.0.1:8000/api"
CALL_SECONDS = 10.0


class CallFailed(Exception):
    """The server answered a call with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Client:
    """A connection, for ``async with``. Several calls may run at once.

    `call` raises `CallFailed` if the server answers with an error, `TimeoutError` if it does
    not answer in time, and `ConnectionError` once the connection is lost.
    """

    def __init__(self, url: str = URL) -> None:
        self._connecting = connect(url)
        self._connection: ClientConnection
        self._reader: asyncio.Task[None]
        self._ids = count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._events: asyncio.Queue[tuple[str, Any] | None] = asyncio.Queue()
        self._lost = False

    async def call(self, method: str, **params: Any) -> Any:
        """Call *method* and return its result."""
        if self._lost:
            raise ConnectionError("The connection is lost.")
        id = next(self._ids)
        answer = self._answers[id] = asyncio.get_running_loop().create_future()
        try:
            try:
                await self._connection.send(
                    json.dumps({"id": id, "method": method, "params": params})
                )
            except ConnectionClosed as error:
                raise ConnectionError("The connection is lost.") from error
            async with asyncio.timeout(CALL_SECONDS):
                return await answer
        finally:
            del self._answers[id]

    async def events(self) -> AsyncIterator[tuple[str, Any]]:
        """Yield events after ``await client.call("subscribe")``, until the connection ends."""
        while (event := await self._events.get()) is not None:
            yield event

    async def _read(self) -> None:
        try:
            async for message in self._connection:
                said = json.loads(message)
                if "event" in said:
                    self._events.put_nowait((said["event"], said["data"]))
                    continue
                answer = self._answers.get(said["id"])
                if answer is None or answer.done():
                    continue  # the caller gave up
                if "error" in said:
                    answer.set_exception(CallFailed(**said["error"]))
                else:
                    answer.set_result(said["result"])
        except ConnectionClosed:
            pass
        finally:
            self._lost = True
            self._events.put_nowait(None)
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionError("The connection is lost."))

    async def __aenter__(self) -> Client:
        self._connection = await self._connecting.__aenter__()
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._connecting.__aexit__(exc_type, exc_value, tb)
        await self._reader


async def main(url: str) -> None:
    async with Client(url) as client:
        await client.call("subscribe")
        task = await client.call("add", title="Have tea")
        await client.call("finish", number=task["number"])
        await client.call("remove", number=task["number"])
        async for event, data in client.events():
            print(event, data)
            if event == "removed":
                break
        try:
            await client.call("finish", number=task["number"])
        except CallFailed as error:
            print(f"{error.code}: {error}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:] or [URL]))
