"""A shared shopping list: a typed API with its page, an MCP server behind the site's login, live
updates, and health checks."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from mcp.server import MCPServer
from pydantic import BaseModel, Field

from asyncflask import Flask, abort, g, redirect, render_template, request, session, url_for
from asyncflask.api import Api, Events, SessionCookie
from asyncflask.rooms import Rooms

app = Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY", "for development only")
app.health("/livez", "/readyz", drain=2)
api, rooms, mcp = Api(app, title="Pantry"), Rooms(app), MCPServer("pantry")
OPEN = {"log_in", "static"}


class NewItem(BaseModel):
    name: str = Field(min_length=1, max_length=60, examples=["Oat milk"])
    amount: int = Field(1, ge=1, le=99)


class Item(NewItem):
    id: int
    by: str
    done: bool = False


items: dict[int, Item] = {}


@app.before_request
def log_in_first():
    g.user = session.get("user")
    if g.user is None and request.endpoint not in OPEN:
        return redirect(url_for("log_in")) if request.path == "/" else abort(401)


@app.route("/login", methods=["GET", "POST"])
def log_in():
    if name := request.form.get("name", "").strip():
        session["user"] = name
        return redirect(url_for("page"))
    return render_template("login.html")


@app.get("/")
def page():
    return render_template("pantry.html")


async def change(item: Item) -> Item:
    items[item.id] = item
    await rooms.send("list", item.model_dump())
    return item


guarded = api.guard(SessionCookie())(lambda view: view)  # `log_in_first` does it, for all


@app.get("/items")
@guarded
@api.typed
async def listed() -> list[Item]:
    return list(items.values())


@app.post("/items")
@guarded
@api.typed
async def add(new: NewItem) -> tuple[Item, Literal[201]]:
    return await change(Item(id=len(items) + 1, by=g.user, **new.model_dump())), 201


@app.put("/items/<int:id>/done")
@guarded
@api.typed(responses={404: "There is no such item."})
async def mark(id: int, done: bool = True) -> Item:
    return await change((items.get(id) or abort(404)).model_copy(update={"done": done}))


@app.get("/changes")
@guarded
@api.typed
async def changes() -> Annotated[AsyncIterator[Item], Events(retry=1000)]:
    async for message in rooms.follow("list"):
        yield message.data


@mcp.tool()
async def add_to_list(name: str, amount: int = 1) -> str:
    """Put something on the shopping list."""
    by = f"{g.user}'s assistant"
    await change(Item(id=len(items) + 1, by=by, name=name, amount=amount))
    return f"{name} is on the list."


app.mount("/assistant", mcp.streamable_http_app(stateless_http=True), guarded=True)
