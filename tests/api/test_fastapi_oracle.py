# mypy: disable-error-code="empty-body"
"""The API of the first chapters of FastAPI's tutorial, written for both: the documents are
equivalent. Where the two differ on purpose, `normalised` says so."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import fastapi
import pytest
from pydantic import BaseModel, Field, HttpUrl

from asyncflask import Flask
from asyncflask import api as ours


class ModelName(StrEnum):
    alexnet = "alexnet"
    resnet = "resnet"


class Image(BaseModel):
    url: HttpUrl
    name: str


class Item(BaseModel):
    name: str = Field(examples=["Foo"])
    description: str | None = Field(default=None, title="What it is", max_length=300)
    price: float = Field(gt=0, description="More than zero")
    tax: float | None = None
    tags: set[str] = set()
    images: list[Image] | None = None


class User(BaseModel):
    username: str
    full_name: str | None = None


class FilterParams(BaseModel):
    limit: int = Field(100, gt=0, le=100)
    offset: int = Field(0, ge=0)
    order_by: Literal["created_at", "updated_at"] = "created_at"
    tags: list[str] = []


@dataclass
class Message:
    message: str


class Chapters:
    """The paths of the tutorial, by method and URL; `m` has the markers."""

    def __init__(self, m: Any) -> None:
        Path, Query, Body, Header, Cookie, Form = (
            getattr(m, name) for name in ("Path", "Query", "Body", "Header", "Cookie", "Form")
        )

        # First steps; path parameters
        async def root() -> Message: ...
        async def read_item(item_id: int) -> Any: ...
        async def get_model(model_name: ModelName) -> dict[str, str]: ...

        # Query parameters
        async def read_items(
            q: str | None = None, skip: int = 0, limit: int = 10, short: bool = False
        ) -> list[Item]: ...
        async def read_user_item(user_id: int, item_id: str, needy: str) -> Any: ...

        # Request body
        async def create_item(item: Item) -> Item: ...
        async def update_item(item_id: int, item: Item, q: str | None = None) -> Any: ...

        # Validations of query and path parameters
        async def validated(
            item_id: Annotated[int, Path(title="The ID of the item", ge=1, le=1000)],
            q: Annotated[
                str | None,
                Query(
                    alias="item-query",
                    title="Query string",
                    description="To search by",
                    min_length=3,
                    max_length=50,
                    pattern="^fixedquery$",
                    deprecated=True,
                ),
            ] = None,
            size: Annotated[float, Query(gt=0, lt=10.5)] = 1.5,
            tags: Annotated[list[str], Query()] = ["foo", "bar"],  # noqa: B006
        ) -> Any: ...

        # Query parameter models
        async def filtered(filter_query: Annotated[FilterParams, Query()]) -> Any: ...

        # Body: several parameters, embedded, singular values
        async def several(
            item_id: int, item: Item, user: User, importance: Annotated[int, Body(gt=0)]
        ) -> Any: ...
        async def embedded(item: Annotated[Item, Body(embed=True)]) -> Any: ...
        async def of_images(images: list[Image]) -> Any: ...
        async def weights(weights: dict[int, float]) -> dict[int, float]: ...

        # Cookie and header parameters, extra types, forms
        async def cookies(ads_id: Annotated[str | None, Cookie()] = None) -> Any: ...
        async def headers(
            user_agent: Annotated[str | None, Header()] = None,
            strange: Annotated[str | None, Header(alias="strange_header")] = None,
        ) -> Any: ...
        async def by_uuid(item_id: UUID) -> Any: ...
        async def login(
            username: Annotated[str, Form()], password: Annotated[str, Form(min_length=8)]
        ) -> Any: ...

        self.paths: list[tuple[str, str, Callable[..., Any]]] = [
            ("get", "/", root),
            ("get", "/items/{item_id}", read_item),
            ("get", "/models/{model_name}", get_model),
            ("get", "/items", read_items),
            ("get", "/users/{user_id}/items/{item_id}", read_user_item),
            ("post", "/items", create_item),
            ("put", "/items/{item_id}", update_item),
            ("get", "/validated/{item_id}", validated),
            ("get", "/filtered", filtered),
            ("put", "/several/{item_id}", several),
            ("put", "/embedded", embedded),
            ("post", "/images", of_images),
            ("post", "/weights", weights),
            ("get", "/cookies", cookies),
            ("get", "/headers", headers),
            ("get", "/uuid/{item_id}", by_uuid),
            ("post", "/login", login),
        ]


def by_fastapi() -> Any:
    app = fastapi.FastAPI(title="Tutorial", version="1.0.0")
    for method, path, func in Chapters(fastapi).paths:
        getattr(app, method)(path)(func)
    return app.openapi()


def by_us() -> Any:
    app = Flask("tutorial", static_folder=None)
    api = ours.Api(app, title="Tutorial")
    for method, path, func in Chapters(ours).paths:
        rule = path.replace("{", "<").replace("}", ">")
        getattr(app, method)(rule)(api.typed(func))
    return api.openapi(app)


def normalised(document: Any) -> Any:
    """*document* without what differs on purpose: the ids of operations, which are the endpoints'
    names here; the form of errors, which is RFC 9457's here, and where it is documented; the names
    of the statuses; the order of parameters; defaults that are null; titles of answers and of
    inline bodies."""
    schemas = document["components"]["schemas"]

    def of(part: Any) -> Any:
        if isinstance(part, list):
            return [of(one) for one in part]
        if not isinstance(part, dict):
            return part
        reference = part.get("$ref", "").rpartition("/")[2]
        if reference.startswith("Body_"):
            return of(schemas[reference])
        part = {key: of(value) for key, value in part.items()}
        if "default" in part and part["default"] is None:
            del part["default"]
        if str(part.get("title", "")).startswith(("Body_", "Response ")):
            del part["title"]
        return part

    paths = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            operation = of(operation)
            operation.pop("operationId")
            operation["parameters"] = sorted(
                operation.get("parameters", []), key=lambda one: (one["in"], one["name"])
            )
            operation["responses"] = {
                status: {**response, "description": ""}
                for status, response in operation["responses"].items()
                if status[0] == "2"
            }
            paths[method, path] = operation
    models = {
        name: of(schema)
        for name, schema in schemas.items()
        if not name.startswith("Body_")
        and name not in ("HTTPValidationError", "ValidationError", "Problem", "Invalid")
    }
    return {"info": document["info"], "paths": paths, "models": models}


THEIRS, OURS = normalised(by_fastapi()), normalised(by_us())


def test_document() -> None:
    assert OURS["info"] == THEIRS["info"]
    assert OURS["paths"].keys() == THEIRS["paths"].keys()


@pytest.mark.parametrize("path", sorted(THEIRS["paths"]), ids=" ".join)
def test_paths(path: tuple[str, str]) -> None:
    assert OURS["paths"][path] == THEIRS["paths"][path]


def test_models() -> None:
    assert OURS["models"] == THEIRS["models"]
