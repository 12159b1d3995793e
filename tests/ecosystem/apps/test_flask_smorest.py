"""Flask-Smorest round sync and async views."""

from __future__ import annotations

import asyncio
import json

import marshmallow as ma
import pytest
from flask.views import MethodView
from flask_smorest import Api, Blueprint, abort
from serving import UNDER_FLASK


class ItemSchema(ma.Schema):
    id = ma.fields.Int(dump_only=True)
    name = ma.fields.String(required=True, validate=ma.validate.Length(min=2))


class QuerySchema(ma.Schema):
    start = ma.fields.String(load_default="")


@pytest.fixture
def door(app, open_door):
    app.config.update(API_TITLE="Items", API_VERSION="1", OPENAPI_VERSION="3.0.2")
    app.config.update(OPENAPI_URL_PREFIX="/", PROPAGATE_EXCEPTIONS=False)
    api = Api(app)
    blueprint = Blueprint("items", "items", url_prefix="/items")
    items = ["ann", "bob"]

    @blueprint.route("/")
    class Items(MethodView):
        @blueprint.arguments(QuerySchema, location="query")
        @blueprint.response(200, ItemSchema(many=True))
        @blueprint.paginate()
        def get(self, query, pagination_parameters):
            found = [name for name in items if name.startswith(query["start"])]
            pagination_parameters.item_count = len(found)
            return [{"id": at, "name": name} for at, name in enumerate(found)]

        @blueprint.arguments(ItemSchema)
        @blueprint.response(201, ItemSchema)
        async def post(self, item):
            await asyncio.sleep(0)
            items.append(item["name"])
            return {"id": len(items) - 1, **item}

    @blueprint.route("/<int:at>")
    class Item(MethodView):
        @blueprint.etag
        @blueprint.response(200, ItemSchema)
        async def get(self, at):
            await asyncio.sleep(0)
            if at >= len(items):
                abort(404, message="No such item.")
            return {"id": at, "name": items[at]}

    api.register_blueprint(blueprint)
    return open_door(app)


def test_plain(door):
    answer = door("/items/?start=b")
    assert json.loads(answer.text) == [{"id": 0, "name": "bob"}]
    assert json.loads(answer.headers["X-Pagination"])["total"] == 1


def test_async(door):
    answer = door("/items/", "POST", json={"name": "cyd"})
    assert (answer.status, json.loads(answer.text)) == (201, {"id": 2, "name": "cyd"})
    assert json.loads(door("/items/2").text) == {"id": 2, "name": "cyd"}


def test_invalid(door):
    answer = door("/items/", "POST", json={"name": "c"})
    assert answer.status == 422
    assert json.loads(answer.text)["errors"]["json"]["name"]


def test_abort(door):
    answer = door("/items/9")
    assert (answer.status, json.loads(answer.text)["message"]) == (404, "No such item.")


def test_etag(door):
    tag = door("/items/0").headers["ETag"]
    assert door("/items/0", headers={"If-None-Match": tag}).status == 304


def test_description(door):
    paths = json.loads(door("/openapi.json").text)["paths"]
    assert set(paths) == {"/items/", "/items/{at}"}


# -- served, with its description


@pytest.mark.parametrize("colour", ["plain", "async"])
def test_served(site, colour):
    for number, name in enumerate(["rex", "tom", "rosie"]):
        answer = site.post(f"/{colour}/", json={"name": name})
        assert (answer.status_code, answer.json()) == (201, {"id": number, "name": name})
    answer = site.get(f"/{colour}/?name=r&page=2&page_size=1")
    assert answer.json() == [{"id": 2, "name": "rosie"}]
    assert json.loads(answer.headers["X-Pagination"])["total_pages"] == 2
    answer = site.get(f"/{colour}/1")
    assert answer.json() == {"id": 1, "name": "tom"}
    headers = {"If-None-Match": answer.headers["ETag"]}
    assert site.get(f"/{colour}/1", headers=headers).status_code == 304


@pytest.mark.parametrize("colour", ["plain", "async"])
def test_served_errors(site, colour):
    answer = site.post(f"/{colour}/", json={"name": "x"})
    assert answer.status_code == 422
    assert answer.json()["errors"] == {"json": {"name": ["Shorter than minimum length 2."]}}
    answer = site.get(f"/{colour}/7")
    assert (answer.status_code, answer.json()["message"]) == (404, "No such pet.")


def test_served_description(site):
    description = site.get("/openapi.json").json()
    assert description["info"] == {"title": "Pets", "version": "v1"}
    for method in ("get", "post"):
        plain, asynchronous = (description["paths"][f"/{c}/"][method] for c in ("plain", "async"))
        assert plain["responses"] == asynchronous["responses"]
        assert plain.get("requestBody") == asynchronous.get("requestBody")
    assert description["components"]["schemas"]["Pet"]["required"] == ["name"]
    assert "swagger-ui" in site.get("/docs").text


def test_served_with_a_pool(site):
    assert site.get("/openapi.json").status_code == 200
    if not UNDER_FLASK:
        assert site.get("/async/pool").json().isdigit()
