"""A typed API with something of everything: what the tools of others are let loose on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from enum import Enum
from functools import wraps
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import HTTPException

from asyncflask import Blueprint, Flask, abort, request, websocket
from asyncflask.api import (
    Api,
    Bearer,
    Cookie,
    Events,
    Form,
    Header,
    Path,
    Query,
    problem,
)
from asyncflask.views import MethodView

app = Flask(__name__, static_folder=None)
app.register_error_handler(HTTPException, problem)
api = Api(app, title="Notes", version="1.2", description="Notes, for tests.")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class NewNote(Strict):
    text: str = Field(min_length=1, max_length=200, examples=["Milk"])
    colour: Colour = Colour.RED
    tags: list[str] = []


class Note(NewNote):
    id: int


class Filter(BaseModel):
    colour: Colour | None = None
    limit: int = Field(10, ge=1, le=100)


class Uploaded(BaseModel):
    title: str
    size: int


class Point(Strict):
    x: float
    y: float


notes = {1: Note(id=1, text="Milk", tags=["shop"])}


@api.guard(Bearer())
def token_required(view: Any) -> Any:
    @wraps(view)
    def check(*args: Any, **kwargs: Any) -> Any:
        if request.authorization is None or request.authorization.token != "secret":
            abort(401, "A token is needed.")
        return view(*args, **kwargs)

    return check


@app.get("/notes")
@api.typed
async def list_notes(
    filter: Annotated[Filter, Query()],
    lang: Annotated[str, Header(alias="Accept-Language")] = "en",
    theme: Annotated[Literal["dark", "light"], Cookie()] = "light",
) -> list[Note]:
    found = [n for n in notes.values() if filter.colour in (None, n.colour)]
    return found[: filter.limit]


@app.post("/notes")
@api.typed
def add_note(note: NewNote) -> tuple[Note, Literal[201]]:
    id = max(notes, default=0) + 1
    notes[id] = Note(id=id, **note.model_dump())
    return notes[id], 201


@app.get("/notes/<int:id>")
@api.typed(responses={404: "There is no such note."})
async def one_note(id: Annotated[int, Path(ge=0)]) -> Note:
    return notes.get(id) or abort(404, "There is no such note.")


@app.delete("/notes/<int:id>")
@token_required
@api.typed(responses={404: "There is no such note."})
def remove_note(id: int) -> None:
    if notes.pop(id, None) is None:
        abort(404, "There is no such note.")


@app.post("/upload")
@api.typed
async def upload(
    title: Annotated[str, Form(pattern="^[A-Za-z ]+$")], file: FileStorage
) -> Uploaded:
    return Uploaded(title=title, size=len(file.read()))


@app.get("/export")
@api.typed
def export() -> Iterator[Note]:
    yield from notes.values()


@app.get("/ticks")
@api.typed
async def ticks(
    count: Annotated[int, Query(ge=0, le=5)] = 2,
) -> Annotated[AsyncIterator[Point], Events(finite=True)]:
    for number in range(count):
        yield Point(x=number, y=number)


class Things(MethodView):
    @api.typed
    async def get(self, tags: Annotated[list[int], Query()] = []) -> list[int]:  # noqa: B006
        return tags

    @api.typed(deprecated=True)
    def put(self, point: Point) -> Point | tuple[None, Literal[204]]:
        return point


more = Blueprint("more", __name__, url_prefix="/more")
more.add_url_rule("/things", view_func=Things.as_view("things"))
app.register_blueprint(more)


@app.websocket("/feed")
@api.typed
async def feed() -> None:
    while True:
        new = await websocket.receive_as(NewNote)
        await websocket.send_as(Note, Note(id=0, **new.model_dump()))
