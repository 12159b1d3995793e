"""The typed views in asyncflask."""

from __future__ import annotations

from typing import Annotated

from typed_models import Answer, Item, Order

from asyncflask import Flask
from asyncflask.api import Api, Query

app = Flask(__name__, static_folder=None)
api = Api(app)


@app.post("/orders")
@api.typed
async def add(order: Order) -> Answer:
    total = sum(item.price * item.count for item in order.items)
    return Answer(id=order.id, total=total, items=order.items)


@app.get("/items/<int:id>")
@api.typed
async def item(id: int, page: Annotated[int, Query(ge=1)], q: str = "") -> Item:
    return Item(name=q, price=id, count=page)
