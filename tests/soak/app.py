"""The app of the soak test: something of everything, sync, async and mixed, on three blueprints.

Each request brings a token, ``?t=<kind>-<number>``, which must be found wherever code of that
request looks, and nowhere else. What is wrong is written into the ledger.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from functools import wraps
from typing import Any, Final

from asyncflask import (
    Blueprint,
    EventStream,
    Flask,
    Response,
    after_this_request,
    current_app,
    g,
    request,
    run_sync,
    session,
    stream_with_context,
    websocket,
)
from asyncflask.async_testing import AsyncClient
from asyncflask.rooms import Rooms, RoomsError
from asyncflask.socketio import SocketIO
from soak.ledger import Deliberate, Ledger, NotDeliberate, holdings

CHUNK: Final = 20_000
"""How many bytes a chunk of a stream has."""

app = Flask(__name__, static_folder=os.environ["SOAK_FILES"], static_url_path="/static")
app.config.update(SECRET_KEY="of the soak test", SHUTDOWN_TIMEOUT=4, ROOMS_HISTORY=2_000)
app.config.from_prefixed_env()
rooms = Rooms(app)
socketio = SocketIO(app)
ledger = Ledger()
variable: ContextVar[str | None] = ContextVar("variable", default=None)
local = threading.local()

for name in app.logger.name, "uvicorn.error", "asyncio":
    logging.getLogger(name).addFilter(NotDeliberate(ledger))


class Handled(Deliberate):
    """Has an error handler."""


def fail(stage: str) -> None:
    """Raise an error, if that is what the client asks for."""
    if request.args.get("fail") == stage:
        ledger.count(f"raised {stage}")
        raise Deliberate(stage)


def check(where: str) -> None:
    """That this code sees its own request, and no other."""
    ledger.same(where, request.args["t"], g.token, variable.get())


def check_thread(where: str) -> None:
    """In sync code: that this is the request's thread."""
    if g.sync_hooks:
        ledger.same(f"thread in {where}", local.token, g.token)


# -- hooks, the same for each blueprint, in the one kind of function or the other


def preprocess(endpoint: str | None, values: dict[str, Any] | None) -> None:
    g.begun = request.args["t"]
    ledger.begin(g.begun)
    fail("url_value_preprocessor")


def before() -> None:
    ledger.same("before the request", variable.get(), g.get("token"), None)
    g.token = request.args["t"]
    g.fail = request.args.get("fail")
    g.sync_hooks = False
    variable.set(g.token)
    fail("before_request")


def before_sync() -> None:
    ledger.same("thread before the request", getattr(local, "token", None), None)
    local.token = request.args["t"]
    g.sync_hooks = True


def after(response: Response) -> Response:
    if "token" in g:
        check("after_request")
    response.headers["X-Token"] = request.args["t"]
    fail("after_request")
    return response


def teardown(error: BaseException | None) -> None:
    if "token" in g:
        check("teardown_request")
    if "begun" in g:
        ledger.end(request.args["t"])
    elif not request.args["t"].startswith("left-"):  # before its body had come
        ledger.fault(f"{request.args['t']} was torn down, and has not begun")
    fail("teardown_request")


def teardown_sync(error: BaseException | None) -> None:
    if "sync_hooks" in g:
        check_thread("teardown_request")
    local.token = None


