"""The functions for event handlers: what they do not say is taken from the event."""

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
    """*options*, with the event's namespace and its client where they do not say otherwise."""
    to = options.get("to") or options.get("room")
    if to is None and not options.get("broadcast"):
        to = _request_of_event().sid
    namespace = options["namespace"] if "namespace" in options else _request_of_event().namespace
    names = ("callback", "include_self", "skip_sid", "ignore_queue", "timeout")
    given = {name: options[name] for name in names if name in options}
    return {**given, "namespace": namespace, "to": to}


def emit(event: str, *args: object, **kwargs: Any) -> Any:
    """Send *event* to the client whose event is being handled; with ``broadcast=True`` to all
    of its namespace. The other parameters are those of `SocketIO.emit`. In an asynchronous
    handler: ``await emit(...)``."""
    return _socketio().emit(event, *args, **_to_whom(kwargs))


def send(message: object, **kwargs: Any) -> Any:
    """Send the event ``message``, or with ``json=True`` the event ``json``. The rest as for
    `emit`."""
    return _socketio().send(message, json=kwargs.get("json", False), **_to_whom(kwargs))


def call(event: str, *args: object, **kwargs: Any) -> Any:
    """Send *event* to the client, or to the one that *to* names, and give what it acknowledges
    with. Raises `socketio.exceptions.TimeoutError` after *timeout* seconds, by default 60."""
    return _socketio().call(event, *args, **_to_whom(kwargs))


def join_room(room: object, sid: str | None = None, namespace: str | None = None) -> Any:
    """Put the client into *room*."""
    sid, namespace = _client(sid, namespace)
    return _socketio().server.enter_room(sid, room, namespace=namespace)


def leave_room(room: object, sid: str | None = None, namespace: str | None = None) -> Any:
    """Take the client out of *room*."""
    sid, namespace = _client(sid, namespace)
    return _socketio().server.leave_room(sid, room, namespace=namespace)


def close_room(room: object, namespace: str | None = None) -> Any:
    """Take all clients out of *room*."""
    namespace = namespace or _request_of_event().namespace
    return _socketio().server.close_room(room, namespace=namespace)


def rooms(sid: str | None = None, namespace: str | None = None) -> list[Any]:
    """The rooms that the client is in, among them the one named by its `sid`. Returns
    the value in sync and in async code."""
    sid, namespace = _client(sid, namespace)
    rooms: list[Any] = _socketio().server.rooms(sid, namespace=namespace)
    return rooms


def disconnect(sid: str | None = None, namespace: str | None = None, silent: bool = False) -> Any:
    """Disconnect the client. *silent* is without effect."""
    sid, namespace = _client(sid, namespace)
    return _socketio().server.disconnect(sid, namespace=namespace)


def _client(sid: str | None, namespace: str | None) -> tuple[str, str]:
    return sid or _request_of_event().sid, namespace or _request_of_event().namespace
