"""Limits for one client: pending events, namespaces, rooms, attachments, queued messages, and
the body of a long-polling request."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import anyio

if TYPE_CHECKING:
    from ..app import Flask

DEFAULTS: Final = {
    "SOCKETIO_CLIENTS": 10_000,
    "SOCKETIO_CONNECT_TIMEOUT": 45,
    "SOCKETIO_NAMESPACES": 16,
    "SOCKETIO_ROOMS": 1000,
    "SOCKETIO_NAME_LENGTH": 256,
    "SOCKETIO_CALLBACKS": 1000,
    "SOCKETIO_EVENTS": 16,
    "SOCKETIO_EVENT_THREADS": 32,
    "SOCKETIO_ATTACHMENTS": 64,
    "SOCKETIO_ATTACHMENT_BYTES": 8_388_608,
}
"""The settings and their defaults; `docs/socketio.rst` explains them."""

LOOK_SECONDS: Final = 1.0
"""How often to check whether a client has left while its messages are not read."""

UPGRADE_SECONDS: Final = 10.0
"""Seconds that a client has to upgrade from long polling to a WebSocket (engine.io's default)."""

NOTICE_SECONDS: Final = 60.0
"""Minimum seconds between two log lines about the number of clients."""

PACKETS: Final = 16
"""Packets in a long-polling body. Engine.IO fails beyond this limit."""

_POLLED: Final = re.compile(r"4[0-6]|b|[135]\Z")
"""The start of each packet in a body: message (with Socket.IO's type), binary message, close,
pong, upgrade. The others are only sent by servers (Engine.IO protocol 4)."""


def is_payload(body: bytes) -> bool:
    """Return `True` if a POST's body consists of packets that a client may send. For others,
    Engine.IO would keep the request open until the client fetches its queued packets."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return False
    if text.startswith("d="):  # JSONP
        text = parse_qs(text).get("d", [""])[0]
    packets = text.split("\x1e")
    return len(packets) <= PACKETS and all(map(_is_packet, packets))


def _is_packet(packet: str) -> bool:
    if packet.startswith("b"):
        try:
            base64.b64decode(packet[1:])
        except ValueError:
            return False
    return _POLLED.match(packet) is not None


def check_attachments(packet: Any, another: bytes | str, app: Flask) -> None:
    """Raise `ValueError` if *packet* with *another* attachment exceeds the limits: all
    attachments are kept until the last one arrives."""
    count, size = app.config["SOCKETIO_ATTACHMENTS"], app.config["SOCKETIO_ATTACHMENT_BYTES"]
    if packet.attachment_count > count:
        raise ValueError(f"a packet with {packet.attachment_count} attachments")
    if sum(map(len, packet.attachments)) + len(another) > size:
        raise ValueError(f"attachments of more than {size} bytes")


class Outgoing(asyncio.Queue[Any]):
    """The packet queue of a client. If the client does not read it, *cut_off* is called once,
    and the queue accepts nothing more."""

    cut_off: Callable[[], object] = staticmethod(lambda: None)
    packets: int | None = None
    size: int | None = None
    """The limits of queued packets and bytes. Set once the app's config is known."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._bytes = 0
        self.is_cut_off = False

    def _put(self, item: object) -> None:
        self._bytes += _size(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self._bytes -= _size(item)
        return item

    async def put(self, item: object) -> None:
        if item is None:  # tells its writer to end
            await super().put(None)
        elif not self.is_cut_off:
            await super().put(item)
            if self._is_too_much():
                self.is_cut_off = True
                while not self.empty():
                    self.get_nowait()
                    self.task_done()
                self.put_nowait(None)
                self.cut_off()

    def _is_too_much(self) -> bool:
        # A single packet of any size may be queued.
        return self.qsize() > 1 and (
            (self.packets is not None and self.qsize() > self.packets)
            or (self.size is not None and self._bytes > self.size)
        )


def _size(packet: Any) -> int:
    data = getattr(packet, "data", None)
    return len(data) if isinstance(data, str | bytes) else 0


class SocketIOLimit(RuntimeError):
    """A client reached a limit: it is in too many rooms, or the room's name is too long. If the
    handler does not catch it, the event is not acknowledged and a log line says why."""


class Client:
    """What one client currently uses."""

    def __init__(self) -> None:
        self.events = 0
        """How many events are pending."""
        self.namespaces: set[str] = set()
        self.requests: set[str] = set()
        """The methods of its pending long-polling requests."""
        self._fewer = asyncio.Event()

    def ended(self) -> None:
        self.events -= 1
        self._fewer.set()

    async def room(self, limit: int, is_there: Callable[[], bool]) -> bool:
        """Wait until fewer than *limit* events are pending. Return `False` if the client left
        meanwhile."""
        while self.events >= limit:
            self._fewer.clear()
            with anyio.move_on_after(LOOK_SECONDS):
                await self._fewer.wait()
            if not is_there():
                return False
        return True


class Taken:
    """Counts the rooms and callbacks of each client in python-socketio's *manager*. *app*
    returns the app whose config has the limits."""

    def __init__(self, manager: Any, app: Callable[[], Flask]) -> None:
        self._app = app
        self._manager = manager
        self._rooms: dict[str, set[object]] = {}
        self._enter, self._leave = manager.basic_enter_room, manager.basic_leave_room
        self._generate_ack_id = manager._generate_ack_id
        manager.basic_enter_room, manager.basic_leave_room = self.enter, self.leave
        manager._generate_ack_id = self.generate_ack_id

    def enter(self, sid: str, namespace: str, room: object, eio_sid: str | None = None) -> None:
        """Add the client to a room. Raises `SocketIOLimit`."""
        if eio_sid is None and room != sid:  # requested by the app, not by the connection itself
            rooms = self._rooms.get(sid, set())
            config = self._app().config
            if len(rooms) >= config["SOCKETIO_ROOMS"] and room not in rooms:
                raise SocketIOLimit(
                    f"The client {sid} is in {len(rooms)} rooms, the maximum (SOCKETIO_ROOMS)."
                )
            if isinstance(room, str | bytes) and len(room) > config["SOCKETIO_NAME_LENGTH"]:
                raise SocketIOLimit(
                    f"A room's name has {len(room)} characters, more than SOCKETIO_NAME_LENGTH"
                    f" ({config['SOCKETIO_NAME_LENGTH']})."
                )
            self._enter(sid, namespace, room)
            self._rooms.setdefault(sid, set()).add(room)
        else:
            self._enter(sid, namespace, room, eio_sid=eio_sid)

    def leave(self, sid: str, namespace: str, room: object) -> None:
        self._leave(sid, namespace, room)
        rooms = self._rooms.get(sid)
        if rooms is not None:
            rooms.discard(room)
            if not rooms:
                del self._rooms[sid]

    def generate_ack_id(self, sid: str, callback: object) -> Any:
        """Register a callback. At the limit, the one that has waited longest is dropped."""
        id = self._generate_ack_id(sid, callback)
        waiting = self._manager.callbacks[sid]  # the counter, then the callbacks, oldest first
        if len(waiting) - 1 > self._app().config["SOCKETIO_CALLBACKS"]:
            del waiting[next(islice(waiting, 1, None))]
        return id
