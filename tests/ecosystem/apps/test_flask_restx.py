"""Flask-RESTX: plain resources, async views beside them, and resources with async methods."""

from __future__ import annotations

import asyncio
import json

import pytest
from flask_restx import Api, Resource, fields, marshal
from serving import UNDER_FLASK

COLOURS = [
    "plain",
    pytest.param(
        "async",
        marks=pytest.mark.skipif(
            UNDER_FLASK, reason="Under Flask a resource has to have plain methods."
        ),
    ),
]


@pytest.fixture
def door(app, open_door):
    app.config["PROPAGATE_EXCEPTIONS"] = False
    api = Api(app, title="Tasks", validate=True)
    model = api.model("Task", {"title": fields.String(required=True), "done": fields.Boolean})
    tasks = {}

    class PlainTask(Resource):
        @api.marshal_with(model)
        def get(self, name):
            if name not in tasks:
                api.abort(404, f"There is no {name}.")
            return tasks[name]

        @api.expect(model)
        def put(self, name):
            tasks[name] = api.payload
            return {"saved": name}, 201

        def delete(self, name):
            raise ValueError("on purpose")

    class AsyncTask(Resource):
        async def get(self, name):  # '@api.marshal_with' would marshal the coroutine
            await asyncio.sleep(0)
            if name not in tasks:
                api.abort(404, f"There is no {name}.")
            return marshal(tasks[name], model)

        @api.expect(model)
        async def put(self, name):
            await asyncio.sleep(0)
            tasks[name] = api.payload
            return {"saved": name}, 201

        async def delete(self, name):
            raise ValueError("on purpose")

    api.add_resource(PlainTask, "/plain/<name>")
    api.add_resource(AsyncTask, "/async/<name>")

    @app.get("/beside")
    async def beside():
        await asyncio.sleep(0)
        return api.url_for(PlainTask, name="a")

    return open_door(app)


@pytest.mark.parametrize("colour", COLOURS)
def test_resource(door, colour):
    path = f"/{colour}/wash"
    answer = door(path)
    assert (answer.status, json.loads(answer.text)["message"][:17]) == (404, "There is no wash.")
    assert door(path, "PUT", json={"title": "Wash", "done": True}).status == 201
    assert json.loads(door(path).text) == {"title": "Wash", "done": True}


@pytest.mark.parametrize("colour", COLOURS)
def test_invalid(door, colour):
    answer = door(f"/{colour}/wash", "PUT", json={"done": True})
    assert answer.status == 400
    assert "title" in json.loads(answer.text)["errors"]


@pytest.mark.parametrize("colour", COLOURS)
def test_error(door, colour):
    answer = door(f"/{colour}/wash", "DELETE")
    assert (answer.status, json.loads(answer.text)) == (500, {"message": "Internal Server Error"})


def test_description(door):
    description = json.loads(door("/swagger.json").text)
    assert set(description["paths"]) == {"/plain/{name}", "/async/{name}"}
    assert set(description["paths"]["/async/{name}"]) == {"parameters", "get", "put", "delete"}
    assert "swagger-ui" in door("/").text


def test_other_views(door):
    assert door("/beside").text == "/plain/a"
