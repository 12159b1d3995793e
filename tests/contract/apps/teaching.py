"""An app with common mistakes, in debug mode."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from asyncflask import (
    Flask,
    Response,
    abort,
    render_template,
    render_template_string,
    request,
    websocket,
)
from asyncflask.api import Api, Query
from asyncflask.views import MethodView

app = Flask(__name__)
api = Api(app, docs=None)
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


@app.websocket("/ws/for")
async def forgets_async_for() -> None:
    for message in websocket:  # type: ignore[attr-defined]
        await websocket.send(message)


@app.websocket("/ws")
async def forgets_await_of_receive() -> None:
    message: Any = websocket.receive()
    await websocket.send(message)


@app.get("/none")
@app.get("/nothing", endpoint="nothing")
def returns_none() -> Any:
    pass


def without_return(view: Callable[[], str]) -> Callable[[], Any]:
    @functools.wraps(view)
    def wrapper() -> None:
        view()

    return wrapper


@app.get("/wrapped")
@without_return
def is_wrapped() -> str:
    return "lost"


class Item(MethodView):
    def get(self) -> Any:
        return 1.5


app.add_url_rule("/item", view_func=Item.as_view("item"))


@app.after_request
async def forgets_the_response(response: Response) -> Response | None:
    return None if request.path == "/after" else response


@app.get("/after")
def is_complete() -> str:
    return "complete"


@app.before_request
async def answers_for_the_view() -> Any:
    return 1 if request.path == "/hook" else None


@app.errorhandler(418)
async def handles_an_error(error: Exception) -> Any:
    pass


@app.get("/error")
def fails() -> str:
    abort(418)


@app.websocket("/ws/returns")
async def returns_a_message() -> Any:
    await websocket.accept()
    return "lost"


@app.get("/argument")
def takes_what_the_rule_lacks(number: int) -> str:
    return str(number)


@app.get("/argument/<name>")
async def misspells_the_variable(nam: str) -> str:
    return nam


@app.get("/typed/argument/<name>")
@api.typed
async def misspells_the_variable_in_a_typed_view(nam: Annotated[str, Query()]) -> str:
    return nam


@app.get("/typed/coroutine")
@api.typed
async def forgets_await_in_a_typed_view() -> str:
    return load()  # type: ignore[return-value]


@app.while_serving
async def started() -> AsyncIterator[None]:
    yield


@app.get("/key")
def misses_a_key() -> str:
    return str(app.extensions["missing"])


@app.get("/page/<int:n>")
async def page(n: int) -> str:
    return f"page {n}"


@app.get("/never")
async def never_awaits() -> str:
    task = load()
    return type(task).__name__


@app.websocket("/ws/never")
async def never_awaits_send() -> None:
    await websocket.accept()
    websocket.send("lost")  # type: ignore[unused-coroutine]
    await websocket.send("sent")


@app.get("/braces/{id}")
async def in_braces(id: int) -> str:
    return f"page {id}"
