"""How often a request goes from the event loop to a thread: ``python hops.py PEER``.

Counted from outside: a profile function notes on which thread the framework's own code and the
app's functions are called. Each change from the loop's thread to another one is a hop. The code
that carries a request across is left out, since it runs on both sides at the same time.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from types import FrameType
from typing import Any

from inprocess import discard, load, receiver, scope_of
from workloads import BY_KEY, Request

CASES = {
    "sync view": "/plain/sync",
    "sync view, 3 sync hooks": "/hooks/sync",
    "async view": "/plain/async",
    "async view, 3 sync hooks": "/hooks/async",
}
PEERS = ("asyncflask", "quart")
CARRIERS = ("asgi/threads.py", "asgi/stepping.py", "quart/utils.py")


def measure(peers: list[str]) -> dict[str, dict[str, int]]:
    """By peer and case."""
    return {
        peer: json.loads(subprocess.run([sys.executable, __file__, peer], stdout=-1).stdout)
        for peer in peers
        if peer in PEERS
    }


class Watch:
    """Which threads the code of *peer* and of the apps is called on, one entry per change."""

    def __init__(self, peer: str) -> None:
        self._parts = (f"/{peer}/", "/benchmarks/apps/")
        self.threads: list[int] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        file = frame.f_code.co_filename
        if event != "call" or file.endswith(CARRIERS):
            return
        if any(part in file for part in self._parts):
            thread = threading.get_ident()
            if self.threads[-1:] != [thread]:
                self.threads.append(thread)


async def hops(app: Any, watch: Watch, path: str) -> int:
    request = Request(path)
    await app(scope_of(request), receiver(request), discard)  # what only the first request does
    watch.threads.clear()
    await app(scope_of(request), receiver(request), discard)
    here = threading.get_ident()
    return sum(
        after != here and before == here
        for before, after in zip(watch.threads, watch.threads[1:], strict=False)
    )


def main() -> None:
    peer = sys.argv[1]
    workload = BY_KEY["hooks"]
    app = load(peer, workload)
    watch = Watch(peer)
    threading.setprofile(watch)
    sys.setprofile(watch)
    counts = {case: asyncio.run(hops(app, watch, path)) for case, path in CASES.items()}
    sys.setprofile(None)
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
