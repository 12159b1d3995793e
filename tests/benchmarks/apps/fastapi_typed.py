"""The typed views in FastAPI."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query
from typed_models import Answer, Item, Order

app = FastAPI()


@app.post("/orders")
async def add(order: Order) -> Answer:
    total = sum(item.price * item.count for item in order.items)
    return Answer(id=order.id, total=total, items=order.items)


@app.get("/items/{id}")
async def item(id: int, page: Annotated[int, Query(ge=1)], q: str = "") -> Item:
    return Item(name=q, price=id, count=page)
