"""Flask-RESTful beside async views: its own methods know only `def`."""

from __future__ import annotations

import asyncio
import json

import pytest
from flask_restful import Api, Resource, abort, fields, marshal_with, reqparse


@pytest.fixture
def door(app, open_door):
    app.config["PROPAGATE_EXCEPTIONS"] = False
    api = Api(app)
    parser = reqparse.RequestParser()
    parser.add_argument("task", required=True, location="form", help="which task")

    class Task(Resource):
        @marshal_with({"task": fields.String})
        def get(self, name):
            if name == "none":
                abort(404, message="no such task")
            if name == "error":
                raise ValueError
            return {"task": name, "hidden": 1}

        def put(self, name):
            return {"task": parser.parse_args()["task"]}, 201, {"X-Name": name}

    api.add_resource(Task, "/tasks/<name>")

    @app.get("/async")
    async def asynchronous():
        await asyncio.sleep(0)
        return api.url_for(Task, name="a")

    @app.get("/async/error")
    async def error():
        await asyncio.sleep(0)
        raise ValueError

    return open_door(app)


def test_marshalled(door):
    assert json.loads(door("/tasks/a").text) == {"task": "a"}


def test_parsed(door):
    answer = door("/tasks/a", "PUT", data={"task": "write"})
    assert (answer.status, answer.headers["X-Name"]) == (201, "a")
    answer = door("/tasks/a", "PUT", data={"other": "write"})
    assert json.loads(answer.text) == {"message": {"task": "which task"}}


def test_its_errors(door):
    assert json.loads(door("/tasks/none").text)["message"].startswith("no such task")
    answer = door("/tasks/error")
    assert (answer.status, json.loads(answer.text)) == (500, {"message": "Internal Server Error"})


def test_other_views(door):
    assert door("/async").text == "/tasks/a"
    answer = door("/async/error")
    assert answer.status == 500 and "<h1>" in answer.text
