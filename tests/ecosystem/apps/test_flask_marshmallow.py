"""Flask-Marshmallow in sync and async views."""

from __future__ import annotations

import asyncio
import json

import pytest
from flask import request
from flask_marshmallow import Marshmallow


@pytest.fixture
def door(app, open_door):
    ma = Marshmallow(app)

    class ItemSchema(ma.Schema):
        name = ma.String(required=True)
        _links = ma.Hyperlinks({"self": ma.URLFor("asynchronous", values={"name": "<name>"})})

    schema = ItemSchema()

    @app.get("/plain/<name>")
    def plain(name):
        return schema.jsonify({"name": name})

    @app.get("/async/<name>")
    async def asynchronous(name):
        await asyncio.sleep(0)
        return schema.jsonify({"name": name})

    @app.post("/")
    async def load():
        return schema.validate(request.get_json())

    return open_door(app)


@pytest.mark.parametrize("path", ["/plain/ann", "/async/ann"])
def test_dumped(door, path):
    assert json.loads(door(path).text) == {"name": "ann", "_links": {"self": "/async/ann"}}


def test_loaded(door):
    assert list(json.loads(door("/", "POST", json={}).text)) == ["name"]
