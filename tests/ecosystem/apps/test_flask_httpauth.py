"""Flask-HTTPAuth round sync and async views."""

from __future__ import annotations

import asyncio

import pytest
from flask_httpauth import HTTPBasicAuth, HTTPTokenAuth, MultiAuth

BASIC = {"Authorization": "Basic YW5uOnNlY3JldA=="}  # ann:secret
TOKEN = {"Authorization": "Bearer token"}


@pytest.fixture
def door(app, open_door):
    basic, token = HTTPBasicAuth(), HTTPTokenAuth()
    both = MultiAuth(basic, token)

    @basic.verify_password
    def verify_password(name, password):
        return name if (name, password) == ("ann", "secret") else None

    @token.verify_token
    async def verify_token(value):
        await asyncio.sleep(0)
        return "bob" if value == "token" else None

    @app.get("/plain")
    @both.login_required
    def plain():
        return both.current_user()

    @app.get("/async")
    @both.login_required
    async def asynchronous():
        await asyncio.sleep(0)
        return both.current_user()

    return open_door(app)


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_refused(door, path):
    answer = door(path)
    assert answer.status == 401 and answer.headers["WWW-Authenticate"].startswith("Basic")
    assert door(path, headers={"Authorization": "Bearer other"}).status == 401


@pytest.mark.parametrize("path", ["/plain", "/async"])
@pytest.mark.parametrize(("headers", "user"), [(BASIC, "ann"), (TOKEN, "bob")])
def test_let_in(door, path, headers, user):
    assert door(path, headers=headers).text == user


def test_served(site):
    assert site.get("/who").status_code == 401
    assert site.get("/who", auth=("ann", "wrong")).status_code == 401
    assert site.get("/who", auth=("ann", "secret")).text == "ann"


def test_served_with_a_pool(site):
    assert site.get("/pool").status_code == 401
    site.visit_pool("/pool", auth=("ann", "secret"))
