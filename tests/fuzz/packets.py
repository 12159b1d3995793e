"""Socket.IO clients that send packets which are none, or with attachments that never come: they
are refused, the log has no traceback, and others are answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any, Final

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from asyncflask import Flask
from asyncflask.socketio import SocketIO
from fuzz.common import SECONDS, expect, mutated, served

PATH: Final = "/socket.io/?EIO=4&transport="
PACKETS: Final = [
    b"40",
    b'40{"token":"x"}',
    b"40/other,",
    b"41",
    b"41/other,",
    b'42["echo",1]',
    b'421["echo",{"a":[1,null]}]',
    b'42/other,7["async","\xc3\xa9"]',
    b'43["late"]',
    b"431[]",
    b'44{"message":"x"}',
    b'451-["echo",{"_placeholder":true,"num":0}]',
    b'452-7["echo",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]',
    b'4599999999-["echo"]',
    b'461-1[{"_placeholder":true,"num":5}]',
    b'42["connect"]',
    b'42["disconnect"]',
    b'42["__init__",1]',
    b'42[["echo"],1]',
    b'42["echo"' + b",[" * 300,
    b"42" + b"[" * 5_000,
    b'42["echo",' + b"9" * 5_000 + b"]",
    b'42["echo",1e999,NaN]',
    b"2",
    b"3",
    b"2probe",
    b"5",
    b"6",
    b"1",
    b"4",
    b"",
    b"bAAEC",
    b"b%%%",
    b"\xff",
]

app = Flask(__name__, static_folder=None)
app.secret_key = "fuzz"
socketio = SocketIO(app)


@socketio.on("echo")
def echo(*args: Any) -> Any:
    return list(args)


@socketio.on("async")
async def echo_async(*args: Any) -> Any:
    return list(args)


@socketio.on("*", namespace="/other")
def anything(event: str, *args: Any) -> Any:
    return event


def random_packet(chance: Random) -> bytes:
    packet = chance.choice(PACKETS)
    return mutated(chance, packet[:200]) if chance.random() < 0.4 else packet


def by_websocket(chance: Random, port: int) -> None:
    url = f"ws://127.0.0.1:{port}{PATH}websocket"
    with suppress(ConnectionClosed), connect(url, compression=None, close_timeout=5) as client:
        client.recv(SECONDS)
        if chance.random() < 0.9:
            client.send("40")
            client.recv(SECONDS)
        for _ in range(chance.randrange(1, 8)):
            packet = random_packet(chance)
            if chance.random() < 0.3:
                client.send(packet)
                continue
            client.send(packet.decode("utf-8", "replace"))
        if chance.random() < 0.5:
            client.socket.close()


def by_polling(chance: Random, http: httpx.Client) -> None:
    opened = http.get(f"{PATH}polling")
    url = f"{PATH}polling&sid={json.loads(opened.text[1:])['sid']}"
    bodies = [b"40"] if chance.random() < 0.9 else []
    for _ in range(chance.randrange(1, 6)):
        packets = [random_packet(chance) for _ in range(chance.choice([1, 1, 2, 3, 17]))]
        body = chance.choice([b"\x1e", b"\x1e", b"\x1e", b"\n"]).join(packets)
        bodies.append(b"d=" + body if chance.random() < 0.1 else body)
    for body in [*bodies, b"1"]:
        status = http.post(url, content=body).status_code
        if status not in (200, 400, 413):
            raise AssertionError(f"{status} for {body!r}")


def ask(good: ClientConnection, number: int) -> None:
    """Others are answered meanwhile."""
    good.send(f'42{number}["async",{number}]')
    while (packet := str(good.recv(SECONDS))) == "2":
        good.send("3")
    expect("another client", packet, f"43{number}[[{number}]]")


@contextmanager
def fuzzer() -> Iterator[Any]:
    with (
        served(app, "httptools") as (port, errors),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS) as http,
        connect(f"ws://127.0.0.1:{port}{PATH}websocket") as good,
    ):
        good.recv(SECONDS)
        good.send("40")
        good.recv(SECONDS)

        def case(chance: Random) -> None:
            if chance.random() < 0.5:
                by_websocket(chance, port)
            else:
                by_polling(chance, http)
            ask(good, chance.randrange(1, 1_000))
            errors.check()

        yield case