def as_async(func: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(func)
    async def async_func(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return func(*args, **kwargs)

    return async_func


sync_code, async_code, mixed_code = (Blueprint(n, n) for n in ("sync", "async", "mixed"))
for blueprint, kind in (sync_code, lambda f: f), (async_code, as_async), (mixed_code, as_async):
    blueprint.url_value_preprocessor(kind(preprocess))
    blueprint.before_request(kind(before))
    blueprint.after_request(kind(after))
    blueprint.teardown_request(kind(teardown))
for blueprint in sync_code, mixed_code:
    blueprint.before_request(before_sync)
    blueprint.teardown_request(teardown_sync)


@app.teardown_appcontext
def teardown_app(error: BaseException | None) -> None:
    if g.get("fail") == "teardown_appcontext":
        ledger.count("raised teardown_appcontext")
        raise Deliberate("teardown_appcontext")


@app.errorhandler(Handled)
async def handled(error: Handled) -> Any:
    check("error handler")
    fail("errorhandler")
    return "handled", 418


@app.errorhandler(RoomsError)
def redis_is_away(error: RoomsError) -> Any:
    return "Redis is away", 503


def everywhere(rule: str, **options: Any) -> Callable[[Callable[..., Any]], None]:
    """Have a view on each blueprint, on two of them as an async one."""

    def register(view: Callable[..., Any]) -> None:
        sync_code.add_url_rule(rule, view.__name__, view, **options)
        for blueprint in async_code, mixed_code:
            blueprint.add_url_rule(rule, view.__name__, as_async(view), **options)

    return register


# -- views


@everywhere("/echo")
def echo() -> Any:
    check("echo")
    return {"token": g.token, "variable": variable.get()}


@everywhere("/visit")
def visit() -> Any:
    """A session that counts, and belongs to whoever began it."""
    session["visits"] = session.get("visits", 0) + 1
    session.setdefault("name", request.args["name"])
    return {"token": g.token, "name": session["name"], "visits": session["visits"]}


@everywhere("/form", methods=["POST"])
def form() -> Any:
    fields = request.form.to_dict()
    files = {name: hashlib.sha1(file.read()).hexdigest() for name, file in request.files.items()}
    check("form")
    return {"token": g.token, "fields": fields, "files": files}


@everywhere("/data", methods=["POST"])
def data() -> Any:
    return {"token": g.token, "digest": hashlib.sha1(request.get_data()).hexdigest()}


@everywhere("/unread", methods=["POST"])
def unread() -> Any:
    return {"token": g.token}


@async_code.post("/digest", stream=True)
async def digest() -> Any:
    digest = hashlib.sha1()
    async for chunk in request.stream:
        digest.update(chunk)
    check("digest")
    return {"token": g.token, "digest": digest.hexdigest()}


@everywhere("/fail")
def fails() -> Any:
    """Raises an error in the stage that is asked for."""
    fail("view")
    if request.args["fail"] in ("handled", "errorhandler"):
        raise Handled("handled")
    if request.args["fail"] == "after_this_request":
        after_this_request(fails_after)
    if request.args["fail"] == "call_on_close":
        stage = Deliberate("call_on_close")
        ledger.count("raised call_on_close")
        response = Response("closed")
        response.call_on_close(lambda: throw(stage))
        return response
    if request.args["fail"] == "background":
        ledger.count("raised background")
        app.add_background_task(throw, Deliberate("background"))
    return {"token": g.token}


def fails_after(response: Response) -> Response:
    fail("after_this_request")
    return response


def throw(error: Exception) -> None:
    raise error


@everywhere("/later")
def later() -> Any:
    ledger.count("tasks begun")
    work = work_async if int(request.args["n"]) % 2 else work_sync
    app.add_background_task(work, g.token)
    return {"token": g.token}


def work_sync(token: str) -> None:
    ledger.same("app context of a task", current_app.name, app.name)
    ledger.same("g of a task", g.get("token"), None)
    time.sleep(0.002)
    ledger.count("tasks done")


async def work_async(token: str) -> None:
    await asyncio.sleep(0.002)
    ledger.count("tasks done")


other = Flask("other", static_folder=None)
other.before_request(lambda: setattr(g, "token", request.args["t"]))


@other.get("/sync")
def other_sync() -> Any:
    return [g.token]


@other.get("/async")
async def other_async() -> Any:
    return [g.token]


@sync_code.get("/nested")
def nested_sync() -> Any:
    """A request within a request."""
    inner = other.test_client().get(f"/async?t=inner-{g.token}").json
    check("nested")
    check_thread("nested")
    return {"token": g.token, "inner": inner}


@mixed_code.get("/nested")
async def nested_async() -> Any:
    async with AsyncClient(other) as client:
        inner = (await client.get(f"/sync?t=inner-{g.token}")).json()
    check("nested")
    await run_sync(check_thread, "run_sync")
    return {"token": g.token, "inner": inner}


# -- streams: each chunk is lines of the token


def chunk() -> str:
    line = f"{g.token}\n"
    return line * (CHUNK // len(line))


@everywhere("/stream")
def stream() -> Any:
    @stream_with_context
    def generate() -> Iterator[str]:
        try:
            for number in range(int(request.args["n"])):
                check("stream")
                check_thread("stream")
                if number == 1:
                    fail("stream")
                yield chunk()
        finally:
            check_thread("end of a stream")
            check("end of a stream")

    return generate()


@everywhere("/stream/async")
def stream_async() -> Any:
    @stream_with_context
    async def generate() -> AsyncIterator[str]:
        try:
            for number in range(int(request.args["n"])):
                check("stream")
                if number == 1:
                    fail("stream")
                yield chunk()
                if number % 3 == 0:
                    await asyncio.sleep(0.001)
        finally:
            check("end of a stream")

    return generate()


@everywhere("/events")
def events() -> Any:
    @stream_with_context
    async def generate() -> AsyncIterator[Any]:
        for number in range(1_000_000):
            check("events")
            yield {"token": g.token, "number": number}
            await asyncio.sleep(0.005)

    return EventStream(generate())


# -- WebSockets


def answer(message: str | bytes) -> str:
    check("websocket")
    if message == "fail":
        ledger.count("raised websocket")
        raise Deliberate("websocket")
    return f"{g.token} {message!s}"


@sync_code.websocket("/ws")
def talk() -> None:
    fail("websocket")
    for message in websocket.sync:
        check_thread("websocket")
        if message == "close":
            websocket.sync.close(4001, "as asked")
            return
        websocket.sync.send(answer(message))


async def talk_async() -> None:
    fail("websocket")
    async for message in websocket:
        if message == "close":
            await websocket.close(4001, "as asked")
            return
        await websocket.send(answer(message))


@async_code.websocket("/flood", send_timeout=1)
async def flood() -> None:
    """More than a client takes that does not read."""
    for _ in range(300):
        await websocket.send(bytes(100_000))


for blueprint in async_code, mixed_code:
    blueprint.websocket("/ws")(talk_async)


# -- rooms


@async_code.websocket("/rooms/<room>/<name>")
async def in_room(room: str, name: str) -> None:
    async with rooms.join(room, name):
        await websocket.send("joined")
        async for _ in websocket:
            check("room")


@sync_code.websocket("/rooms/<room>/<name>")
def in_room_sync(room: str, name: str) -> None:
    with rooms.sync.join(room, name):
        websocket.sync.send("joined")
        for _ in websocket.sync:
            check("room")


@sync_code.post("/publish/<room>")
def publish_sync(room: str) -> Any:
    rooms.sync.send(room, request.get_data(as_text=True))
    return {"token": g.token}


@async_code.post("/publish/<room>")
async def publish_async(room: str) -> Any:
    await rooms.send(room, request.get_data(as_text=True))
    return {"token": g.token}


@async_code.get("/follow/<room>")
async def follow(room: str) -> Any:
    return EventStream(rooms.follow(room))


@app.get("/members/<room>")
async def members(room: str) -> Any:
    return [member.name for member in await rooms.members(room)]


# -- Socket.IO


@socketio.on("connect")
def connected(auth: Any) -> None:
    session["token"] = auth["token"]
    ledger.count("Socket.IO clients connected")


@socketio.on("echo")
def echo_event(token: str, value: object) -> Any:
    ledger.same("Socket.IO", token, session["token"])
    return [token, value]


@socketio.on("echo async")
async def echo_event_async(token: str, value: object) -> Any:
    await asyncio.sleep(0)
    ledger.same("Socket.IO", token, session["token"])
    return [token, value]


@socketio.on("fail")
def fail_event() -> None:
    ledger.count("raised socketio")
    raise Deliberate("socketio")


@socketio.on("disconnect")
def disconnected(reason: str) -> None:
    ledger.count("Socket.IO clients gone")


# -- what the test asks


@app.get("/internal/state")
async def state() -> Any:
    return {
        "holdings": holdings(),
        "open": sorted(ledger.open)[:20],
        "open requests": len(ledger.open),
        "counts": ledger.counts,
        "faults": ledger.faults,
    }


app.register_blueprint(sync_code, url_prefix="/sync")
app.register_blueprint(async_code, url_prefix="/async")
app.register_blueprint(mixed_code, url_prefix="/mixed")
