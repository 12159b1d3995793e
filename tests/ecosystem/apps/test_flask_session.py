"""Flask-Session has no tests in its release."""

from __future__ import annotations

import asyncio

import pytest
from cachelib import FileSystemCache, SimpleCache
from flask import session
from flask_session import Session
from flask_sqlalchemy import SQLAlchemy

pytestmark = pytest.mark.parametrize("kind", ["memory", "files", "sqlalchemy"])


@pytest.fixture
def door(app, open_door, kind, tmp_path):
    app.config["SESSION_TYPE"] = "sqlalchemy" if kind == "sqlalchemy" else "cachelib"
    if kind == "sqlalchemy":
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'sessions.db'}"
        app.config["SESSION_SQLALCHEMY"] = SQLAlchemy(app)
    elif kind == "files":
        app.config["SESSION_CACHELIB"] = FileSystemCache(str(tmp_path / "sessions"))
    else:
        app.config["SESSION_CACHELIB"] = SimpleCache()
    Session(app)

    @app.get("/plain/<value>")
    def plain(value):
        session.setdefault("values", []).append(value)
        session.modified = True
        return session["values"]

    @app.get("/async/<value>")
    async def asynchronous(value):
        await asyncio.sleep(0)
        session.setdefault("values", []).append(value)
        session.modified = True
        await asyncio.sleep(0)
        return session["values"]

    @app.get("/untouched")
    async def untouched():
        return "nothing"

    @app.get("/clear")
    async def clear():
        session.clear()
        return "cleared"

    return open_door(app)


def values(answer):
    return answer.text.replace("\n", "").replace(" ", "")


def test_kept_from_view_to_view(door):
    assert values(door("/plain/a")) == '["a"]'
    assert values(door("/async/b")) == '["a","b"]'
    assert values(door("/plain/c")) == '["a","b","c"]'


def test_the_cookie_holds_no_data(door):
    cookie = door("/async/secret").headers["Set-Cookie"]
    assert cookie.startswith("session=") and "secret" not in cookie


def test_only_a_session_that_was_read_varies(door):
    assert "Vary" not in door("/untouched").headers
    assert "Cookie" in door("/async/a").headers["Vary"]


def test_cleared(door):
    door("/async/a")
    assert "Expires=Thu, 01 Jan 1970" in door("/clear").headers["Set-Cookie"]
    assert values(door("/plain/b")) == '["b"]'
