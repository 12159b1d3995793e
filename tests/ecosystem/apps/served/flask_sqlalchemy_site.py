"""Flask-SQLAlchemy on a database file: sync views, async views, and what is left behind."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from flask import Flask, jsonify, request
from flask_sqlalchemy import SQLAlchemy
from pool import Pool
from sqlalchemy import ForeignKey
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column, relationship

folder = Path(os.environ["SITE_FOLDER"])
app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{folder / 'site.db'}"
app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"connect_args": {"timeout": 30}}
left_behind = []


@app.teardown_appcontext
def look(error):  # registered before the extension's own function, so it is called after that
    left_behind.append(db.session.registry.has())


db = SQLAlchemy(app)
pool = Pool(app, folder / "pool.db")


class User(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    notes: Mapped[list[Note]] = relationship(back_populates="user", cascade="all, delete-orphan")


class Note(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    user: Mapped[User] = relationship(back_populates="notes")


with app.app_context():
    db.create_all()


def add_user():
    db.session.add(User(name=request.form["name"], notes=[Note(text=request.form["note"])]))
    try:
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        return "taken", 409
    return "added", 201


@app.post("/plain")
def plain():
    return add_user()


@app.post("/async")
async def asynchronous():
    session = db.session()
    await asyncio.sleep(0.001)
    assert db.session() is session
    return add_user()


@app.post("/plain/forgotten")
def forgotten():
    db.session.add(User(name=request.form["name"]))
    db.session.flush()
    return "not committed"


@app.post("/async/forgotten")
async def forgotten_asynchronously():
    db.session.add(User(name=request.form["name"]))
    db.session.flush()
    await asyncio.sleep(0.001)
    raise ValueError("on purpose")


@app.get("/plain/<name>")
def show(name):
    user = db.first_or_404(db.select(User).filter_by(name=name))
    return [note.text for note in user.notes]


@app.get("/async/<name>")
async def show_asynchronously(name):
    user = db.first_or_404(db.select(User).filter_by(name=name))
    await asyncio.sleep(0)
    return [note.text for note in user.notes]


@app.get("/pages")
async def pages():
    page = db.paginate(db.select(User).order_by(User.name), max_per_page=3)
    return jsonify(names=[user.name for user in page], pages=page.pages, total=page.total)


@app.get("/state")
def state():
    return jsonify(open=db.engine.pool.checkedout(), left_behind=any(left_behind))


@app.get("/pool")
async def visit():
    db.session.scalar(db.select(db.func.count(User.id)))
    db.session.close()  # while this waits, its connection is for others
    return await pool.visit()
