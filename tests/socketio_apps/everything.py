"""A server for real Socket.IO clients: each kind of handler, sync and async."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from asyncflask import Flask, current_app, g, request, session
from asyncflask.socketio import (
    ConnectionRefusedError,
    Namespace,
    SocketIO,
    call,
    close_room,
    disconnect,
    emit,
    join_room,
    leave_room,
    rooms,
    send,
)

app = Flask(__name__)
app.config.update(SECRET_KEY="secret", SHUTDOWN_TIMEOUT=2)
options: dict[str, Any] = {}
if "QUEUE" in os.environ:
    options["message_queue"] = os.environ["QUEUE"]
if "IN_ORDER" in os.environ:
    options["async_handlers"] = False
socketio = SocketIO(app, **options)
teardowns: list[str] = []


@app.teardown_appcontext
def remember_teardown(error: BaseException | None) -> None:
    if name := g.pop("name", None):
        teardowns.append(name)


# -- requests


@app.get("/login/<name>")
def login(name: str) -> str:
    session["user"] = name
    return name


@app.get("/news/sync/<text>")
def sync_news(text: str) -> str:
    socketio.emit("news", text)
    return str(os.getpid())


@app.get("/news/async/<text>")
async def async_news(text: str) -> str:
    await socketio.emit("news", text)
    return str(os.getpid())


@app.get("/teardowns")
def show_teardowns() -> list[str]:
    return teardowns


# -- the default namespace


@socketio.on("connect")
def connect(auth: Any) -> Any:
    if isinstance(auth, dict) and auth.get("token") == "wrong":
        raise ConnectionRefusedError("Who are you?", {"hint": "a token"})
    if isinstance(auth, dict) and auth.get("token") == "broken":
        raise LookupError("in the handler of connect")
    session["sid"] = request.sid  # type: ignore[attr-defined]
    return None if auth != "no" else False


@socketio.on("disconnect")
def left(reason: str) -> None:
    print(f"left: {session['sid'] == request.sid} {reason}", flush=True)  # type: ignore[attr-defined]


@socketio.on("sync")
def sync_event(*args: Any) -> Any:
    assert threading.current_thread() is not threading.main_thread()
    g.name = "sync"
    emit("answer", args)
    return ("sync", *args)


@socketio.on("async")
async def async_event(*args: Any) -> Any:
    assert threading.current_thread() is threading.main_thread()
    g.name = "async"
    await emit("answer", args)
    return ("async", *args)


@socketio.event
async def unawaited(room: str) -> None:
    """As it was when it was plain: nothing of it is lost."""
    join_room(room)
    for number in range(3):
        emit("numbered", number, to=room)


@socketio.event
def ask_sync(question: str) -> Any:
    return call("question", question)


@socketio.event
async def ask_async(question: str) -> Any:
    return await call("question", question)


@socketio.event
def ask_with_callback(question: str) -> None:
    client = request.sid  # type: ignore[attr-defined]

    def answered(*answer: Any) -> None:
        emit("answered", [answer, request.sid == client, current_app.name])  # type: ignore[attr-defined]

    emit("question", question, callback=answered)


@socketio.on("enter")
def enter(room: str) -> list[str]:
    join_room(room)
    return sorted(room for room in rooms() if room != request.sid)  # type: ignore[attr-defined]


@socketio.on("leave")
async def leave(room: str) -> list[str]:
    await leave_room(room)
    return [room for room in rooms() if room != request.sid]  # type: ignore[attr-defined]


@socketio.on("say")
def say(room: str, text: str) -> None:
    send(text, to=room)


@socketio.on("say to the others")
async def say_to_others(room: str, text: str) -> None:
    await send(text, to=room, include_self=False)


@socketio.on("close the room")
def close_the_room(room: str) -> None:
    close_room(room)


@socketio.on("all")
def everybody(text: str) -> None:
    emit("news", text, broadcast=True)


@socketio.on("remember")
def remember(key: str, value: Any) -> Any:
    session[key] = value
    return dict(session)


@socketio.on("recall")
async def recall() -> Any:
    await asyncio.sleep(0)
    return {**session, "args": request.args.to_dict(), "is": session["sid"] == request.sid}  # type: ignore[attr-defined]


barrier = threading.Barrier(2, timeout=45)


@socketio.on("meet")
def meet() -> int:
    """Ends when it is handled twice at the same time."""
    return barrier.wait()


@socketio.on("slow sync")
def slow_sync(number: int) -> None:
    socketio.sleep(0.05 / (number + 1))
    emit("number", number)


@socketio.on("slow async")
async def slow_async(number: int) -> None:
    await socketio.sleep(0.05 / (number + 1))
    await emit("number", number)


@socketio.on("where")
def where() -> tuple[int, str]:
    return os.getpid(), request.sid  # type: ignore[attr-defined]


@socketio.on("ask another")
async def ask_another(sid: str, question: str) -> Any:
    return await call("question", question, to=sid)


@socketio.on("remove")
def remove(sid: str) -> None:
    disconnect(sid)


@socketio.on("leave me")
def leave_me() -> None:
    disconnect()


@socketio.on("fail")
async def fail() -> None:
    raise LookupError("in the handler of fail")


@socketio.on("cannot be sent")
def cannot_be_sent() -> Any:
    return app


@socketio.on("task")
async def task() -> None:
    async def later(sid: str) -> None:
        await socketio.sleep(0.01)
        await socketio.emit("news", "from a task", to=sid)

    def in_a_thread(sid: str) -> None:
        socketio.sleep(0.01)
        socketio.emit("news", "from a thread", to=sid)

    sid = request.sid  # type: ignore[attr-defined]
    await socketio.start_background_task(later, sid)
    socketio.start_background_task(in_a_thread, sid)


# -- others


class Room(Namespace):
    async def on_connect(self) -> None:
        await self.emit("welcome", {"path": request.path}, room=request.sid)  # type: ignore[attr-defined]

    def on_double(self, number: int) -> int:
        return number * 2

    async def on_broken(self) -> None:
        raise LookupError("nothing here")

    def error(self, error: Exception) -> str:
        return f"error: {error}"


socketio.on_namespace(Room("/room"))
