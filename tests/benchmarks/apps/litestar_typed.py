"""The typed views in Litestar, whose types are read where they are written."""

from typing import Annotated

from litestar import Litestar, get, post
from litestar.params import Parameter
from typed_models import Answer, Item, Order


@post("/orders", status_code=200)
async def add(data: Order) -> Answer:
    total = sum(item.price * item.count for item in data.items)
    return Answer(id=data.id, total=total, items=data.items)


@get("/items/{id:int}")
async def item(id: int, page: Annotated[int, Parameter(ge=1)], q: str = "") -> Item:
    return Item(name=q, price=id, count=page)


app = Litestar([add, item])
