"""Rooms in the memory of one process."""

from __future__ import annotations

import time
from collections import OrderedDict, deque

from .base import Member, Message, RoomsLimit, oldest, position
from .hub import Hub
from .limits import Settings, size_of


class MemoryBackend:
    """Stores history and members in dictionaries. Needs no tasks and no start or stop."""

    def __init__(self, settings: Settings, hub: Hub) -> None:
        self._settings = settings
        self._hub = hub
        self._last = (0, 0)
        # In order of the last message, so that expired rooms come first.
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._kept_bytes = 0
        self._members: dict[str, dict[str, tuple[Member, int]]] = {}
        self._members_bytes = 0

    async def subscribe(self, room: str) -> None:
        pass

    def unsubscribe(self, room: str) -> None:
        pass

    async def publish(
        self, room: str, payload: str | bytes, is_json: bool, size: int, exclude: frozenset[str]
    ) -> str | None:
        message = Message(room, payload, None, self._settings.loads if is_json else None)
        if size:
            message.id = self._next_id()
            self._keep(room, message, size)
        for waiting in self._hub.deliver(message, exclude):
            await waiting
        return message.id

    def _next_id(self) -> str:
        now = int(time.time() * 1000)
        milliseconds, number = self._last
        # Always above the previous id, even if the clock goes back.
        self._last = (now, 0) if now > milliseconds else (milliseconds, number + 1)
        return f"{self._last[0]}-{self._last[1]}"

    def _keep(self, room: str, message: Message, size: int) -> None:
        settings = self._settings
        kept = self._kept.get(room)
        if kept is None:
            kept = self._kept[room] = Kept()
        self._kept.move_to_end(room)
        self._kept_bytes += kept.add(message, size)
        while len(kept.messages) > settings.history or kept.bytes > settings.history_bytes:
            self._kept_bytes -= kept.forget_oldest()
        self._forget_expired()
        while (
            self._kept_bytes > settings.history_total_bytes
            or len(self._kept) > settings.history_rooms
        ):
            self._forget(next(iter(self._kept)))  # never this room: its own limit is lower
            self._hub.warn_of_forgotten_rooms()

    def _forget_expired(self) -> None:
        start = (oldest(self._settings.history_seconds), 0)
        while self._kept:
            room, kept = next(iter(self._kept.items()))
            if position(kept.messages[-1].id or "") >= start:
                return
            self._forget(room)

    def _forget(self, room: str) -> None:
        self._kept_bytes -= self._kept.pop(room).bytes

    async def history(self, room: str, count: int | None, after: str | None) -> list[Message]:
        start = (oldest(self._settings.history_seconds), -1)
        if after is not None:
            start = max(start, position(after))
        all_kept = self._kept.get(room)
        messages = () if all_kept is None else all_kept.messages
        kept = [m for m in messages if position(m.id or "") > start]
        return kept if count is None else kept[len(kept) - min(count, len(kept)) :]

    async def enter(self, room: str, member: Member, size: int) -> None:
        settings = self._settings
        if len(self._members.get(room, ())) >= settings.members:
            raise RoomsLimit(settings.room_is_full(room))
        if self._members_bytes + size > settings.members_total_bytes:
            raise RoomsLimit(settings.too_many_members())
        self._members.setdefault(room, {})[member.id] = member, size
        self._members_bytes += size

    async def exit(self, room: str, member: Member) -> None:
        members = self._members.get(room, {})
        _, size = members.pop(member.id, (None, 0))
        self._members_bytes -= size
        if not members:
            self._members.pop(room, None)

    async def members(self, room: str) -> list[Member]:
        return [member for member, _ in self._members.get(room, {}).values()]

    async def close(self) -> None:
        pass


class Kept:
    """A room's history and its size."""

    __slots__ = ("bytes", "messages")

    def __init__(self) -> None:
        self.messages: deque[Message] = deque()
        self.bytes = 0

    def add(self, message: Message, size: int) -> int:
        self.messages.append(message)
        self.bytes += size
        return size

    def forget_oldest(self) -> int:
        size = size_of(self.messages.popleft().payload)
        self.bytes -= size
        return size
