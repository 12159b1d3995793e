"""Flask-RESTful: plain resources beside async views, and resources with async methods."""

from __future__ import annotations

import asyncio
import json

import pytest
from flask_restful import Api, Resource, abort, fields, marshal_with, reqparse
from serving import UNDER_FLASK


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


# -- served, with async methods as well


needs_async = pytest.mark.skipif(
    UNDER_FLASK, reason="Under Flask a resource has to have plain methods: its Api awaits nothing."
)
COLOURS = ["plain", pytest.param("async", marks=needs_async)]


@pytest.mark.parametrize("colour", COLOURS)
def test_served(site, colour):
    answer = site.put(f"/{colour}/wash", json={"title": "Wash up", "priority": "2"})
    assert (answer.status_code, answer.headers["X-Made-By"]) == (201, colour)
    task = {"title": "Wash up", "priority": 2, "uri": "/async/wash"}
    assert answer.json() == site.get(f"/{colour}/wash").json() == task
    assert site.client.head(f"/{colour}/wash").status_code == 200
    assert site.client.delete(f"/{colour}/wash").status_code == 204
    assert site.get(f"/{colour}/wash").json()["message"].startswith("There is no wash.")


@pytest.mark.parametrize("colour", COLOURS)
def test_served_errors(site, colour):
    answer = site.put(f"/{colour}/wash", json={"priority": 2})
    assert (answer.status_code, answer.json()) == (
        400,
        {"message": {"title": "every task needs one"}},
    )
    answer = site.client.patch(f"/{colour}/wash")
    assert answer.status_code == 405 and "message" in answer.json()


@needs_async
def test_served_error_in_an_async_method(site):
    answer = site.post("/async/wash")
    assert (answer.status_code, answer.json()) == (500, {"message": "Internal Server Error"})


def test_served_with_a_pool(site):
    site.visit_pool("/pool")
