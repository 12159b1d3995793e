"""Sync WebSocket handlers: each has a thread, but none that requests need."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from contract.raw import SECONDS, Diary, get, serve

IDLE = 120
"""More than there are threads for requests."""


@pytest.mark.parametrize("path", ["/plain", "/plain/timeout"])
async def test_many_that_wait(path: str, tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    async with AsyncExitStack() as stack:
        server = stack.enter_context(serve("crowd:app", diary=diary))
        clients = [
            await stack.enter_async_context(
                connect(
                    f"{server.ws_url}{path}?id=idle",
                    compression=None,
                    open_timeout=SECONDS,
                    close_timeout=SECONDS,
                )
            )
            for _ in range(IDLE)
        ]
        for _ in range(100):
            for target in ("sync", "async"):
                reply = await asyncio.to_thread(get, server, f"/{target}")
                assert reply.body == target.encode()
        for client in clients:
            await client.send("are you there?")
        async with asyncio.timeout(SECONDS):
            for client in clients:
                assert await client.recv() == "are you there?"
        status = Path(f"/proc/{server.pid}/status").read_text("ascii")
        threads = int(status.partition("Threads:")[2].split()[0])
        assert IDLE <= threads < IDLE + 64 + 20
        for client in clients:
            await client.close()
        await asyncio.to_thread(diary.wait, "idle", "teardown")
    assert diary.of("idle") == ["teardown"] * IDLE
