"""Bodies that somebody waits for, and their end when the server stops: a client that keeps the
rest of its body back must not hold up the shutdown, or what the app does then is never done.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

SWEEPS: Final = 4
"""How often, in the time that clients have, it is looked which of them send nothing."""


class Upload(Protocol):
    """The body of a request."""

    arrived: int
    """How many bytes have come."""

    def give_up(self) -> None:
        """Have whoever reads it get an error."""


waited_for: Final[dict[Upload, asyncio.Task[Any] | None]] = {}
"""The bodies of which more is to come, and who receives it."""


async def end_uploads(seconds: float) -> None:
    """The server stops: from now on, give up the bodies on this loop of which nothing comes for a
    quarter of *seconds*; after *seconds* also those of which little comes. Runs until it is
    cancelled."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    before: dict[Upload, int] = {}
    while True:
        late = loop.time() >= deadline
        for upload, task in list(waited_for.items()):
            if task is None or task.get_loop() is not loop:
                continue
            if late or before.get(upload) == upload.arrived:
                del waited_for[upload]
                upload.give_up()
                task.cancel()
        before = {upload: upload.arrived for upload in list(waited_for)}
        await asyncio.sleep(seconds / SWEEPS)
