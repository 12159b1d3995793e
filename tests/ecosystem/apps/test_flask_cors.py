"""Flask-CORS round sync and async views, errors and preflights."""

from __future__ import annotations

import asyncio

import pytest
from flask import abort
from flask_cors import CORS, cross_origin

ORIGIN = "https://example.org"
ALLOWED = "Access-Control-Allow-Origin"


@pytest.fixture
def door(app, open_door):
    app.config["PROPAGATE_EXCEPTIONS"] = False
    CORS(app, resources={"/api/*": {"origins": [ORIGIN]}})

    @app.route("/api/plain", methods=["GET", "PUT"])
    def plain():
        return "plain"

    @app.route("/api/async", methods=["GET", "PUT"])
    async def asynchronous():
        await asyncio.sleep(0)
        return "async"

    @app.get("/api/abort")
    async def aborted():
        await asyncio.sleep(0)
        abort(403)

    @app.get("/api/error")
    async def error():
        await asyncio.sleep(0)
        raise ValueError

    @app.get("/decorated/plain")
    @cross_origin(origins=[ORIGIN])
    def decorated():
        return "plain"

    return open_door(app)


@pytest.mark.parametrize("name", ["plain", "async"])
def test_allowed(door, name):
    answer = door(f"/api/{name}", headers={"Origin": ORIGIN})
    assert (answer.text, answer.headers[ALLOWED]) == (name, ORIGIN)


@pytest.mark.parametrize("name", ["plain", "async"])
def test_other_origin(door, name):
    answer = door(f"/api/{name}", headers={"Origin": "https://other.example"})
    assert answer.status == 200 and ALLOWED not in answer.headers


@pytest.mark.parametrize("name", ["plain", "async"])
def test_preflight(door, name):
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}
    answer = door(f"/api/{name}", "OPTIONS", headers=headers)
    assert answer.headers[ALLOWED] == ORIGIN
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]


@pytest.mark.parametrize(("path", "status"), [("/api/abort", 403), ("/api/error", 500)])
def test_errors_are_readable(door, path, status):
    answer = door(path, headers={"Origin": ORIGIN})
    assert (answer.status, answer.headers[ALLOWED]) == (status, ORIGIN)


def test_decorated(door):
    assert door("/decorated/plain", headers={"Origin": ORIGIN}).headers[ALLOWED] == ORIGIN
