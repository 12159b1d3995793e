"""Flask-SQLAlchemy in sync and async views: the session of one request, and its end."""

from __future__ import annotations

import asyncio
import threading

import pytest
from flask import abort
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column


@pytest.fixture
def database(app, tmp_path):
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'test.db'}"
    db = SQLAlchemy(app)

    class User(db.Model):
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(unique=True)

    db.User = User
    with app.app_context():
        db.create_all()
    yield db
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def door(app, database, open_door):
    db, User = database, database.User
    app.removed = []

    @app.teardown_appcontext
    def note(error):
        app.removed.append(bool(db.session.registry.has()))

    def names():
        return list(db.session.scalars(db.select(User.name).order_by(User.name)))

    @app.post("/plain/<name>")
    def plain(name):
        db.session.add(User(name=name))
        db.session.commit()
        return names()

    @app.post("/async/<name>")
    async def asynchronous(name):
        db.session.add(User(name=name))
        session = db.session()
        await asyncio.sleep(0)
        assert db.session() is session
        db.session.commit()
        return names()

    @app.post("/forgotten/<name>")
    async def forgotten(name):
        db.session.add(User(name=name))
        db.session.flush()
        await asyncio.sleep(0)
        abort(418)

    @app.get("/user/<name>")
    async def user(name):
        return db.one_or_404(db.select(User).filter_by(name=name)).name

    barrier = threading.Barrier(2)

    @app.get("/session/plain")
    def session():
        before = str(id(db.session()))
        barrier.wait(10)
        assert before == str(id(db.session()))
        return before

    @app.get("/session/async")
    async def session_asynchronous():
        before = str(id(db.session()))
        await asyncio.to_thread(barrier.wait, 10)
        assert before == str(id(db.session()))
        return before

    @app.get("/tasks")
    async def tasks():
        async def task():
            await asyncio.sleep(0)
            return db.session()

        first, second = await asyncio.gather(task(), task())
        assert first is second is db.session() is await asyncio.to_thread(db.session)
        return "one session"

    return open_door(app)


def values(answer):
    return answer.text.replace("\n", "").replace(" ", "")


def test_kept_from_view_to_view(door):
    assert values(door("/plain/a", "POST")) == '["a"]'
    assert values(door("/async/b", "POST")) == '["a","b"]'
    assert values(door("/plain/c", "POST")) == '["a","b","c"]'


def test_not_found(door):
    assert door("/user/a").status == 404
    door("/async/a", "POST")
    assert door("/user/a").text == "a"


def test_rolled_back_at_the_end(app, door):
    assert door("/forgotten/a", "POST").status == 418
    assert values(door("/async/b", "POST")) == '["b"]'
    assert app.removed == [True, True]


@pytest.mark.parametrize("other", ["plain", "async"])
@pytest.mark.parametrize("one", ["plain", "async"])
def test_a_session_for_each_request(door, one, other):
    answers = door.at_once(f"/session/{one}", f"/session/{other}")
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].text != answers[1].text


def test_one_session_for_the_tasks_of_a_request(door):
    assert door("/tasks").text == "one session"
