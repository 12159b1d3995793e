"""Types for rooms in sync code: what `Rooms.sync` and its `join` return, for type checkers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, Self

from .base import Member, Message


class SyncJoin(Protocol):
    """A `Join` in sync code. Use it with `with` or on its own."""

    id: str
    room: str
    member: Member | None
    active: bool

    def leave(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, exc_type: object, exc_value: object, tb: object, /) -> None: ...


class SyncRooms(Protocol):
    """`Rooms` in sync code: methods block and return the value."""

    def join(
        self,
        room: str,
        member: str | None = None,
        *,
        info: object = None,
        history: int = 0,
        after: str | None = None,
    ) -> SyncJoin: ...
    def leave(self, room: str) -> None: ...
    def members(self, room: str) -> list[Member]: ...
    def send(
        self,
        room: str,
        data: object,
        *,
        keep: bool = True,
        exclude_self: bool = False,
        exclude: str | Iterable[str] = (),
    ) -> str | None: ...
    def history(
        self, room: str, count: int | None = None, *, after: str | None = None
    ) -> list[Message]: ...
