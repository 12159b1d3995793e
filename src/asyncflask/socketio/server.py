"""python-socketio's server, adapted to sync and async code and protected against what clients
send. All data about clients lives on one event loop; this file gets calls there. Event handlers
are called in `events.py`; connections are in `transport.py`."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from contextvars import Context, ContextVar
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import anyio
from starlette.types import Send

from ..asgi.environ import Environ
from ..asgi.loops import background_loop
from ..asgi.pool import Worker
from ..asgi.servers import has_hung_up
from ..asgi.stepping import Coro
from ..asgi.threads import abandon_blocked, on_loop
from ..asgi.waiting import wait
from .limits import NOTICE_SECONDS, Client, Outgoing, Taken, check_attachments

if TYPE_CHECKING:
    from ..app import Flask

T = TypeVar("T")

try:
    import engineio as engineio  # type: ignore[import-untyped]
    import socketio as socketio  # type: ignore[import-untyped]
except ImportError as error:
    raise ImportError(
        "asyncflask.socketio needs python-socketio. Install it with:"
        " pip install 'asyncflask[socketio]'"
    ) from error

REQUIRED: Final = (5, 16, 2)
"""The first python-socketio without known vulnerabilities; see `docs/dependencies.rst`."""


def check_version(installed: str) -> None:
    """Raise `ImportError` if python-socketio is too old."""
    if tuple(int(part) for part in installed.split(".")[:3] if part.isdecimal()) < REQUIRED:
        needed = ".".join(map(str, REQUIRED))
        raise ImportError(
            f"asyncflask.socketio needs python-socketio {needed} or newer, and {installed} is"
            " installed. Update it with: pip install --upgrade 'asyncflask[socketio]'"
        )


check_version(version("python-socketio"))

packet = socketio.packet
ConnectionRefusedError = socketio.exceptions.ConnectionRefusedError
AsyncNamespace = socketio.AsyncNamespace
AsyncPubSubManager = socketio.async_pubsub_manager.AsyncPubSubManager

_RESERVED_EVENTS = ("connect", "disconnect", "*")
"""Names that clients may not send, since their handlers are called for something else."""

calling_test: ContextVar[Worker | None] = ContextVar("asyncflask.socketio_test", default=None)
"""The thread of a test that waits for the server. Sync handlers run on it, and handlers'
exceptions are raised there."""


client_send: ContextVar[Send | None] = ContextVar("asyncflask.socketio_send", default=None)
"""The server's `send`, in the task of a connection."""


class SessionClosed(KeyError):
    """A request from a client that has been disconnected."""


