"""A shared shopping list: a typed API with its page, live updates, an MCP server, and health
checks. The pages, and the login that protects all of these, are in pages.py."""

import os
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from mcp.server import MCPServer
from pages import pages
from pydantic import BaseModel, Field

from asyncflask import Flask, abort, g
from asyncflask.api import Api, Events
from asyncflask.rooms import Rooms

app = Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY", "for development only")
app.register_blueprint(pages)
app.health("/livez", "/readyz", drain=2)
api, rooms, mcp = Api(app, title="Pantry"), Rooms(app), MCPServer("pantry")


class NewItem(BaseModel, str_strip_whitespace=True):
    name: str = Field(min_length=1, max_length=60, examples=["Oat milk"])
    amount: int = Field(1, ge=1, le=99)


class Item(NewItem):
    id: int
    by: str
    done: bool = False


items: dict[int, Item] = {}


async def save(item: Item) -> Item:
    items[item.id] = item
    await rooms.send("list", item.model_dump())
    return item


@app.get("/items")
@api.typed
async def list_items() -> list[Item]:
    return list(items.values())


@app.post("/items")
@api.typed
async def add_item(new: NewItem) -> tuple[Item, Literal[201]]:
    return await save(Item(id=len(items) + 1, by=g.user, **new.model_dump())), 201


@app.put("/items/<int:id>/done")
@api.typed(responses={404: "There is no such item."})
async def mark_item(id: int, done: bool = True) -> Item:
    item = items.get(id) or abort(404)
    return await save(item.model_copy(update={"done": done}))


@app.get("/changes")
@api.typed
async def follow_changes() -> Annotated[AsyncIterator[Item], Events(retry=1000)]:
    async for message in rooms.follow("list"):
        yield message.data


@mcp.tool()
async def add_to_list(name: str, amount: int = 1) -> str:
    """Add something to the shopping list."""
    by = f"{g.user}'s assistant"
    item = await save(Item(id=len(items) + 1, by=by, name=name, amount=amount))
    return f"{item.name} is on the list."


app.mount("/assistant", mcp.streamable_http_app(stateless_http=True), guarded=True)
