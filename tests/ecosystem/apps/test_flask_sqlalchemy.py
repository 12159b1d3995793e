"""Flask-SQLAlchemy in sync and async views: the session of one request, and its end."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

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


# -- served, on a database file


@pytest.mark.parametrize("colour", ["plain", "async"])
def test_served(site, colour):
    assert site.post(f"/{colour}", data={"name": "ann", "note": "first"}).status_code == 201
    assert site.post(f"/{colour}", data={"name": "ann", "note": "second"}).status_code == 409
    for path in ("/plain/ann", "/async/ann"):
        assert site.get(path).json() == ["first"]
    assert site.get(f"/{colour}/bob").status_code == 404


@pytest.mark.parametrize(("colour", "status"), [("plain", 200), ("async", 500)])
def test_served_without_a_commit(site, colour, status):
    assert site.post(f"/{colour}/forgotten", data={"name": "ann"}).status_code == status
    assert site.get(f"/{colour}/ann").status_code == 404
    assert site.get("/state").json() == {"open": 0, "left_behind": False}


def test_served_side_by_side(site):
    paths = ["/plain", "/async"] * 10
    with ThreadPoolExecutor(10) as pool:
        answers = list(
            pool.map(
                lambda at: site.post(paths[at], data={"name": f"user {at:02}", "note": "x"}),
                range(20),
            )
        )
    assert {answer.status_code for answer in answers} == {201}
    page = site.get("/pages?page=2&per_page=3").json()
    assert page == {"names": ["user 03", "user 04", "user 05"], "pages": 7, "total": 20}
    assert site.get("/state").json() == {"open": 0, "left_behind": False}


def test_served_with_a_pool(site):
    site.visit_pool("/pool")
    assert site.get("/state").json() == {"open": 0, "left_behind": False}
