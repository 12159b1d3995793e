"""`SocketIOTestClient`: an in-memory client for sync tests."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from ..asgi.environ import Environ, scope_from_environ
from ..asgi.stepping import Coro
from ..asgi.threads import on_loop, this_worker
from ..asgi.waiting import wait
from ..testing import EnvironBuilder
from .server import AsyncPubSubManager, Server, calling_test, engineio, packet

if TYPE_CHECKING:
    from ..app import Flask
    from ..testing import FlaskClient


class SocketIOTestClient:
    """A Socket.IO client for tests, which connects when you create it (Flask-SocketIO:
    `SocketIOTestClient`). Each method returns when the server has finished handling it. Sync
    handlers run on the calling thread, and handlers' exceptions are raised here.

    :param app: the app.
    :param socketio: the app's `SocketIO`.
    :param namespace: the namespace to connect to. Default: ``"/"``.
    :param query_string: the query string of the URL.
    :param headers: additional headers of the request.
    :param auth: the data for the ``connect`` handler.
    :param flask_test_client: an `app.test_client()` whose cookies to send.
    :raises RuntimeError: if the server has a message queue, or on an event loop.
    """

    def __init__(
        self,
        app: Flask,
        socketio: Any,
        namespace: str | None = None,
        query_string: str | None = None,
        headers: object = None,
        auth: object = None,
        flask_test_client: FlaskClient | None = None,
    ) -> None:
        self.app = app
        self.socketio = socketio
        self.flask_test_client = flask_test_client
        self.eio_sid = uuid.uuid4().hex
        self.connected: dict[str, bool] = {}
        self.queue: list[dict[str, Any]] = []
        self.acks: dict[str, Any] | None = None
        self.callback_counter = 0
        server: Server = socketio.server
        if isinstance(server.manager, AsyncPubSubManager):
            raise RuntimeError(
                "The test client does not support a message queue. Leave 'message_queue' out"
                " of the test configuration."
            )
        server.async_handlers = False  # so that 'emit' returns after the event was handled
        server.eio.sockets[self.eio_sid] = _Connection(server, self)
        self.connect(namespace, query_string, headers, auth)

    def is_connected(self, namespace: str | None = None) -> bool:
        """Return `True` if the client is connected to *namespace*."""
        return self.connected.get(namespace or "/", False)

    def connect(
        self,
        namespace: str | None = None,
        query_string: str | None = None,
        headers: object = None,
        auth: object = None,
    ) -> None:
        """Connect to another namespace. The parameters are those of the class."""
        namespace = namespace or "/"
        environ = self._environ(query_string, headers)
        server = self.socketio.server

        async def connect() -> None:
            await server._handle_eio_connect(self.eio_sid, environ)
            request = server.packet_class(packet.CONNECT, auth, namespace=namespace)
            await server._handle_eio_message(self.eio_sid, request.encode())

        self._run(connect())
        if server.manager.sid_from_eio_sid(self.eio_sid, namespace):
            self.connected[namespace] = True

    def disconnect(self, namespace: str | None = None) -> None:
        """Disconnect from *namespace*. Raises `RuntimeError` if the client is not connected to
        it."""
        self._check(namespace)
        self._send(packet.DISCONNECT, None, namespace)
        del self.connected[namespace or "/"]

    def emit(self, event: str, *args: object, **kwargs: Any) -> Any:
        """Send *event* with *args*. Raises `RuntimeError` if the client is not connected.

        :param namespace: the namespace to send to. Default: ``"/"``.
        :param callback: if `True`, request an acknowledgement and return its value, a list if
            there are several values. Default: `False`.
        """
        namespace = kwargs.pop("namespace", None)
        self._check(namespace)
        number = None
        if kwargs.pop("callback", False):
            self.callback_counter += 1
            number = self.callback_counter
        self._send(packet.EVENT, [event, *args], namespace, number)
        if self.acks is None:
            return None
        values, self.acks = self.acks["args"], None
        return values[0] if len(values) == 1 else values

    def send(
        self,
        data: object,
        json: bool = False,
        callback: bool = False,
        namespace: str | None = None,
    ) -> Any:
        """Send the event ``message``, or ``json`` if *json* is true, with *data*."""
        name = "json" if json else "message"
        return self.emit(name, data, callback=callback, namespace=namespace)

    def get_received(self, namespace: str | None = None) -> list[dict[str, Any]]:
        """Return the events received from *namespace* since the last call, as dicts with
        ``name``, ``args`` and ``namespace``. Raises `RuntimeError` if the client is not
        connected."""
        self._check(namespace)
        received = [event for event in self.queue if event["namespace"] == (namespace or "/")]
        self.queue = [event for event in self.queue if event not in received]
        return received

    def _check(self, namespace: str | None) -> None:
        if not self.is_connected(namespace):
            raise RuntimeError("not connected")

    def _environ(self, query_string: str | None, headers: object) -> Environ:
        url = "/socket.io/"
        if query_string:
            url = f"{url}?{query_string.removeprefix('?')}"
        if self.flask_test_client is None:
            environ = EnvironBuilder(self.app, path=url, headers=headers).get_environ()
        else:
            arguments = {"path": url, "headers": headers}
            environ = self.flask_test_client._request_from_builder_args((), arguments).environ
            self.flask_test_client._add_cookies_to_wsgi(environ)
        return {**environ, "asgi.scope": scope_from_environ(environ)}

    def _send(
        self, kind: int, data: object, namespace: str | None, number: int | None = None
    ) -> None:
        server = self.socketio.server
        encoded = server.packet_class(kind, data, namespace=namespace, id=number).encode()

        async def handle() -> None:
            for part in encoded if isinstance(encoded, list) else [encoded]:
                await server._handle_eio_message(self.eio_sid, part)

        self._run(handle())

    def _run(self, coro: Coro[None]) -> None:
        if on_loop():
            coro.close()
            raise RuntimeError(
                "This client is for sync tests: write 'def test_...' instead of 'async def'."
            )
        token = calling_test.set(this_worker())
        try:
            wait(self.socketio.server.at_home(coro))
        finally:
            calling_test.reset(token)

    def take(self, pkt: Any) -> None:
        namespace = pkt.namespace or "/"
        if pkt.packet_type in (packet.EVENT, packet.BINARY_EVENT):
            name, *args = pkt.data
            one = name in ("message", "json")
            event = {"name": name, "args": args[0] if one else args, "namespace": namespace}
            self.queue.append(event)
        elif pkt.packet_type in (packet.ACK, packet.BINARY_ACK):
            self.acks = {"args": pkt.data, "namespace": namespace}
        elif pkt.packet_type in (packet.DISCONNECT, packet.CONNECT_ERROR):
            self.connected[namespace] = False


class _Connection(engineio.async_socket.AsyncSocket):  # type: ignore[misc]
    """The server's end of the Engine.IO connection. Passes what it is to send to the client."""

    def __init__(self, server: Server, client: SocketIOTestClient) -> None:
        super().__init__(server.eio, client.eio_sid)
        self.connected = True
        self.last_ping = None
        self._packet_class = server.packet_class
        self._client = client
        self._incomplete: Any = None

    async def send(self, pkt: Any) -> None:
        if pkt.packet_type == engineio.packet.CLOSE:
            self._client.connected.clear()
        elif self._incomplete is not None:
            if self._incomplete.add_attachment(pkt.data):
                complete, self._incomplete = self._incomplete, None
                self._client.take(complete)
        else:
            received = self._packet_class(encoded_packet=pkt.data)
            if received.attachment_count:
                self._incomplete = received
            else:
                self._client.take(received)
