"""Mistakes that mypy and pyright find. A comment names the error of each, first mypy's and then
pyright's; a `-` stands for a checker that does not find it."""

from __future__ import annotations

from asyncflask import Flask, current_app, request, run_sync, session, websocket
from asyncflask.async_testing import AsyncClient
from asyncflask.rooms import Rooms
from asyncflask.testing import FlaskClient

app = Flask(__name__)
rooms = Rooms(app)


class Row:
    number = 1


def read_row(number: int) -> Row:
    return Row()


# -- a forgotten await


@app.websocket("/chat")
async def chat() -> None:
    websocket.accept()  # error: unused-coroutine reportUnusedCoroutine
    websocket.send("hello")  # error: unused-coroutine reportUnusedCoroutine
    websocket.send_json({"a": 1})  # error: unused-coroutine reportUnusedCoroutine
    message = websocket.receive()
    await websocket.send(message)  # error: arg-type reportArgumentType
    websocket.receive_json()["a"]  # error: index reportIndexIssue
    for text in websocket:  # error: attr-defined reportGeneralTypeIssues
        print(text)
    rooms.send("lobby", "hello")  # error: unused-coroutine reportUnusedCoroutine
    rooms.leave("lobby")  # error: unused-coroutine reportUnusedCoroutine
    rooms.join("lobby")  # error: unused-awaitable -
    for member in rooms.members("lobby"):  # error: attr-defined reportGeneralTypeIssues
        print(member)
    with rooms.join("lobby"):  # error: attr-defined reportGeneralTypeIssues
        pass
    run_sync(read_row, 1)  # error: unused-coroutine reportUnusedCoroutine
    websocket.close()  # error: unused-coroutine reportUnusedCoroutine


async def test_chat(client: AsyncClient) -> None:
    async with client.websocket_connect("/chat") as ws:
        ws.send("hello")  # error: unused-coroutine reportUnusedCoroutine
        ws.receive().upper()  # error: attr-defined reportAttributeAccessIssue
        for message in ws:  # error: attr-defined reportGeneralTypeIssues
            print(message)
    async with client.event_source("/events") as source:
        print(source.receive().event)  # error: attr-defined reportAttributeAccessIssue
    with client.session_transaction():  # error: attr-defined reportGeneralTypeIssues
        pass


# -- an await too many, and async code where sync code was meant


@app.websocket("/chat/sync")
def chat_in_a_thread() -> None:
    websocket.send("hello")  # error: unused-coroutine reportUnusedCoroutine
    message = websocket.sync.receive()
    message.decode()  # error: union-attr reportAttributeAccessIssue


async def wait_for_sync() -> None:
    await websocket.sync.send("hello")  # error: func-returns-value,misc reportGeneralTypeIssues
    async for message in websocket.sync:  # error: attr-defined reportGeneralTypeIssues
        print(message)


def test_sync(client: FlaskClient) -> None:
    with client.websocket_connect("/chat") as ws:
        ws.send(1)  # error: arg-type reportArgumentType
        ws.recieve()  # error: attr-defined reportAttributeAccessIssue
    with client.session_transaction() as opened:
        opened.user = "Ada"  # error: attr-defined reportAttributeAccessIssue
    client.websocket_connect("/chat", header={})  # error: call-arg reportCallIssue


# -- wrong arguments and values


async def call_wrongly() -> None:
    await run_sync(read_row)  # error: call-arg reportCallIssue
    await run_sync(read_row, "1")  # error: arg-type reportArgumentType
    row = await run_sync(read_row, 1)
    print(row.nubmer)  # error: attr-defined reportAttributeAccessIssue
    app.add_background_task(read_row, "1")  # error: arg-type reportArgumentType
    await rooms.send("lobby", "hello", exclude=1)  # error: arg-type reportArgumentType
    print(current_app.nmae)  # error: attr-defined reportAttributeAccessIssue
    print(request.agrs)  # error: attr-defined reportAttributeAccessIssue
    print(session.user)  # error: attr-defined reportAttributeAccessIssue


@app.get("/int")  # error: type-var reportArgumentType
def number() -> int:
    return 1


@app.get("/set")  # error: type-var reportArgumentType
async def numbers() -> set[int]:
    return {1}


@app.before_request  # error: type-var reportArgumentType
def before() -> int:
    return 1


@app.teardown_request  # error: type-var reportArgumentType
def teardown() -> None: ...


@app.errorhandler(str)  # error: arg-type reportArgumentType
def handler(error: ValueError) -> str:
    return ""
