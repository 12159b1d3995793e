"""Flask-Admin: its pages for a model, and custom views, sync and async."""

from __future__ import annotations

import asyncio
import re

import pytest
from flask import abort, request
from flask_admin import Admin, AdminIndexView, BaseView, expose
from flask_admin.contrib.sqla import ModelView
from flask_babel import Babel
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column


@pytest.fixture
def door(app, open_door, tmp_path):
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'test.db'}"
    db = SQLAlchemy(app)
    Babel(app)  # the admin's pages ask it if it is installed

    class User(db.Model):
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(unique=True)

    class Index(AdminIndexView):
        @expose("/")
        async def index(self):
            await asyncio.sleep(0)
            return self.render("admin/index.html")

    class Plain(BaseView):
        @expose("/")
        def index(self):
            return "a plain page"

    class Asynchronous(BaseView):
        @expose("/", methods=["GET", "POST"])
        async def index(self):
            await asyncio.sleep(0)
            return f"an async page {request.form.get('name', '')}".strip()

    class Users(ModelView):
        column_searchable_list = ["name"]

        def is_accessible(self):
            return request.headers.get("X-Admin") == "yes"

        def inaccessible_callback(self, name, **kwargs):
            abort(403)

    admin = Admin(app, name="Test", index_view=Index())
    admin.add_view(Users(User, db, endpoint="users"))
    admin.add_view(Plain(endpoint="plain"))
    admin.add_view(Asynchronous(endpoint="asynchronous"))
    with app.app_context():
        db.create_all()
    yield open_door(app)
    with app.app_context():
        db.engine.dispose()


ADMIN = {"X-Admin": "yes"}


def names(answer):
    return re.findall(r'col-name">\s*(\w+)', answer.text)


def test_pages(door):
    assert "Test" in door("/admin/").text
    assert door("/admin/plain/").text == "a plain page"
    assert door("/admin/asynchronous/").text == "an async page"
    answer = door("/admin/asynchronous/", "POST", data={"name": "with a form"})
    assert answer.text == "an async page with a form"
    assert door("/admin/static/admin/css/bootstrap4/admin.css").status == 200


def test_model(door):
    assert door("/admin/users/").status == 403
    for name in ("ann", "bob"):
        answer = door("/admin/users/new/", "POST", data={"name": name}, headers=ADMIN)
        assert answer.status == 302
    assert names(door("/admin/users/", headers=ADMIN)) == ["ann", "bob"]
    assert names(door("/admin/users/?search=bo", headers=ADMIN)) == ["bob"]
    answer = door("/admin/users/edit/?id=1", "POST", data={"name": "cyd"}, headers=ADMIN)
    assert answer.status == 302
    answer = door("/admin/users/delete/", "POST", data={"id": "2"}, headers=ADMIN)
    assert answer.status == 302
    assert names(door("/admin/users/", headers=ADMIN)) == ["cyd"]


def test_invalid(door):
    answer = door("/admin/users/new/", "POST", data={"name": ""}, headers=ADMIN)
    assert answer.status == 200 and "This field is required" in answer.text
