"""Flask-JWT-Extended round sync and async views."""

from __future__ import annotations

import asyncio

import pytest
from flask import jsonify, request
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    current_user,
    get_jwt_identity,
    jwt_required,
    set_access_cookies,
)


@pytest.fixture
def door(app, open_door):
    app.config["JWT_SECRET_KEY"] = "long enough for its hash: thirty-two bytes"
    app.config["JWT_TOKEN_LOCATION"] = ["headers", "cookies"]
    app.config["JWT_COOKIE_CSRF_PROTECT"] = False
    manager = JWTManager(app)
    manager.user_lookup_loader(lambda header, data: f"user {data['sub']}")

    @app.post("/login")
    async def login():
        await asyncio.sleep(0)
        token = create_access_token(request.get_json()["name"])
        response = jsonify(token=token)
        if request.args.get("cookie"):
            set_access_cookies(response, token)
        return response

    @app.get("/plain")
    @jwt_required()
    def plain():
        return f"{get_jwt_identity()}, {current_user}"

    @app.get("/async")
    @jwt_required()
    async def asynchronous():
        await asyncio.sleep(0)
        return f"{get_jwt_identity()}, {current_user}"

    @app.get("/optional")
    @jwt_required(optional=True)
    async def optional():
        await asyncio.sleep(0)
        return str(get_jwt_identity())

    return open_door(app)


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_refused(door, path):
    assert door(path).status == 401
    assert door(path, headers={"Authorization": "Bearer nonsense"}).status == 422


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_header(door, path):
    token = door("/login", "POST", json={"name": "ann"}).text.split('"')[3]
    assert door(path, headers={"Authorization": f"Bearer {token}"}).text == "ann, user ann"


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_cookie(door, path):
    door("/login?cookie=1", "POST", json={"name": "ann"})
    assert door(path).text == "ann, user ann"
    assert door("/optional").text == "ann"


def test_optional(door):
    assert door("/optional").text == "None"


def test_served(site):
    assert site.get("/who").status_code == 401
    token = site.post("/login", json={"name": "ann"}).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert site.get("/who", headers=headers).text == "ann"
    answer = site.post("/note", json=["a", 1], headers=headers)
    assert answer.json() == {"user": "ann", "note": ["a", 1]}


def test_served_with_a_pool(site):
    assert site.get("/pool").status_code == 401
    token = site.post("/login", json={"name": "ann"}).json()["token"]
    site.visit_pool("/pool", headers={"Authorization": f"Bearer {token}"})
