"""`websocket.sync`, `rooms.sync`: the object itself, with the types of sync code."""

from __future__ import annotations

import inspect

import pytest

from asyncflask import Flask, websocket
from asyncflask.asgi.client import (
    EventSource,
    SyncEventSource,
    SyncWebSocketSession,
    WebSocketSession,
)
from asyncflask.asgi.websocket import SyncWebSocket, WebSocket
from asyncflask.async_testing import AsyncClient
from asyncflask.rooms import Rooms, SyncRooms


@pytest.fixture
def app() -> Flask:
    app = Flask("sync_faces_test", static_folder=None)
    app.testing = True
    return app


def test_it_is_the_object_itself(app: Flask) -> None:
    rooms = Rooms(app)
    assert rooms.sync is rooms  # type: ignore[comparison-overlap]

    @app.websocket("/ws")
    def handler() -> None:
        first, second = websocket.sync, websocket.sync
        assert first is second
        first.send(second.receive())

    with app.test_client().websocket_connect("/ws") as ws:
        ws.send("a")
        assert ws.receive() == "a"


async def test_it_is_for_sync_code(app: Flask) -> None:
    with pytest.raises(RuntimeError, match=r"write 'await', as in 'await rooms.send"):
        _ = Rooms(app).sync

    @app.websocket("/ws")
    async def handler() -> None:
        websocket.sync.send("a")

    with pytest.raises(RuntimeError, match=r"write 'await', as in 'await websocket.receive"):
        async with AsyncClient(app).websocket_connect("/ws"):
            pass


@pytest.mark.parametrize(
    ("face", "itself"),
    [
        (SyncWebSocket, WebSocket),
        (SyncRooms, Rooms),
        (SyncWebSocketSession, WebSocketSession),
        (SyncEventSource, EventSource),
    ],
)
def test_it_has_the_same_methods(face: type, itself: type) -> None:
    methods = [
        (name, inspect.signature(value).parameters)
        for name, value in vars(face).items()
        if inspect.isfunction(value) and value.__name__ == name and name[0] != "_"
    ]
    assert methods
    for name, parameters in methods:
        assert parameters == inspect.signature(getattr(itself, name)).parameters, name
