"""functions-framework: functions of a module as an app, beside what its own tests check."""

from __future__ import annotations

import json

import pytest
from functions_framework import create_app

SOURCE = """
import flask
import functions_framework

SEEN = []

@functions_framework.http
def hello(request):
    assert request is flask.request._get_current_object()
    if request.path == "/error":
        raise ValueError("on purpose")
    if request.path == "/seen":
        return flask.jsonify(SEEN)
    return f"{request.method} {request.path} {request.get_data(as_text=True)}"

@functions_framework.cloud_event
def note(event):
    SEEN.append(event["id"])
"""


@pytest.fixture
def open_function(tmp_path, monkeypatch, open_door):
    path = tmp_path / "main.py"
    path.write_text(SOURCE, encoding="utf-8")
    # It gives the standard streams to its logs, and leaves them so.
    monkeypatch.setattr("functions_framework.setup_logging", lambda: None)

    def open_function(name, kind):
        app = create_app(name, str(path), kind)
        app.config["PROPAGATE_EXCEPTIONS"] = False
        return open_door(app)

    return open_function


def test_http(open_function):
    door = open_function("hello", "http")
    assert door("/").text == "GET / "
    assert door("/a/b", "POST", data="body").text == "POST /a/b body"
    assert door("/robots.txt").status == 404
    assert door("/error").status == 500


def test_event(open_function):
    door = open_function("note", "cloudevent")
    event = {"specversion": "1.0", "id": "1", "type": "t", "source": "s", "data": {}}
    headers = {"Content-Type": "application/cloudevents+json"}
    assert door("/", "POST", data=json.dumps(event), headers=headers).text == "OK"
    assert door("/", "POST", data="{}", headers=headers).status == 400
