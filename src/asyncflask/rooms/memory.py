"""Rooms of one process, in its memory."""

from __future__ import annotations

import time
from collections import OrderedDict, deque

from .base import Member, Message, Settings, oldest, position
from .hub import Hub


class MemoryBackend:
    """History and presence in dictionaries; no tasks, nothing to start or to close."""

    def __init__(self, settings: Settings, hub: Hub) -> None:
        self._settings = settings
        self._hub = hub
        self._last = (0, 0)
        # Whoever was sent to last is last, so that what has expired is found at the beginning.
        self._kept: OrderedDict[str, deque[Message]] = OrderedDict()
        self._members: dict[str, dict[str, Member]] = {}

    async def subscribe(self, room: str) -> None:
        pass

    def unsubscribe(self, room: str) -> None:
        pass

    async def publish(
        self, room: str, payload: str | bytes, is_json: bool, keep: bool, exclude: frozenset[str]
    ) -> str | None:
        settings = self._settings
        message = Message(room, payload, None, settings.loads if is_json else None)
        if keep and settings.history:
            message.id = self._next_id()
            kept = self._kept.get(room)
            if kept is None:
                kept = self._kept[room] = deque(maxlen=settings.history)
            kept.append(message)
            self._kept.move_to_end(room)
            self._forget_expired()
        for waiting in self._hub.deliver(message, exclude):
            await waiting
        return message.id

    def _next_id(self) -> str:
        now = int(time.time() * 1000)
        milliseconds, number = self._last
        # Above the one before, whatever the clock does.
        self._last = (now, 0) if now > milliseconds else (milliseconds, number + 1)
        return f"{self._last[0]}-{self._last[1]}"

    def _forget_expired(self) -> None:
        start = (oldest(self._settings.history_seconds), 0)
        while self._kept:
            kept = next(iter(self._kept.values()))
            if position(kept[-1].id or "") >= start:
                return
            self._kept.popitem(last=False)

    async def history(self, room: str, count: int | None, after: str | None) -> list[Message]:
        start = (oldest(self._settings.history_seconds), -1)
        if after is not None:
            start = max(start, position(after))
        kept = [m for m in self._kept.get(room, ()) if position(m.id or "") > start]
        return kept if count is None else kept[len(kept) - min(count, len(kept)) :]

    async def enter(self, room: str, member: Member) -> None:
        self._members.setdefault(room, {})[member.id] = member

    async def exit(self, room: str, member: Member) -> None:
        members = self._members.get(room, {})
        members.pop(member.id, None)
        if not members:
            self._members.pop(room, None)

    async def members(self, room: str) -> list[Member]:
        return list(self._members.get(room, {}).values())

    async def close(self) -> None:
        pass
