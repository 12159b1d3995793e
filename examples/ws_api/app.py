"""An API over one WebSocket: calls and answers, errors, and subscriptions.

All messages are JSON objects. A call is ``{"id": 1, "method": "add", "params": {"title":
"a"}}``; its answer is ``{"id": 1, "result": ...}`` or ``{"id": 1, "error": {"code": ...,
"message": ...}}``. A client that has called ``subscribe`` also receives ``{"event": "added",
"data": ...}``. The calls of a connection run concurrently, so answers may arrive in any order;
the ids tell them apart.

The tasks are stored in this process's memory; a real app would use a database.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from asyncflask import Flask, Response, WebSocketDisconnect, render_template, websocket
from asyncflask.rooms import Rooms

CALLS_AT_ONCE = 8  # per connection; further calls wait
TITLE_LENGTH = 200  # characters
TASKS = 1000

PARSE_ERROR = "parse_error"
INVALID_CALL = "invalid_call"
UNKNOWN_METHOD = "unknown_method"
INVALID_PARAMS = "invalid_params"
NOT_FOUND = "not_found"
LIMIT = "limit"
INTERNAL = "internal"

app = Flask(__name__)
rooms = Rooms(app, url=os.environ.get("ROOMS_URL"))
tasks: dict[int, dict[str, Any]] = {}
numbers = count(1)

Method = Callable[..., Awaitable[Any]]
methods: dict[str, Method] = {}


class ApiError(Exception):
    """A mistake of the caller."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def method(func: Method) -> Method:
    """Register a method under the function's name. The call's params become its arguments."""
    methods[func.__name__] = func
    return func


@app.get("/")
def page() -> str:
    return render_template("tasks.html")


@app.after_request
def only_our_own(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
    return response


@app.websocket("/api")
async def api() -> None:
    await websocket.accept()
    slots = asyncio.Semaphore(CALLS_AT_ONCE)

    async def answer_and_go(message: str | bytes) -> None:
        try:
            await websocket.send_json(await answer(message))
        except WebSocketDisconnect:
            pass  # done, but the client has left
        finally:
            slots.release()

    async with asyncio.TaskGroup() as group:
        await slots.acquire()
        async for message in websocket:
            group.create_task(answer_and_go(message))
            await slots.acquire()


async def answer(message: str | bytes) -> dict[str, Any]:
    id = None
    try:
        call = parse(message)
        id = call.get("id")
        return {"id": id, "result": await run(call)}
    except ApiError as error:
        return {"id": id, "error": {"code": error.code, "message": str(error)}}
    except Exception:
        app.logger.exception("A call failed.")
        return {"id": id, "error": {"code": INTERNAL, "message": "Something went wrong here."}}


def parse(message: str | bytes) -> dict[str, Any]:
    try:
        call = json.loads(message)
    except (ValueError, RecursionError):
        raise ApiError(PARSE_ERROR, "That is not JSON.") from None
    if not isinstance(call, dict):
        raise ApiError(INVALID_CALL, "A call is an object.")
    return call


async def run(call: dict[str, Any]) -> Any:
    if type(call.get("id")) not in (int, str):
        raise ApiError(INVALID_CALL, "A call has an 'id', a number or a string.")
    name, params = call.get("method"), call.get("params", {})
    if not isinstance(name, str) or not isinstance(params, dict):
        raise ApiError(INVALID_CALL, "A call has a 'method', a string, and 'params', an object.")
    func = methods.get(name)
    if func is None:
        raise ApiError(UNKNOWN_METHOD, f"There is no method {name!r}.")
    try:
        inspect.signature(func).bind(**params)
    except TypeError as error:
        raise ApiError(INVALID_PARAMS, f"{name}: {error}.") from None
    return await func(**params)


# -- methods


@method
async def subscribe() -> None:
    """Send this connection an event for every change."""
    await rooms.leave("tasks")  # in case it is subscribed already
    await rooms.join("tasks")


@method
async def unsubscribe() -> None:
    await rooms.leave("tasks")


@method
async def list_tasks() -> list[dict[str, Any]]:
    return list(tasks.values())


@method
async def add(title: str) -> dict[str, Any]:
    if not isinstance(title, str) or not 0 < len(title.strip()) <= TITLE_LENGTH:
        raise ApiError(INVALID_PARAMS, f"A title has 1 to {TITLE_LENGTH} characters.")
    if len(tasks) >= TASKS:
        raise ApiError(LIMIT, f"There are {TASKS} tasks; remove one first.")
    number = next(numbers)
    task = tasks[number] = {"number": number, "title": title.strip(), "done": False}
    await tell("added", task)
    return task


@method
async def finish(number: int) -> dict[str, Any]:
    task = find(number)
    task["done"] = True
    await tell("finished", task)
    return task


@method
async def remove(number: int) -> None:
    task = tasks.pop(find(number)["number"])
    await tell("removed", task)


@method
async def sleep(seconds: float) -> float:
    """For trying out two calls that run at once."""
    if type(seconds) not in (int, float) or not 0 <= seconds <= 10:
        raise ApiError(INVALID_PARAMS, "From 0 to 10 seconds.")
    await asyncio.sleep(seconds)
    return seconds


def find(number: int) -> dict[str, Any]:
    if not isinstance(number, int) or isinstance(number, bool):
        raise ApiError(INVALID_PARAMS, "A task's number is a whole number.")
    if number not in tasks:
        raise ApiError(NOT_FOUND, f"There is no task {number}.")
    return tasks[number]


async def tell(event: str, task: dict[str, Any]) -> None:
    await rooms.send("tasks", {"event": event, "data": task}, keep=False)
