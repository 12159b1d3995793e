"""Apps that are watched by a monitoring library: they are served, each way for a request to end
is visited once, and the library reports to a `Collector`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler
from typing import Any, NamedTuple

import httpx
from collector import Collector, HTTPHandler, Report
from servers import Process
from serving import COMMAND, UNDER_FLASK, served

SERVED = Path(__file__).parent / "served"


class Ending(NamedTuple):
    """A visit to `served/monitored.py`, and what a library has to see of it."""

    path: str
    rule: str | None
    endpoint: str | None
    status: int

    def __str__(self) -> str:
        return self.path


ENDINGS = [
    Ending("/sync/3", "/sync/<int:number>", "sync_item", 200),
    Ending("/async/3", "/async/<int:number>", "async_item", 200),
    Ending("/sync/refused", "/sync/refused", "sync_refused", 403),
    Ending("/async/refused", "/async/refused", "async_refused", 403),
    Ending("/sync/broken", "/sync/broken", "sync_broken", 500),
    Ending("/async/broken", "/async/broken", "async_broken", 500),
    Ending("/sync/stream", "/sync/stream", "sync_stream", 200),
    Ending("/missing", None, None, 404),
]
FOUND = [ending for ending in ENDINGS if ending.rule is not None]
BROKEN = [ending for ending in ENDINGS if ending.status == 500]


class Watched:
    """An app that is served, and what its library reported."""

    def __init__(self, server: Process, collector: Collector, client: httpx.Client) -> None:
        self.server = server
        self.collector = collector
        self.client = client
        self.statuses = {ending.path: client.get(ending.path).status_code for ending in ENDINGS}

    def reported(self, select: Callable[[list[Report]], list[Any]], count: int) -> list[Any]:
        """What *select* finds in the reports: *count* of it, which may come later."""
        found = self.collector.wait_for(select, count)
        assert len(found) == count, f"{len(found)} reports instead of {count}: {found}"
        return found


@contextmanager
def watch(
    site: str,
    launcher: Sequence[str] = (),
    handler: type[BaseRequestHandler] = HTTPHandler,
    **variables: str,
) -> Iterator[Watched]:
    """Serve the program *site* of `served`, started by the command *launcher*, with *variables* in
    its environment, where ``{collector}`` stands for the address of the collector."""
    way = COMMAND if UNDER_FLASK else "httptools"
    with Collector(handler) as collector:
        env = {name: text.format(collector=collector.address) for name, text in variables.items()}
        with (
            served(way, f"{site}:app", SERVED, launcher, env) as server,
            httpx.Client(base_url=server.url, timeout=30) as client,
        ):
            yield Watched(server, collector, client)
