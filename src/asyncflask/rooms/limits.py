"""The limits of rooms, as settings. `hub.py` enforces those of a connection; `memory.py` and,
in Redis, `scripts.py` those of all connections together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

DEFAULTS: Final[dict[str, Any]] = {
    "ROOMS_URL": "memory://",
    "ROOMS_PREFIX": "rooms",
    "ROOMS_PRESENCE_TIMEOUT": 15,
    "ROOMS_SEND_TIMEOUT": 3,
    "ROOMS_HISTORY": 100,
    "ROOMS_HISTORY_SECONDS": 3600,
    "ROOMS_HISTORY_BYTES": 1_048_576,
    "ROOMS_HISTORY_TOTAL_BYTES": 67_108_864,
    "ROOMS_HISTORY_ROOMS": 10_000,
    "ROOMS_NAME_BYTES": 256,
    "ROOMS_JOINED": 100,
    "ROOMS_MEMBERS": 10_000,
    "ROOMS_MEMBER_BYTES": 4096,
    "ROOMS_MEMBERS_TOTAL_BYTES": 16_777_216,
    "ROOMS_FOLLOW_QUEUE": 1000,
    "ROOMS_FOLLOW_QUEUE_BYTES": 1_048_576,
    "ROOMS_CHANGES": 1000,
}
"""The settings and their defaults; `docs/rooms.rst` explains them."""

MESSAGE_BYTES: Final = 256
"""The size of a kept message in addition to its payload, so that empty ones count too."""

NOTICE_SECONDS: Final = 60.0
"""Minimum seconds between two log lines about dropped histories."""


class Settings(NamedTuple):
    """The settings of rooms, from the config (`Rooms.init_app`)."""

    url: str
    prefix: str
    presence_timeout: float
    send_timeout: float
    history: int
    history_seconds: float
    history_bytes: int
    history_total_bytes: int
    history_rooms: int
    name_bytes: int
    joined: int
    members: int
    member_bytes: int
    members_total_bytes: int
    follow_queue: int
    follow_queue_bytes: int
    changes: int
    loads: Callable[[str], Any]
    dumps: Callable[[object], str]

    def room_is_full(self, room: str) -> str:
        return f"The room {room!r:.80} has {self.members} members, the maximum (ROOMS_MEMBERS)."

    def too_many_members(self) -> str:
        return (
            f"The members of all rooms take {self.members_total_bytes} bytes, the maximum"
            " (ROOMS_MEMBERS_TOTAL_BYTES)."
        )


_TIMES: Final = "ROOMS_PRESENCE_TIMEOUT", "ROOMS_SEND_TIMEOUT", "ROOMS_HISTORY_SECONDS"


def settings_of(
    config: Mapping[str, Any],
    url: str | None,
    loads: Callable[[str], Any],
    dumps: Callable[[object], str],
) -> Settings:
    """Read the settings. Raises `ValueError` for an invalid limit."""
    values = {key.removeprefix("ROOMS_").lower(): config[key] for key in DEFAULTS}
    for key in list(DEFAULTS)[2:]:
        value, kinds = config[key], int | float if key in _TIMES else int
        least = 0 if key == "ROOMS_HISTORY" else 1 if key not in _TIMES else 1e-3
        if not isinstance(value, kinds) or value < least:
            raise ValueError(
                f"{key!r} must be a number of {least} or more, not {value!r}. Write"
                f" app.config[{key!r}] = {DEFAULTS[key]} before Rooms(app)."
            )
    values["url"] = url or values["url"]
    values["history"] = int(values["history"])
    # One room's limit cannot exceed that of all rooms.
    values["history_bytes"] = min(values["history_bytes"], values["history_total_bytes"])
    return Settings(**values, loads=loads, dumps=dumps)


def size_of(payload: str | bytes) -> int:
    """Return the size of a kept message. Python stores every character of a text in as many
    bytes as the widest needs, up to four."""
    wide = isinstance(payload, str) and not payload.isascii()
    return MESSAGE_BYTES + len(payload) * (4 if wide else 1)


class Notice:
    """Rate-limits a log line: says now and then that it is due."""

    def __init__(self) -> None:
        self._at: float | None = None

    def due(self) -> bool:
        now = time.monotonic()
        if self._at is not None and now < self._at + NOTICE_SECONDS:
            return False
        self._at = now
        return True
