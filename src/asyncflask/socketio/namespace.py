"""`Namespace`: a class whose methods are the event handlers of a namespace."""

from __future__ import annotations

from typing import Any

from .server import AsyncNamespace


class Namespace(AsyncNamespace):  # type: ignore[misc]
    """A class-based namespace. Methods named ``on_<event>``, sync or async, handle its events. A
    method ``error(exc)`` receives the exceptions they raise. ::

        class Chat(Namespace):
            def on_message(self, data):
                self.send(data)

        socketio.on_namespace(Chat("/chat"))

    :param namespace: the name. Default: ``"/"``.
    """

    def __init__(self, namespace: str | None = None) -> None:
        super().__init__(namespace)
        self.socketio: Any = None

    def _set_socketio(self, socketio: Any) -> None:
        self.socketio = socketio

    async def trigger_event(self, event: str, *args: object) -> Any:
        """Call the method for *event*, if there is one."""
        namespace = self.namespace
        if namespace == "*":
            namespace, *args = args  # type: ignore[assignment]
        handler = getattr(self, f"on_{event or ''}", None)
        if handler is None:
            return self.server.not_handled
        errors = [self.error] if hasattr(self, "error") else []
        return await self.socketio._handle_event(handler, event, namespace, *args, errors=errors)

    def emit(
        self,
        event: str,
        data: object = None,
        room: object = None,
        include_self: bool = True,
        namespace: str | None = None,
        callback: object = None,
        **kwargs: object,
    ) -> Any:
        """Like `SocketIO.emit`, in this namespace."""
        return self.socketio.emit(
            event,
            data,
            room=room,
            include_self=include_self,
            namespace=namespace or self.namespace,
            callback=callback,
            **kwargs,
        )

    def send(
        self,
        data: object,
        room: object = None,
        include_self: bool = True,
        namespace: str | None = None,
        callback: object = None,
        **kwargs: object,
    ) -> Any:
        """Like `SocketIO.send`, in this namespace."""
        return self.socketio.send(
            data,
            room=room,
            include_self=include_self,
            namespace=namespace or self.namespace,
            callback=callback,
            **kwargs,
        )

    def call(self, event: str, *args: object, **kwargs: object) -> Any:
        """Like `SocketIO.call`, in this namespace."""
        return self.socketio.call(event, *args, **self._here(kwargs))

    def enter_room(self, sid: str, room: object, namespace: str | None = None) -> Any:
        """Add a client to a room."""
        return self.server.enter_room(sid, room, namespace=namespace or self.namespace)

    def leave_room(self, sid: str, room: object, namespace: str | None = None) -> Any:
        """Remove a client from a room."""
        return self.server.leave_room(sid, room, namespace=namespace or self.namespace)

    def close_room(self, room: object, namespace: str | None = None) -> Any:
        """Remove all clients from a room."""
        return self.socketio.close_room(room, namespace=namespace or self.namespace)

    def get_session(self, sid: str, namespace: str | None = None) -> Any:
        """Return python-socketio's session of a client."""
        return self.server.get_session(sid, namespace=namespace or self.namespace)

    def save_session(self, sid: str, session: object, namespace: str | None = None) -> Any:
        """Save python-socketio's session of a client."""
        return self.server.save_session(sid, session, namespace=namespace or self.namespace)

    def disconnect(self, sid: str, namespace: str | None = None) -> Any:
        """Disconnect a client."""
        return self.server.disconnect(sid, namespace=namespace or self.namespace)

    def _here(self, kwargs: dict[str, object]) -> dict[str, object]:
        return {**kwargs, "namespace": kwargs.get("namespace") or self.namespace}
