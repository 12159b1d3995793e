"""Typed messages of WebSockets."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from asyncflask import Flask, WebSocketDisconnect, websocket
from asyncflask.api import Api, InvalidMessage, Query


class Say(BaseModel):
    text: str


class Said(Say):
    by: str


@pytest.fixture
def app() -> Flask:
    app = Flask("messages", static_folder=None)
    api = Api(app)

    @app.websocket("/async/<name>")
    @api.typed
    async def on_loop(name: Annotated[str, Field(max_length=5)], n: int = 1) -> None:
        say: Say = await websocket.receive_as(Say)
        await websocket.send_as(Said, {"text": say.text * n, "by": name})
        await websocket.receive_as(Annotated[list[int], Field(max_length=2)])

    @app.websocket("/sync/<name>")
    @api.typed
    def in_thread(
        name: Annotated[str, Field(max_length=5)], n: Annotated[int, Query()] = 1
    ) -> None:
        say: Say = websocket.sync.receive_as(Say)
        websocket.sync.send_as(Said, {"text": say.text * n, "by": name})
        websocket.sync.receive_as(list[int])

    @app.websocket("/again")
    @api.typed
    async def again() -> None:
        try:
            await websocket.receive_as(Say, timeout=45)
        except InvalidMessage as error:
            await websocket.send(str(error))

    return app


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_messages(app: Flask, colour: str) -> None:
    with app.test_client().websocket_connect(f"/{colour}/Ada?n=2") as ws:
        ws.send_json({"text": "hi"})
        assert ws.receive_json() == {"text": "hihi", "by": "Ada"}
        ws.send('["x"]')
        with pytest.raises(WebSocketDisconnect) as info:
            ws.receive()
    assert (info.value.code, info.value.reason[:4]) == (1007, "#/0:")


def test_an_invalid_message_may_be_handled(app: Flask) -> None:
    with app.test_client().websocket_connect("/again") as ws:
        ws.send("{}")
        assert ws.receive() == "#/text: Field required"
        with pytest.raises(WebSocketDisconnect):
            ws.receive()


@pytest.mark.parametrize("url", ["/sync/Charles", "/async/Ada?n=x"])
def test_an_invalid_handshake_is_denied(app: Flask, url: str) -> None:
    client = app.test_client()
    with pytest.raises(Exception, match="422"), client.websocket_connect(url):
        pass


def test_the_core_imports_nothing_of_it() -> None:
    code = """
import sys, asyncflask
from asyncflask import Flask, websocket
app = Flask("a")
@app.websocket("/")
def view(): websocket.receive_as(int)
try:
    with app.test_client().websocket_connect("/") as ws:
        ws.send("1"); ws.receive()
except BaseException: pass
assert "pydantic" not in sys.modules and "asyncflask.api" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    assert "import asyncflask.api" in done.stderr
