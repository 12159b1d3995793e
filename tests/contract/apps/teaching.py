"""An app with the mistakes that people make, in debug mode."""

from __future__ import annotations

from typing import Any

from asyncflask import Flask, Response, render_template, render_template_string, request, websocket

app = Flask(__name__)
app.config["DEBUG"] = True
app.config["PROPAGATE_EXCEPTIONS"] = False
app.config["LOOP_GUARD"] = 0


async def load() -> str:
    return "loaded"


@app.get("/coroutine")
async def forgets_await() -> Any:
    return load()


@app.get("/coroutine/json")
async def forgets_await_in_json() -> dict[str, Any]:
    return {"value": load()}


@app.get("/set")
def returns_a_set() -> Any:
    return {1, 2}


@app.get("/status")
def returns_a_status() -> Any:
    return 204


@app.get("/number")
async def returns_a_number() -> Any:
    return 3.5


@app.get("/state")
async def uses_state() -> str:
    return str(request.state.pool)


@app.get("/app-state")
async def uses_state_of_the_app() -> str:
    return str(app.state)  # type: ignore[attr-defined]


@app.get("/template")
async def misses_a_template() -> str:
    return render_template("missing.html")


@app.template_filter("shout")
async def shout(text: str) -> str:
    return text.upper()


@app.get("/filter")
async def renders_without_await() -> str:
    return render_template_string("{{ 'x'|shout }}")


@app.get("/websocket")
async def uses_websocket_in_a_request() -> Response:
    return Response(await websocket.receive())


@app.websocket("/ws")
async def forgets_await_of_receive() -> None:
    message: Any = websocket.receive()
    await websocket.send(message)
