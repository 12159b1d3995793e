"""SIGTERM with a crowd: idle WebSockets (30 of them; 500 in the slow set), one whose client does
not read, a stream and a slow request."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from contract.raw import APPS, SECONDS, SOCKETS, TESTS, Connection, Diary, Reply, get, until
from contract.test_websocket_slow import stalled
from support.servers import HOST, Process

RUN = [sys.executable, "-m", "asyncflask", "--app", f"{APPS}.crowd", "run"]
RUN += ["--host", HOST, "--port", "{port}"]
UVICORN = [sys.executable, "-m", "uvicorn", f"{APPS}.crowd:app"]
UVICORN += ["--host", HOST, "--port", "{port}", "--no-access-log"]

COMMANDS = {
    "run": RUN,
    # Nothing is watched: what others write to these folders meanwhile is not meant.
    "run-reload": [*RUN, "--reload", "--exclude-patterns", "*"],
    "run-workers": [*RUN, "--workers", "2"],
    **{f"uvicorn-{ws}": [*UVICORN, "--ws", ws] for ws in (*SOCKETS, "websockets")},
    "uvicorn-workers": [*UVICORN, "--workers", "2"],
}


async def close_code(client: ClientConnection) -> int:
    async with asyncio.timeout(SECONDS * 2):
        try:
            while True:
                await client.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else 1006


@pytest.mark.parametrize("size", [30, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
async def test_crowd(command: Sequence[str], size: int, tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    names = [f"idle{number}" for number in range(size)]
    async with AsyncExitStack() as stack:
        server = stack.enter_context(Process(command, env=diary.env, cwd=TESTS))
        clients = [
            await stack.enter_async_context(
                connect(
                    f"{server.ws_url}/idle?id={name}",
                    compression=None,
                    open_timeout=SECONDS * 2,
                    close_timeout=1,
                )
            )
            for name in names
        ]
        stack.enter_context(stalled(server, "/backlog?id=stalled"))
        stream = stack.enter_context(Connection(server))
        stream.request("/stream?id=stream")
        stream.read_until(b"tick\n")
        diary.wait("stalled", "began")
        until(lambda: diary.count("idle")["began"] == size)

        answers: list[Reply] = []
        slow = threading.Thread(
            target=lambda: answers.append(get(server, "/slow?id=slow", "POST", b"body"))
        )
        slow.start()
        await asyncio.to_thread(diary.wait, "slow", "began")
        codes = [asyncio.create_task(close_code(client)) for client in clients]
        code = await asyncio.to_thread(server.stop)
        assert code == 0 or (code == -15 and "uvicorn" in command), server.output
        assert set(await asyncio.gather(*codes)) == {1012}
        slow.join()
        assert [(answer.status, answer.body) for answer in answers] == [(200, b"body")]
        for name in names:
            assert diary.of(name) == ["teardown"], name
        assert sorted(diary.of("stream")) == ["ended", "teardown"]
        assert diary.of("slow") == ["began", "teardown"]
        assert diary.of("stalled") == ["began", "teardown"]
        assert "Traceback" not in server.output, server.output
