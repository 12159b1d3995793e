"""Flask-Classful has no tests in its release: classes of views beside async views. Its proxies
await nothing, so the methods of a class are sync."""

from __future__ import annotations

import asyncio

import pytest
from flask import jsonify, request, url_for
from flask_classful import FlaskView, method, route

calls: list[str] = []


class QuotesView(FlaskView):
    excluded_methods = ["names"]
    route_base = "/quotes"

    def before_request(self, name, **kwargs):
        calls.append(f"before {name}")

    def after_request(self, name, response):
        calls.append(f"after {name}")
        response.headers["X-View"] = name
        return response

    def names(self):
        return "never routed"

    def index(self):
        return jsonify(["a", "b"])

    def get(self, id):
        return f"quote {id}"

    def post(self):
        return f"posted {request.form['text']}", 201

    @route("/<int:id>/next")
    def following(self, id):
        return f"quote {id + 1}"

    @method("PUT")
    def shuffle(self):
        return f"shuffled {request.get_data(as_text=True)}"


@pytest.fixture
def door(app, open_door):
    calls.clear()
    QuotesView.register(app)

    @app.get("/async")
    async def asynchronous():
        await asyncio.sleep(0)
        return url_for("QuotesView:following", id=1)

    return open_door(app)


def test_methods(door):
    assert door("/quotes/").text.split() == ['["a","b"]']
    assert door("/quotes/1/").text == "quote 1"
    answer = door("/quotes/", "POST", data={"text": "c"})
    assert (answer.status, answer.text) == (201, "posted c")
    assert door("/quotes/1/next").text == "quote 2"
    assert door("/quotes/shuffle/", "PUT", data="d").text == "shuffled d"
    assert door("/quotes/names/").text == "quote names"


@pytest.mark.parametrize(
    ("path", "name"), [("/quotes/1/", "get"), ("/quotes/1/next", "following")]
)
def test_wrappers(door, path, name):
    assert door(path).headers["X-View"] == name
    assert calls == [f"before {name}", f"after {name}"]


def test_other_views(door):
    assert door("/async").text == "/quotes/1/next"
    assert calls == []
