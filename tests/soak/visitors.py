"""The visitors of the soak test: each does one thing after the other, chosen by its own seed, and
looks whether the answer is right and its own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from soak.wire import HOST, Connection, Reply

SECONDS: Final = 90.0
"""After which something hangs, on a busy machine too."""

KEEP_SECONDS: Final = 2.0
"""After this a visitor takes a new connection; the server drops idle ones after 5."""

COLOURS: Final = ("sync", "async", "mixed")

STAGES: Final = {
    "url_value_preprocessor": 500,
    "before_request": 500,
    "view": 500,
    "handled": 418,
    "errorhandler": 500,
    "after_this_request": 500,
    "after_request": 500,
    "teardown_request": 200,
    "teardown_appcontext": 200,
    "call_on_close": 200,
    "background": 200,
}
"""Where an error is asked for, and the status of the answer."""


class Load:
    """What the visitors share: where the server is, and what has happened."""

    def __init__(self, port: int, files: dict[str, bytes]) -> None:
        self.port = port
        self.files = files
        self.numbers = count()
        self.done: Counter[str] = Counter()
        """How often each thing was done."""
        self.requests = 0
        self.answered = 0
        """Requests with a token which were answered wholly."""
        self.tasks = 0
        self.faults: Counter[str] = Counter()
        self.stopping = asyncio.Event()

    def fault(self, what: str) -> None:
        if what in self.faults or len(self.faults) < 50:
            self.faults[what] += 1

    def expect(self, where: str, found: object, expected: object) -> None:
        if found != expected:
            self.fault(f"{where}: {found!r:.200} and not {expected!r:.200}")

    def token(self, kind: str = "calm") -> str:
        """Of a request whose answer is read to its end (``calm``), or whose client leaves."""
        return f"{kind}-{next(self.numbers)}"

    async def websocket(self, path: str, **options: Any) -> ClientConnection:
        self.requests += 1
        options = {"ping_interval": None, "compression": None, "open_timeout": SECONDS} | options
        return await connect(f"ws://{HOST}:{self.port}{path}", **options)


class Visitor:
    def __init__(self, load: Load, seed: str) -> None:
        self.load = load
        self.random = random.Random(seed)
        self.name = seed
        self.visits = 0
        self.cookie = ""
        self._connection: Connection | None = None
        self._used = 0.0

    async def stay(self, may_go_on: Callable[[], bool]) -> None:
        actions, weights = zip(*ACTIONS.items(), strict=True)
        while may_go_on():
            [action] = self.random.choices(actions, weights)
            await self.do(action)
        await self.close()

    async def do(self, action: Callable[[Visitor], Awaitable[None]]) -> None:
        name = action.__name__
        try:
            async with asyncio.timeout(SECONDS):
                await action(self)
        except Exception as error:
            self.load.fault(f"{name}: {error!r:.300}")
            await self.close()
        self.load.done[name] += 1

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def connection(self) -> Connection:
        """The one that is kept from request to request, unless the server may just close it."""
        now = time.monotonic()
        if now - self._used > KEEP_SECONDS:
            await self.close()
        self._used = now
        if self._connection is None:
            self._connection = await Connection.open(self.load.port)
        return self._connection

    async def ask(self, target: str, method: str = "GET", body: bytes = b"", *lines: str) -> Reply:
        self.load.requests += 1
        connection = await self.connection()
        await connection.send(target, method, body, *lines)
        reply = await connection.reply(method)
        if reply.headers.get("connection") == "close":
            await self.close()
        return reply

    def path(self, rule: str, token: str, colour: str = "", **query: object) -> str:
        colour = colour or self.random.choice(COLOURS)
        return f"/{colour}{rule}?{urlencode({'t': token, **query})}"

    async def json(self, rule: str, body: bytes = b"", *lines: str, **query: Any) -> Any:
        """Ask for something that answers with the token, and give the answer."""
        token = self.load.token()
        method = "POST" if lines or body else "GET"
        reply = await self.ask(self.path(rule, token, **query), method, body, *lines)
        self.load.answered += 1
        self.load.expect(rule, (reply.status, reply.headers.get("x-token")), (200, token))
        answer = json.loads(reply.body)
        self.load.expect(rule, answer["token"], token)
        return answer


# -- short requests


async def echo(self: Visitor) -> None:
    answer = await self.json("/echo")
    self.load.expect("context variable", answer["variable"], answer["token"])


async def in_a_row(self: Visitor) -> None:
    """Many requests on one connection, without a wait for the answers."""
    connection = await self.connection()
    tokens = [self.load.token() for _ in range(self.random.randrange(2, 8))]
    for token in tokens:
        await connection.send(self.path("/echo", token))
    for token in tokens:
        reply = await connection.reply()
        self.load.expect("in a row", json.loads(reply.body)["token"], token)
        self.load.answered += 1
    self.load.requests += len(tokens)


async def visit(self: Visitor) -> None:
    lines = [f"Cookie: {self.cookie}"] if self.cookie else []
    token = self.load.token()
    reply = await self.ask(self.path("/visit", token, name=self.name), "GET", b"", *lines)
    self.load.answered += 1
    self.cookie = reply.headers["set-cookie"].partition(";")[0]
    self.visits += 1
    expected = {"token": token, "name": self.name, "visits": self.visits}
    self.load.expect("session", json.loads(reply.body), expected)


async def nothing_there(self: Visitor) -> None:
    """404, 405, OPTIONS, HEAD, and a Host that is none."""
    choice = self.random.randrange(5)
    if choice == 0:
        reply = await self.ask(f"/nowhere/{self.random.random()}")
        self.load.expect("unknown path", reply.status, 404)
    elif choice == 1:
        reply = await self.ask("/sync/echo?t=none", "POST")
        self.load.expect("method", (reply.status, "GET" in reply.headers["allow"]), (405, True))
    elif choice == 2:
        token = self.load.token()
        reply = await self.ask(self.path("/echo", token), "OPTIONS")
        self.load.answered += 1
        self.load.expect("OPTIONS", (reply.status, reply.headers["x-token"]), (200, token))
    elif choice == 3:
        token = self.load.token()
        reply = await self.ask(self.path("/echo", token), "HEAD")
        self.load.answered += 1
        self.load.expect("HEAD", (reply.status, reply.headers["x-token"]), (200, token))
    else:
        connection = await Connection.open(self.load.port)
        connection.writer.write(b"GET /nowhere HTTP/1.1\r\nHost: a/b\r\n\r\n")
        self.load.requests += 1
        self.load.expect("bad Host", (await connection.reply()).status, 400)
        await connection.close()


async def file(self: Visitor) -> None:
    """A static file, whole, in part, or not at all."""
    name, content = self.random.choice(list(self.load.files.items()))
    choice = self.random.randrange(3)
    if choice == 0:
        reply = await self.ask(f"/static/{name}")
        self.load.expect("file", (reply.status, reply.body == content), (200, True))
        lines = [f"If-None-Match: {reply.headers['etag']}"]
        reply = await self.ask(f"/static/{name}", "GET", b"", *lines)
        self.load.expect("unchanged file", (reply.status, reply.body), (304, b""))
    elif choice == 1:
        first = self.random.randrange(len(content))
        last = self.random.randrange(first, len(content))
        reply = await self.ask(f"/static/{name}", "GET", b"", f"Range: bytes={first}-{last}")
        is_right = reply.body == content[first : last + 1]
        self.load.expect("range", (reply.status, is_right), (206, True))
    else:
        reply = await self.ask(f"/static/{name}", "GET", b"", "Range: bytes=99999999-")
        self.load.expect("no range", reply.status, 416)


async def form(self: Visitor) -> None:
    fields = {f"f{n}": self.random.randbytes(20).hex() for n in range(self.random.randrange(9))}
    if self.random.random() < 0.5:
        body = urlencode(fields).encode()
        kind, files = "application/x-www-form-urlencoded", {}
    else:
        # Now and then more than is kept in memory.
        sizes = [self.random.choice([0, 100, 5_000]) for _ in range(2)]
        if self.random.random() < 0.03:
            sizes[0] = 1_500_000
        parts = {f"file{n}": self.random.randbytes(size) for n, size in enumerate(sizes)}
        files = {name: hashlib.sha1(content).hexdigest() for name, content in parts.items()}
        body, kind = multipart(fields, parts), "multipart/form-data; boundary=soak"
    answer = await self.json("/form", body, f"Content-Type: {kind}")
    self.load.expect("form", (answer["fields"], answer["files"]), (fields, files))


def multipart(fields: dict[str, str], files: dict[str, bytes]) -> bytes:
    head = b'--soak\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    parts = [head % (name.encode(), b"", value.encode()) for name, value in fields.items()]
    parts += [head % (name.encode(), b'; filename="f"', data) for name, data in files.items()]
    return b"".join([*parts, b"--soak--\r\n"])


async def upload(self: Visitor) -> None:
    body = self.random.randbytes(self.random.choice([1, 1_000, 70_000]))
    if self.random.random() < 0.02:
        body *= 20
    rule, colour = self.random.choice([("/data", ""), ("/unread", ""), ("/digest", "async")])
    answer = await self.json(rule, body, "Content-Type: a/b", colour=colour)
    if "digest" in answer:
        self.load.expect(rule, answer["digest"], hashlib.sha1(body).hexdigest())


async def later(self: Visitor) -> None:
    self.load.tasks += 1
    await self.json("/later", n=self.random.randrange(2))


async def nested(self: Visitor) -> None:
    answer = await self.json("/nested", colour=self.random.choice(["sync", "mixed"]))
    self.load.expect("nested", answer["inner"], [f"inner-{answer['token']}"])


async def error(self: Visitor) -> None:
    stage, status = self.random.choice(list(STAGES.items()))
    token = self.load.token()
    reply = await self.ask(self.path("/fail", token, fail=stage))
    self.load.answered += 1
    self.load.expect(f"error in {stage}", reply.status, status)


async def stream(self: Visitor) -> None:
    token, n = self.load.token(), self.random.randrange(1, 8)
    rule = self.random.choice(["/stream", "/stream/async"])
    reply = await self.ask(self.path(rule, token, n=n))
    self.load.answered += 1
    lines = reply.body.decode().split("\n")
    self.load.expect("stream", set(lines), {token, ""})
    self.load.expect("stream", len(lines), 1 + n * (20_000 // (len(token) + 1)))


# -- clients who leave, or are slow


async def leave_stream(self: Visitor) -> None:
    connection = await Connection.open(self.load.port)
    self.load.requests += 1
    rule = self.random.choice(["/stream", "/stream/async", "/events"])
    await connection.send(self.path(rule, self.load.token("left"), n=100))
    await connection.reader.read(self.random.choice([1, 1_000, 100_000]))
    connection.leave()


async def break_stream(self: Visitor) -> None:
    """A stream that raises an error in the middle: the answer breaks off."""
    connection = await Connection.open(self.load.port)
    self.load.requests += 1
    rule = self.random.choice(["/stream", "/stream/async"])
    await connection.send(self.path(rule, self.load.token("broken"), n=3, fail="stream"))
    try:
        await connection.reply()
        self.load.fault("a stream that has failed looks whole")
    except (asyncio.IncompleteReadError, ValueError):
        pass
    connection.leave()


async def abort_upload(self: Visitor) -> None:
    connection = await Connection.open(self.load.port)
    self.load.requests += 1
    rule, colour = self.random.choice([("/data", ""), ("/form", ""), ("/digest", "async")])
    target = self.path(rule, self.load.token("left"), colour)
    kind = "multipart/form-data; boundary=soak"
    head = f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n"
    connection.writer.write(f"{head}Content-Length: 3000000\r\n\r\n".encode())
    body = multipart({}, {"file": bytes(2_000_000)})
    connection.writer.write(body[: self.random.choice([0, 10, 5_000, 1_500_000])])
    await asyncio.sleep(self.random.random() * 0.1)
    connection.leave()


async def send_slowly(self: Visitor) -> None:
    connection = await Connection.open(self.load.port)
    self.load.requests += 1
    token = self.load.token()
    target = self.path("/data", token)
    message = f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n".encode()
    message += b"x" * 50
    for start in range(0, len(message), 20):
        connection.writer.write(message[start : start + 20])
        await asyncio.sleep(0.05)
    reply = await connection.reply()
    self.load.answered += 1
    self.load.expect("slow client", json.loads(reply.body)["token"], token)
    await connection.close()


async def read_slowly(self: Visitor) -> None:
    connection = await Connection.open(self.load.port, buffer=10_000)
    self.load.requests += 1
    token = self.load.token()
    await connection.send(self.path("/stream", token, n=20))
    await asyncio.sleep(self.random.random())
    reply = await connection.reply()
    self.load.answered += 1
    self.load.expect("slow reader", set(reply.body.decode().split("\n")), {token, ""})
    await connection.close()


async def read_nothing(self: Visitor) -> None:
    connection = await Connection.open(self.load.port, buffer=10_000)
    self.load.requests += 1
    token = self.load.token("left")
    path = self.random.choice(["/static/large", self.path("/stream", token, n=1_000)])
    await connection.send(path)
    await asyncio.sleep(self.random.random() * 2)
    connection.leave()


# -- WebSockets


async def talk(self: Visitor) -> None:
    end = self.random.choice(["leave", "close", "close", "fail", "server", "bye"])
    token = self.load.token("left" if end == "leave" else "calm")
    connection = await self.load.websocket(self.path("/ws", token))
    for number in range(self.random.randrange(6)):
        await connection.send(str(number))
        self.load.expect("WebSocket", await connection.recv(), f"{token} {number}")
    if end == "leave":
        if self.random.random() < 0.5:
            await connection.send("an answer that nobody reads")
        connection.transport.abort()
        return
    self.load.answered += 1
    codes = {"fail": 1011, "server": 4001}
    if end in codes:
        await connection.send("fail" if end == "fail" else "close")
        try:
            self.load.fault(f"WebSocket: {await connection.recv()!r} after its end")
        except ConnectionClosed as closed:
            self.load.expect("WebSocket", closed.rcvd and closed.rcvd.code, codes[end])
    await connection.close()


async def denied(self: Visitor) -> None:
    """An error before the handshake, or no such path."""
    token = self.load.token()
    path, status = self.random.choice(
        [("/ws/nowhere", 404), (self.path("/ws", token, fail="websocket"), 500)]
    )
    self.load.answered += status == 500
    try:
        await self.load.websocket(path)
        self.load.fault(f"{path} was not denied")
    except InvalidStatus as error:
        self.load.expect("denied WebSocket", error.response.status_code, status)


async def flood(self: Visitor) -> None:
    """Does not read what comes, and is cut off by the server, or leaves before."""
    connection = await Connection.open(self.load.port, buffer=10_000)
    self.load.requests += 1
    await connection.send(
        self.path("/flood", self.load.token("left"), "async"),
        "GET",
        b"",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    await asyncio.sleep(self.random.random() * 3)
    connection.leave()


async def events(self: Visitor) -> None:
    connection = await Connection.open(self.load.port)
    self.load.requests += 1
    token = self.load.token("left")
    await connection.send(self.path("/events", token))
    for number in range(self.random.randrange(1, 20)):
        line = await connection.reader.readuntil(b"\n\n")
        data = json.loads(line.partition(b"data: ")[2])
        self.load.expect("events", data, {"token": token, "number": number})
    connection.leave()


# -- Socket.IO


async def socketio(self: Visitor) -> None:
    """A client by WebSocket."""
    token = self.load.token("socketio")
    connection = await self.load.websocket("/socket.io/?EIO=4&transport=websocket")
    self.load.expect("Socket.IO", (await connection.recv())[:1], "0")
    await connection.send(f"40{json.dumps({'token': token})}")
    self.load.expect("Socket.IO", (await connection.recv())[:2], "40")
    for number in range(self.random.randrange(5)):
        event = self.random.choice(["echo", "echo async"])
        await connection.send(f"42{number}{json.dumps([event, token, number])}")
        packet = str(await connection.recv())
        head, _, text = packet.partition("[")
        expected = (f"43{number}", [[token, number]])
        self.load.expect("Socket.IO", (head, json.loads(f"[{text}")), expected)
    if self.random.random() < 0.2:
        await connection.send('42["fail"]')
    if self.random.random() < 0.5:
        connection.transport.abort()
    else:
        await connection.close()


async def socketio_by_polling(self: Visitor) -> None:
    token = self.load.token("socketio")
    path = "/socket.io/?EIO=4&transport=polling"
    opened = await self.ask(path)
    path += f"&sid={json.loads(opened.body[1:])['sid']}"
    await self.ask(path, "POST", f"40{json.dumps({'token': token})}".encode())
    self.load.expect("polling", (await self.ask(path)).body[:2], b"40")
    for number in range(self.random.randrange(3)):
        event = self.random.choice(["echo", "echo async"])
        packet = f"42{number}{json.dumps([event, token, number])}"
        self.load.expect("polling", (await self.ask(path, "POST", packet.encode())).body, b"OK")
        packet = (await self.ask(path)).body.decode()
        head, _, text = packet.partition("[")
        expected = (f"43{number}", [[token, number]])
        self.load.expect("polling", (head, json.loads(f"[{text}")), expected)
    self.load.expect("polling", (await self.ask(path, "POST", b"41\x1e1")).status, 200)


ACTIONS: Final[dict[Callable[[Visitor], Awaitable[None]], int]] = {
    echo: 350,
    in_a_row: 50,
    visit: 120,
    nothing_there: 100,
    file: 70,
    form: 60,
    upload: 50,
    later: 20,
    nested: 15,
    error: 50,
    stream: 40,
    leave_stream: 15,
    break_stream: 5,
    abort_upload: 8,
    send_slowly: 3,
    read_slowly: 3,
    read_nothing: 3,
    talk: 15,
    denied: 3,
    flood: 1,
    events: 8,
    socketio: 6,
    socketio_by_polling: 6,
}
"""What visitors do, and how often of all that."""
