"""What the app of the soak test writes down of itself: which requests have begun and ended, what
was not as it must be, and what the process holds."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import sys
import tempfile
import threading
from collections import Counter
from typing import Any, Final

EXAMPLES: Final = 20
"""How many different faults are kept."""

LIVE: Final = {
    "AppContext",
    "Body",
    "Connection",
    "Conversation",
    "Driver",
    "H11Protocol",
    "HttpToolsProtocol",
    "RequestContext",
    "RequestResponseCycle",
    "ServerConnection",
    "WebSocket",
    "WebSocketsSansIOProtocol",
}
"""Classes of asyncflask and uvicorn whose objects are there as long as a request or connection."""


class Deliberate(Exception):
    """An error that belongs to the test."""


class Ledger:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.open: set[str] = set()
        """The tokens of requests that have begun and are not torn down."""
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def fault(self, what: str) -> None:
        with self._lock:
            if what in self.faults or len(self.faults) < EXAMPLES:
                self.faults[what] += 1

    def begin(self, token: str) -> None:
        with self._lock:
            is_new = token not in self.open
            self.open.add(token)
        if not is_new:
            self.fault(f"{token} has begun twice")

    def end(self, token: str) -> None:
        """*token* is ``<kind>-<number>``, and counted by its kind."""
        with self._lock:
            was_open = token in self.open
            self.open.discard(token)
            self.counts[f"ended {token.partition('-')[0]}"] += 1
        if not was_open:
            self.fault(f"{token} was torn down twice, or before it began")

    def same(self, where: str, *found: object) -> None:
        """Note a fault unless all that was *found* is equal."""
        if any(other != found[0] for other in found):
            self.fault(f"{where}: not the same: {found}")


class NotDeliberate(logging.Filter):
    """Counts the errors of the test, and keeps them out of the log."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], Deliberate):
            self._ledger.count(f"logged {record.exc_info[1]}")
            return False
        return True


def holdings() -> dict[str, Any]:
    """What the process has, once what is garbage has been collected. On the loop."""
    while gc.collect():
        pass
    if sys.platform == "linux":  # glibc keeps what was freed, unless it is told
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except AttributeError:  # musl gives it back
            pass
    objects = gc.get_objects()
    live = Counter(type(thing).__name__ for thing in objects)
    return {
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "temporary files": len(os.listdir(tempfile.gettempdir())) + _deleted_files(),
        "live contexts and connections": sum(live[name] for name in LIVE),
        "objects": len(objects),
        "memory (KiB)": _resident(),
        "names": {name: live[name] for name in sorted(LIVE) if live[name]},
        "types": dict(live.most_common(40)),
    }


def _deleted_files() -> int:
    """Files that have no name any more, and are still open."""
    deleted = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:  # closed by now
            continue
        deleted += target.startswith("/") and target.endswith("(deleted)")
    return deleted


def _resident() -> int:
    """The memory of this process, in KiB."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1])
