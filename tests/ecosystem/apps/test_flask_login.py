"""Flask-Login round sync and async views."""

from __future__ import annotations

import asyncio

import pytest
from flask import request
from flask_login import (
    LoginManager,
    UserMixin,
    current_user,
    login_required,
    login_user,
    logout_user,
)


class User(UserMixin):
    def __init__(self, name):
        self.id = name


@pytest.fixture
def door(app, open_door):
    manager = LoginManager(app)
    manager.user_loader(User)

    @manager.request_loader
    def from_header(request):
        name = request.headers.get("X-User")
        return User(name) if name else None

    @app.post("/login/plain")
    def login():
        login_user(User(request.form["name"]), remember=True)
        return current_user.id

    @app.post("/login/async")
    async def login_asynchronous():
        await asyncio.sleep(0)
        login_user(User(request.form["name"]), remember=True)
        return current_user.id

    @app.get("/plain")
    @login_required
    def plain():
        return current_user.id

    @app.get("/async")
    @login_required
    async def asynchronous():
        await asyncio.sleep(0)
        return current_user.id

    @app.get("/open")
    async def unprotected():
        await asyncio.sleep(0)
        return current_user.id if current_user.is_authenticated else "nobody"

    @app.get("/logout")
    async def logout():
        logout_user()
        return "bye"

    return open_door(app)


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_nobody_is_refused(door, path):
    assert door(path).status == 401


@pytest.mark.parametrize("login", ["/login/plain", "/login/async"])
@pytest.mark.parametrize("path", ["/plain", "/async", "/open"])
def test_logged_in_until_logged_out(door, login, path):
    assert door(login, "POST", data={"name": "ann"}).text == "ann"
    assert door(path).text == "ann"
    assert door("/logout").text == "bye"
    assert door("/plain").status == 401
    assert door("/open").text == "nobody"


@pytest.mark.parametrize("path", ["/plain", "/async", "/open"])
def test_by_the_request(door, path):
    assert door(path, headers={"X-User": "bob"}).text == "bob"
    assert door("/open").text == "nobody"
