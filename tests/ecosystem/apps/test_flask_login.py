"""Flask-Login round sync and async views."""

from __future__ import annotations

import asyncio
import threading

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

    barrier = threading.Barrier(2)

    @app.get("/meet/plain/<name>")
    def meet(name):
        login_user(User(name))
        barrier.wait(10)
        return current_user.id

    @app.get("/meet/async/<name>")
    async def meet_asynchronous(name):
        login_user(User(name))
        await asyncio.to_thread(barrier.wait, 10)
        return current_user.id

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


@pytest.mark.parametrize("other", ["plain", "async"])
@pytest.mark.parametrize("one", ["plain", "async"])
def test_each_request_has_its_user(door, one, other):
    answers = door.at_once(f"/meet/{one}/ann", f"/meet/{other}/bob")
    assert [answer.text for answer in answers] == ["ann", "bob"]


# -- served, with cookies


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_served(site, path):
    answer = site.get(path)
    assert answer.status_code == 302
    assert site.get(answer.headers["Location"]).text == "Who are you?"
    answer = site.post(answer.headers["Location"], data={"name": "ann"})
    assert (answer.status_code, answer.headers["Location"]) == (302, path)
    assert {site.get(path).text for path in ("/plain", "/async", "/fresh")} == {"ann"}
    answer = site.post("/note", data={"text": "x" * 100_000})
    assert answer.json() == {"user": "ann", "text": "x" * 100_000}
    assert site.post("/logout").text == "bye"
    assert site.get(path).status_code == 302


def test_served_remembered(site):
    site.post("/login", data={"name": "bob", "remember": "yes"})
    del site.client.cookies["session"]
    assert site.get("/plain").text == site.get("/async").text == "bob"
    assert site.get("/fresh").status_code == 401
    assert site.post("/confirm").text == "confirmed"
    assert site.get("/fresh").text == "bob"
    assert site.post("/login", data={"name": "eve"}).status_code == 403


def test_served_with_a_pool(site):
    assert site.get("/pool").status_code == 302
    site.post("/login", data={"name": "ann"})
    site.visit_pool("/pool")
