"""Flask-DebugToolbar, which puts a dispatch of its own in the app's place, with its panels."""

from __future__ import annotations

import asyncio
import logging

import pytest
from flask import redirect, render_template_string
from flask_debugtoolbar import DebugToolbarExtension
from flask_sqlalchemy import SQLAlchemy
from serving import UNDER_FLASK

needs_async = pytest.mark.skipif(
    UNDER_FLASK, reason="The toolbar's dispatch calls views as they are: under Flask plain ones."
)
COLOURS = ["plain", pytest.param("async", marks=needs_async)]
PAGE = "<html><body>{{ name }}</body></html>"


@pytest.fixture
def door(app, open_door, tmp_path):
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'test.db'}"
    app.config["SQLALCHEMY_RECORD_QUERIES"] = True
    app.debug = True
    db = SQLAlchemy(app)
    DebugToolbarExtension(app)

    @app.get("/plain/<name>")
    def plain(name):
        db.session.execute(db.text("SELECT 1234"))
        logging.getLogger("here").warning("a record of the log")
        return render_template_string(PAGE, name=name)

    @app.get("/async/<name>")
    async def asynchronous(name):
        await asyncio.sleep(0)
        db.session.execute(db.text("SELECT 1234"))
        logging.getLogger("here").warning("a record of the log")
        return render_template_string(PAGE, name=name)

    @app.get("/plain/away")
    def away():
        return redirect("/plain/a")

    @app.get("/async/away")
    async def away_asynchronously():
        return redirect("/plain/a")

    yield open_door(app)
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize("colour", COLOURS)
def test_toolbar(door, colour):
    answer = door(f"/{colour}/ann")
    assert answer.status == 200
    assert answer.text.startswith("<html><body>ann")
    assert 'id="flDebug"' in answer.text
    assert "SELECT 1234" in answer.text
    # The toolbar collects the records of the thread that runs its hooks.
    assert ("a record of the log" in answer.text) == (colour == "plain")
    assert door("/plain/none/such").status == 404
    assert door("/_debug_toolbar/static/css/toolbar.css").status == 200


@pytest.mark.parametrize("colour", COLOURS)
def test_redirects_are_shown(door, colour):
    answer = door(f"/{colour}/away")
    assert answer.status == 200
    assert "/plain/a" in answer.text
