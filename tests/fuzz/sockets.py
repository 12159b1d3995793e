"""WebSockets whose two ends do anything in any order: the handler ends when its client has left,
the log has no traceback, and the server goes on."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final

import httpx

from asyncflask import Flask, WebSocketDisconnect, request, websocket
from fuzz.common import SECONDS, expect, served

STEPS: Final = [
    *("receive", "receive", "receive", "send", "send", "bytes", "json", "json?", "accept"),
    *("close", "close", "pause", "wait", "large"),
]

app = Flask(__name__, static_folder=None)
ended: dict[str, threading.Event] = {}


@app.teardown_request
def teardown(error: BaseException | None) -> None:
    if "id" in request.args:
        ended[request.args["id"]].set()


@app.get("/")
async def index() -> str:
    return "fine"


def choices() -> Random:
    return random.Random(request.args["id"])


@app.websocket("/sync")
def handler() -> None:
    chance = choices()
    for _ in range(chance.randrange(8)):
        try:
            sync_step(chance, chance.choice(STEPS))
        except WebSocketDisconnect:
            raise
        except (RuntimeError, ValueError, TimeoutError):
            pass  # what is not allowed now, or is no JSON


def sync_step(chance: Random, step: str) -> None:
    ws = websocket.sync
    match step:
        case "receive":
            ws.receive()
        case "wait":
            ws.receive(timeout=0.01)
        case "json?":
            ws.receive_json()
        case "send":
            ws.send("é" * chance.randrange(200))
        case "bytes":
            ws.send(bytes(chance.randrange(200)))
        case "large":
            ws.send(bytes(200_000))
        case "json":
            ws.send_json({"a": [1]})
        case "accept":
            ws.accept()
        case "close":
            ws.close(chance.choice([1000, 1001, 3000, 4999]), "é" * chance.randrange(40))


@app.websocket("/async")
async def handler_async() -> None:
    chance = choices()
    for _ in range(chance.randrange(8)):
        try:
            await async_step(chance, chance.choice(STEPS))
        except WebSocketDisconnect:
            raise
        except (RuntimeError, ValueError, TimeoutError):
            pass


async def async_step(chance: Random, step: str) -> None:
    match step:
        case "receive":
            await websocket.receive()
        case "wait":
            async with asyncio.timeout(0.01):
                await websocket.receive()
        case "json?":
            await websocket.receive_json()
        case "send":
            await websocket.send("é" * chance.randrange(200))
        case "bytes":
            await websocket.send(bytes(chance.randrange(200)))
        case "large":
            await websocket.send(bytes(200_000))
        case "json":
            await websocket.send_json({"a": [1]})
        case "accept":
            await websocket.accept()
        case "close":
            code = chance.choice([1000, 1001, 3000, 4999])
            await websocket.close(code, "é" * chance.randrange(40))
        case "pause":
            await asyncio.sleep(0.005)


def frame(opcode: int, payload: bytes, *, final: bool = True, reserved: int = 0) -> bytes:
    """A frame of a client (RFC 6455 section 5.2)."""
    mask = os.urandom(4)
    head = bytes([(final << 7) | (reserved << 4) | opcode])
    if len(payload) < 126:
        head += bytes([0x80 | len(payload)])
    else:
        head += bytes([0x80 | 126]) + len(payload).to_bytes(2)
    return head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))


def random_frames(chance: Random) -> bytes:
    text = chance.choice([b"", b"a", "é".encode(), b'{"a": 1}', b"[" * 200, b"x" * 3_000])
    match chance.randrange(14):
        case 0 | 1 | 2 | 3:
            return frame(1, text)
        case 4 | 5:
            return frame(2, chance.randbytes(chance.randrange(300)))
        case 6:
            place = chance.randrange(len(text) + 1)
            return frame(1, text[:place], final=False) + frame(0, text[place:])
        case 7:
            return frame(9, text[:125]) + frame(10, b"")
        case 8:
            code = chance.choice([1000, 1001, 1005, 1006, 1015, 999, 2999, 4000, 65535])
            return frame(8, code.to_bytes(2) + chance.choice([b"", b"bye", b"\xff"]))
        case 9:
            return frame(8, chance.choice([b"", b"\x03"]))
        case 10:
            return frame(1, b"\xff\xfe")  # no UTF-8
        case 11:
            return frame(chance.choice([0, 3, 11]), b"", reserved=chance.choice([0, 0, 4, 1]))
        case 12:
            return chance.randbytes(chance.randrange(1, 10))
        case _:
            return frame(1, text)[: chance.randrange(1, 4)]


def open_connection(port: int, path: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=0.02)
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: Upgrade"]
    lines += ["Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]
    connection.sendall("\r\n".join(lines).encode())
    return connection


@contextmanager
def fuzzer() -> Iterator[Any]:
    with served(app, "httptools") as (port, errors), httpx.Client() as client:

        def case(chance: Random) -> None:
            name = str(chance.random())
            ended[name] = threading.Event()
            connection = open_connection(port, f"/{chance.choice(['sync', 'async'])}?id={name}")
            with connection:
                try:
                    for _ in range(chance.randrange(7)):
                        if chance.random() < 0.4:
                            connection.settimeout(chance.choice([0.001, 0.01]))
                            connection.recv(100_000)
                        connection.sendall(random_frames(chance))
                except (TimeoutError, ConnectionError):
                    pass
                if chance.random() < 0.5:  # without a word: a reset
                    linger = b"\x01\0\0\0\0\0\0\0"
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            if not ended[name].wait(SECONDS):
                raise AssertionError("the handler does not end")
            del ended[name]
            errors.check()
            answer = client.get(f"http://127.0.0.1:{port}/", timeout=SECONDS)
            expect("another client", answer.text, "fine")

        yield case
