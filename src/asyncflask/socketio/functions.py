"""Functions for event handlers. Their defaults come from the current event."""

from __future__ import annotations

from typing import Any

from ..ctx import current_app_ctx
from .core import SocketIO, _request_of_event


def _socketio() -> SocketIO:
    app = current_app_ctx().app
    if "socketio" not in app.extensions:
        raise RuntimeError(f"The app {app.name!r} has no Socket.IO. Write 'SocketIO(app)'.")
    socketio: SocketIO = app.extensions["socketio"]
    return socketio


def _to_whom(options: dict[str, object]) -> dict[str, Any]:
    """Return *options* with the event's namespace and client as defaults."""
    to = options.get("to") or options.get("room")
    if to is None and not options.get("broadcast"):
        to = _request_of_event().sid
    namespace = options["namespace"] if "namespace" in options else _request_of_event().namespace
    names = ("callback", "include_self", "skip_sid", "ignore_queue", "timeout")
    given = {name: options[name] for name in names if name in options}
    return {**given, "namespace": namespace, "to": to}


def emit(event: str, *args: object, **kwargs: Any) -> Any:
    """Send *event* to the client whose event is being handled, or with ``broadcast=True`` to every
    client in its namespace. See `SocketIO.emit` for the other parameters. In an `async def`
    handler, write ``await emit(...)``."""
    return _socketio().emit(event, *args, **_to_whom(kwargs))


def send(message: object, **kwargs: Any) -> Any:
    """Send the event ``message``, or ``json`` with ``json=True``. The rest is as for `emit`."""
    return _socketio().send(message, json=kwargs.get("json", False), **_to_whom(kwargs))


def call(event: str, *args: object, **kwargs: Any) -> Any:
    """Send *event* to the client, or to the one in *to*, and return its acknowledgement.

    :param timeout: the seconds to wait. Default: 60.
    :raises socketio.exceptions.TimeoutError: if the client does not acknowledge in time.
    """
    return _socketio().call(event, *args, **_to_whom(kwargs))


def join_room(room: object, sid: str | None = None, namespace: str | None = None) -> Any:
    """Add the client to *room*. *sid*: another client than the event's."""
    sid, namespace = _client(sid, namespace)
    return _socketio().server.enter_room(sid, room, namespace=namespace)


def leave_room(room: object, sid: str | None = None, namespace: str | None = None) -> Any:
    """Remove the client from *room*. *sid*: another client than the event's."""
    sid, namespace = _client(sid, namespace)
    return _socketio().server.leave_room(sid, room, namespace=namespace)


def close_room(room: object, namespace: str | None = None) -> Any:
    """Remove all clients from *room*."""
    namespace = namespace or _request_of_event().namespace
    return _socketio().server.close_room(room, namespace=namespace)


def rooms(sid: str | None = None, namespace: str | None = None) -> list[Any]:
    """Return the rooms that the client is in, including the one named after its `sid`. Needs no
    `await`."""
    sid, namespace = _client(sid, namespace)
    rooms: list[Any] = _socketio().server.rooms(sid, namespace=namespace)
    return rooms


def disconnect(sid: str | None = None, namespace: str | None = None, silent: bool = False) -> Any:
    """Disconnect the client. *sid*: another client than the event's. *silent* has no effect."""
    sid, namespace = _client(sid, namespace)
    return _socketio().server.disconnect(sid, namespace=namespace)


def _client(sid: str | None, namespace: str | None) -> tuple[str, str]:
    return sid or _request_of_event().sid, namespace or _request_of_event().namespace
