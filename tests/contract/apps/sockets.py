"""WebSocket handlers for every rule; `limited` allows other origins too."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

from asyncflask import (
    Blueprint,
    Flask,
    WebSocketDisconnect,
    abort,
    g,
    redirect,
    request,
    request_started,
    session,
    url_for,
    websocket,
)
from asyncflask.asgi.websocket import SyncWebSocket
from contract.apps.diary import write

blocking = cast(SyncWebSocket, websocket)
"""What 'def' handlers use: the proxy itself, as in code whose types nobody checks."""

app = Flask(__name__)
app.secret_key = "websockets"
app.config["TESTING"] = False


def note(event: str) -> None:
    if "id" in request.args:
        write(request.args["id"], event)


@app.before_request
def before() -> Any:
    note("before_request")
    if request.path.startswith("/login") and "user" not in session and request.path != "/login":
        return redirect(url_for("login")) if "redirect" in request.args else ("Log in first.", 401)
    g.seen = "before"
    return None


def started(sender: Any, **extra: Any) -> None:
    note("request_started")


request_started.connect(started, app)


@app.websocket("/echo")
async def echo() -> None:
    note("handler")
    async for message in websocket:
        await websocket.send(message)


@app.websocket("/echo/sync")
def echo_sync() -> None:
    note("handler")
    for message in blocking:
        blocking.send(message)


@app.websocket("/open", allowed_origins=["https://friend.example", "http://other.example:8080"])
async def open_to_friends() -> None:
    await websocket.send("hello")


@app.websocket("/any", allowed_origins=["*"])
async def open_to_all() -> None:
    await websocket.send("hello")


@app.websocket("/none", allowed_origins=[])
async def open_to_none() -> None:
    await websocket.send("hello")


# -- the end of a conversation


@app.websocket("/end/<how>")
async def end(how: str) -> Any:
    if how == "before":
        await websocket.close(4000)
        return
    await websocket.accept()
    if how == "raise":
        raise LookupError("on purpose")
    if how == "abort":
        abort(403)
    if how == "own":
        await websocket.close(4001, "enough")
    if how == "value":
        return "a value"


@app.websocket("/end/sync/<how>")
def end_sync(how: str) -> Any:
    blocking.accept()
    if how == "raise":
        raise LookupError("on purpose")
    if how == "own":
        blocking.close(4001, "enough")


class Refused(Exception):
    pass


@app.errorhandler(Refused)
def refused(error: Refused) -> Any:
    return {"refused": str(error)}, 402, {"X-Seen": g.seen}


@app.errorhandler(500)
async def server_error(error: Any) -> Any:
    return "the page for errors", 500


@app.websocket("/refuse/<colour>")
async def refuse(colour: str) -> Any:
    if colour == "error":
        raise Refused("not today")
    if colour == "crash":
        raise LookupError("on purpose")
    if colour == "abort":
        abort(404, "no such room")
    if colour == "bad":
        return "x", 200, {"X Bad": "1"}
    return "denied", 403, {"X-Why": "because"}


@app.websocket("/waits/<how>")
async def waits(how: str) -> None:
    await websocket.accept()
    note("waits")
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        note("cancelled")
        raise


@app.websocket("/late")
async def late() -> None:
    """Takes messages long after they came."""
    await websocket.accept()
    await asyncio.sleep(0.5)
    count = 0
    async for message in websocket:
        assert message == str(count), message
        count += 1
        if count == 1_000:
            await websocket.send("in order")


@app.websocket("/late/sync")
def late_sync() -> None:
    blocking.accept()
    time.sleep(0.5)
    for count in range(1_000):
        assert blocking.receive() == str(count)
    blocking.send("in order")


@app.websocket("/never")
async def never() -> None:
    """Takes no message at all."""
    await websocket.accept()
    await asyncio.sleep(600)


# -- handshake


@app.route("/login")
def login() -> str:
    session["user"] = "me"
    return "logged in"


@app.websocket("/login/ws")
async def logged_in() -> None:
    await websocket.send(session["user"])


@app.websocket("/login/ws/sync")
def logged_in_sync() -> None:
    blocking.send(session["user"])


@app.websocket("/count")
async def counting() -> None:
    session["count"] = session.get("count", 0) + 1
    await websocket.send(str(session["count"]))


@app.websocket("/protocols", subprotocols=["v2", "v1"])
async def protocols() -> None:
    await websocket.accept()
    await websocket.send_json(websocket.subprotocol)


@app.websocket("/small", max_message_size=10)
async def small() -> None:
    try:
        while True:
            await websocket.send(await websocket.receive())
    except WebSocketDisconnect as end:
        note(f"ended {end.code} {end.reason}")


@app.websocket("/small/sync", max_message_size=10)
def small_sync() -> None:
    for message in blocking:
        blocking.send(message)
    note(f"ended {websocket.close_code} {websocket.close_reason}")


@app.websocket("/accept")
async def accept() -> None:
    await websocket.accept("chat", headers=[("X-Own", "yes"), ("Set-Cookie", "a=b")])
    await websocket.send_json(websocket.requested_subprotocols)


@app.websocket("/accept/bad/<how>")
async def accept_bad(how: str) -> None:
    if how == "subprotocol":
        await websocket.accept("other")
    if how == "line":
        await websocket.accept(headers=[("X-Own", "a\r\nSet-Cookie: c=d")])
    if how == "name":
        await websocket.accept(headers=[("X Own", "a")])


rooms = Blueprint("rooms", __name__, url_prefix="/rooms")


@rooms.websocket("/<int:number>")
async def room(number: int) -> None:
    await websocket.send_json(
        [
            url_for("echo"),
            url_for("login"),
            url_for("rooms.room", number=number + 1),
            url_for(".room", number=1, x="y"),
            url_for("login", _external=True),
            request.endpoint,
            request.path,
            request.method,
            g.seen,
        ]
    )


app.register_blueprint(rooms)


@app.get("/only-http")
async def only_http() -> str:
    return "http"


limited = Flask(__name__)
limited.config["WEBSOCKET_ALLOWED_ORIGINS"] = ["https://friend.example"]


@limited.websocket("/echo")
async def limited_echo() -> None:
    await websocket.send("hello")


@limited.websocket("/strict", allowed_origins=["https://best.example"])
async def limited_strict() -> None:
    await websocket.send("hello")