class EngineServer(engineio.AsyncServer):  # type: ignore[misc]
    """Engine.IO's server. Keeps its tasks, to cancel them when the app stops."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.tasks: set[asyncio.Task[object]] = set()

    def create_queue(self, *args: Any, **kwargs: Any) -> Outgoing:
        return Outgoing(*args, **kwargs)

    def start_background_task(
        self, target: Callable[..., Coro[object]], *args: object, **kwargs: object
    ) -> Any:
        return self.keep(super().start_background_task(target, *args, **kwargs))

    def keep(self, task: asyncio.Task[object]) -> asyncio.Task[object]:
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _get_socket(self, sid: str) -> Any:
        try:
            return super()._get_socket(sid)
        except KeyError as error:
            raise SessionClosed(sid) from error

    def _ended(self, task: asyncio.Task[object]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.logger.error("A background task failed.", exc_info=error)


def _dual(coroutine_function: Callable[..., Coro[Any]]) -> Callable[..., Any]:
    @functools.wraps(coroutine_function)
    def method(self: Server, *args: object, **kwargs: object) -> Any:
        return self.run(coroutine_function(self, *args, **kwargs))

    return method


class Server(socketio.AsyncServer):  # type: ignore[misc]
    """`socketio.AsyncServer`, with coroutine functions that sync code may also call: they block
    until done. On a loop, they start at once and may be awaited."""

    def __init__(self, app: Flask | None, **options: Any) -> None:
        super().__init__(async_mode="asgi", **options)
        self.app = cast("Flask", app)  # `None` in a process that only sends
        self.loop: asyncio.AbstractEventLoop | None = None
        """The loop that serves the clients."""
        self._background: asyncio.AbstractEventLoop | None = None
        """The loop without clients: always the same, since it owns the connection to the queue."""
        self._monitors_clients: bool = self.eio.start_service_task
        self._begun: set[asyncio.Task[object]] = set()
        self.clients: dict[str, Client] = {}
        """What each client uses, by its Engine.IO id."""
        self._said_full: float | None = None
        self._taken = Taken(self.manager, lambda: self.app) if app is not None else None
        self._threads: anyio.Semaphore | None = None

    def _engineio_server_class(self) -> Any:
        return EngineServer

    emit = _dual(socketio.AsyncServer.emit)
    send = _dual(socketio.AsyncServer.send)
    call = _dual(socketio.AsyncServer.call)
    enter_room = _dual(socketio.AsyncServer.enter_room)
    leave_room = _dual(socketio.AsyncServer.leave_room)
    close_room = _dual(socketio.AsyncServer.close_room)
    get_session = _dual(socketio.AsyncServer.get_session)
    save_session = _dual(socketio.AsyncServer.save_session)
    disconnect = _dual(socketio.AsyncServer.disconnect)

    # -- from anywhere to the loop

    def run(self, coro: Coro[T]) -> Any:
        """Return the value of *coro* in sync code; on a loop, a task that has started."""
        there = self.at_home(coro)
        if not on_loop():
            return wait(there)
        task = asyncio.get_running_loop().create_task(there)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        return task

    async def at_home(self, coro: Coro[T]) -> T:
        """Run *coro* on the loop that serves the clients. Without one, run it in the
        background; its messages then go to other processes."""
        home = self.loop
        if home is None or not home.is_running():
            if self._background is None or not self._background.is_running():
                self._background = background_loop()
            home = self._background
        if home is asyncio.get_running_loop():
            return await coro
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coro, home))

    def rooms(self, sid: str, namespace: str | None = None) -> list[object]:
        """Return the rooms of a client, without `await` also in async code."""
        if on_loop():
            return super().rooms(sid, namespace)  # type: ignore[no-any-return]

        async def find() -> list[object]:
            return super(Server, self).rooms(sid, namespace)  # type: ignore[no-any-return]

        rooms: list[object] = wait(self.at_home(find()))
        return rooms

    # -- what clients send

    async def _handle_eio_connect(self, eio_sid: str, environ: Environ) -> None:
        self.loop = asyncio.get_running_loop()
        queue = self.eio.sockets[eio_sid].queue
        queue.packets = self.app.config["WEBSOCKET_SEND_QUEUE"]
        queue.size = self.app.config["WEBSOCKET_SEND_QUEUE_BYTES"]
        queue.cut_off = partial(self._cut_off, eio_sid)
        self.clients.setdefault(eio_sid, Client())
        await super()._handle_eio_connect(eio_sid, environ)
        self._expect_namespace(eio_sid)

    def is_full(self) -> bool:
        """Return `True` if the number of clients has reached `SOCKETIO_CLIENTS`."""
        most = self.app.config["SOCKETIO_CLIENTS"]
        if len(self.clients) < most:
            return False
        now = time.monotonic()
        if self._said_full is None or now > self._said_full + NOTICE_SECONDS:
            self._said_full = now
            self.app.logger.warning(
                "Socket.IO has %d clients, the maximum (SOCKETIO_CLIENTS), and rejects more.",
                most,
            )
        return True

    def _expect_namespace(self, eio_sid: str) -> None:
        """Close the client later if it is still in no namespace: then no handler accepted it."""
        seconds = self.app.config["SOCKETIO_CONNECT_TIMEOUT"]
        asyncio.get_running_loop().call_later(
            seconds, self._close_if_nowhere, eio_sid, context=Context()
        )

    def _close_if_nowhere(self, eio_sid: str) -> None:
        client = self.clients.get(eio_sid)
        if client is not None and not client.namespaces:
            self.app.logger.info(
                "A Socket.IO client was disconnected: it did not connect to a namespace within"
                " SOCKETIO_CONNECT_TIMEOUT."
            )
            self.eio.start_background_task(self.close_client, eio_sid)

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: object) -> None:
        name, client, config = namespace or "/", self.clients.get(eio_sid), self.app.config
        if client is None:
            return
        if len(name) > config["SOCKETIO_NAME_LENGTH"]:
            raise ValueError(f"a namespace whose name has {len(name)} characters")
        if (
            name not in client.namespaces
            and len(client.namespaces) >= config["SOCKETIO_NAMESPACES"]
        ):
            self.app.logger.warning(
                "A Socket.IO client was refused another namespace: it is in %d, the maximum"
                " (SOCKETIO_NAMESPACES).",
                len(client.namespaces),
            )
            refusal = {"message": "Too many namespaces"}
            error = self.packet_class(packet.CONNECT_ERROR, data=refusal, namespace=name)
            await self._send_packet(eio_sid, error)
            return
        client.namespaces.add(name)
        try:
            await super()._handle_connect(eio_sid, namespace, data)
        finally:
            self._see_whether_there(client, eio_sid, name)

    async def _handle_disconnect(
        self, eio_sid: str, namespace: str | None, reason: str | None = None
    ) -> None:
        await super()._handle_disconnect(eio_sid, namespace, reason)
        if (client := self.clients.get(eio_sid)) is not None:
            self._see_whether_there(client, eio_sid, namespace or "/")

    def _see_whether_there(self, client: Client, eio_sid: str, namespace: str) -> None:
        if self.manager.sid_from_eio_sid(eio_sid, namespace) is None:
            client.namespaces.discard(namespace)
            connection = self.eio.sockets.get(eio_sid)
            if not (client.namespaces or connection is None or connection.closing):
                self._expect_namespace(eio_sid)

    def warn_of_slow_client(self) -> None:
        self.app.logger.warning(
            "A Socket.IO client read too slowly and was disconnected (WEBSOCKET_SEND_TIMEOUT,"
            " WEBSOCKET_SEND_QUEUE or WEBSOCKET_SEND_QUEUE_BYTES)."
        )

    def _cut_off(self, eio_sid: str) -> None:
        self.warn_of_slow_client()
        self.eio.start_background_task(self._end, eio_sid, self.reason.TRANSPORT_ERROR)

    async def _end(self, eio_sid: str, reason: str) -> None:
        """End the connection of a client that is not there to be told."""
        if (connection := self.eio.sockets.get(eio_sid)) is not None:
            await connection.close(wait=False, abort=True, reason=reason)
            await connection.queue.put(None)
            self.eio.sockets.pop(eio_sid, None)

    async def _handle_eio_message(self, eio_sid: str, data: str | bytes) -> None:
        try:
            if (unfinished := self._binary_packet.get(eio_sid)) is not None:
                check_attachments(unfinished, data, self.app)
            await super()._handle_eio_message(eio_sid, data)
            if (begun := self._binary_packet.get(eio_sid)) is not None:
                check_attachments(begun, b"", self.app)
        except Exception as error:  # the parser may raise anything
            if calling_test.get() is not None:
                raise
            self.app.logger.warning(
                "A Socket.IO client sent an invalid packet and was disconnected: %r", error
            )
            self._binary_packet.pop(eio_sid, None)
            await self.close_client(eio_sid)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        try:
            await super()._handle_eio_disconnect(eio_sid, reason)
        finally:
            self._binary_packet.pop(eio_sid, None)
            self.clients.pop(eio_sid, None)
        if reason == self.reason.CLIENT_DISCONNECT and eio_sid in self.eio.sockets:
            # Ends a long poll that waits beside the request that disconnected; the client
            # waits for it.
            self.eio.sockets[eio_sid].queue.put_nowait(None)

    async def _handle_event(self, eio_sid: str, namespace: str, id: object, data: object) -> None:
        if not isinstance(data, list) or not data or not isinstance(data[0], str):
            raise ValueError("an event without a name")
        if data[0] in _RESERVED_EVENTS:
            raise ValueError(f"an event named {data[0]!r}")
        client = self.clients.get(eio_sid)
        if client is None:
            return
        # Until there is room, read nothing more from this client.
        is_there = partial(self._is_there, eio_sid)
        if not await client.room(self.app.config["SOCKETIO_EVENTS"], is_there):
            await self._end(eio_sid, self.reason.TRANSPORT_CLOSE)
            return
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace or "/")
        if sid is not None and self.manager.is_connected(sid, namespace or "/"):
            client.events += 1
        await super()._handle_event(eio_sid, namespace, id, data)

    def _is_there(self, eio_sid: str) -> bool:
        connection = self.eio.sockets.get(eio_sid)
        if connection is None or connection.closed:
            return False
        if connection.last_ping is not None:  # the pong may be among the unread data
            connection.last_ping = time.time()
        send = client_send.get()
        return send is None or not has_hung_up(send)

    async def _handle_event_internal(
        self, server: Any, sid: str, eio_sid: str, *args: object
    ) -> None:
        client = self.clients.get(eio_sid)
        try:
            await super()._handle_event_internal(server, sid, eio_sid, *args)
        except Exception:  # handlers' exceptions are handled before
            if calling_test.get() is not None:
                raise
            self.app.logger.exception("The return value of a Socket.IO handler could not be sent.")
        finally:
            if client is not None:
                client.ended()

    def threads(self) -> anyio.Semaphore:
        """The semaphore for events that take a worker thread. It allows fewer than the app has,
        so that some remain for requests."""
        if self._threads is None:
            config = self.app.config
            most = max(1, min(config["SOCKETIO_EVENT_THREADS"], config["WORKER_THREADS"] - 1))
            self._threads = anyio.Semaphore(most)
        return self._threads

    def is_wanted(self, sid: str, namespace: str, message: str | None) -> bool:
        """Return `True` if an event still has to be handled: not if its client has left
        meanwhile."""
        if message in ("connect", "disconnect", None):
            return True
        return bool(self.manager.is_connected(sid, namespace))

    # -- the end

    async def close_client(self, eio_sid: str) -> None:
        """Close a connection, if it exists."""
        if (connection := self.eio.sockets.get(eio_sid)) is not None:
            await _close(connection)

    async def close_clients(self) -> None:
        """Close all connections, so that their clients reconnect, to the next process."""
        connections = list(self.eio.sockets.values())
        await asyncio.gather(*map(_close, connections), return_exceptions=True)

    async def stop(self, timeout: float) -> None:
        """Undo all that was started, so that it can be started again."""
        await self.close_clients()
        self.eio.sockets.clear()
        tasks = self.eio.tasks.copy()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
            abandon_blocked(only_cancelled=True)
        for name in ("pubsub", "redis"):  # a Redis manager has these
            if (connection := getattr(self.manager, name, None)) is not None:
                await connection.aclose()
        self.manager.connected = False  # the next message reconnects
        self.manager_initialized = False
        self.eio.start_service_task = self._monitors_clients
        self.clients.clear()
        self._threads = None
        self.loop = None


async def _close(connection: Any) -> None:
    await connection.close(wait=False)
    await connection.queue.put(None)  # ends its writer after the close packet
