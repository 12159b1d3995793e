"""Flask-Security: registration, login and roles, around sync and async views."""

from __future__ import annotations

import asyncio
import json

import pytest
from flask import request
from flask_security import (
    Security,
    SQLAlchemyUserDatastore,
    auth_required,
    current_user,
    hash_password,
    roles_required,
)
from flask_security.models import fsqla_v2 as fsqla
from flask_security.signals import user_authenticated
from flask_sqlalchemy import SQLAlchemy


@pytest.fixture
def door(app, open_door, tmp_path):
    app.config.update(
        SECURITY_PASSWORD_SALT="1",
        SECURITY_PASSWORD_HASH="plaintext",
        SECURITY_PASSWORD_SINGLE_HASH=True,
        SECURITY_REGISTERABLE=True,
        SECURITY_USE_REGISTER_V2=True,
        SECURITY_SEND_REGISTER_EMAIL=False,
        SECURITY_EMAIL_VALIDATOR_ARGS={"check_deliverability": False},
        WTF_CSRF_ENABLED=False,
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'test.db'}",
    )
    db = SQLAlchemy(app)
    fsqla.FsModels.set_db_info(db)
    role = type("Role", (db.Model, fsqla.FsRoleMixin), {})
    user = type("User", (db.Model, fsqla.FsUserMixin), {})
    app.security = Security(app, SQLAlchemyUserDatastore(db, user, role))
    app.seen = []

    @user_authenticated.connect_via(app, weak=False)
    async def seen(sender, user, **kwargs):
        await asyncio.sleep(0)
        app.seen.append(user.email)

    @app.get("/plain")
    @auth_required()
    def plain():
        return current_user.email

    @app.route("/async", methods=["GET", "POST"])
    @auth_required()
    async def asynchronous():
        await asyncio.sleep(0)
        return f"{current_user.email} {request.form.get('note', '')}".strip()

    @app.get("/admin")
    @auth_required()
    @roles_required("admin")
    async def admin():
        return current_user.email

    with app.app_context():
        db.create_all()
        datastore = app.security.datastore
        admins = datastore.create_role(name="admin")
        datastore.create_user(
            email="root@example.org", password=hash_password("password"), roles=[admins]
        )
        db.session.commit()
    yield open_door(app)
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


JSON = {"Accept": "application/json"}


def log_in(door, email):
    data = {"email": email, "password": "password"}
    return door("/login", "POST", json=data, headers=JSON)


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_nobody_is_refused(door, path):
    assert door(path, headers=JSON).status == 401
    assert door(path).status == 302


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_login(app, door, path):
    assert log_in(door, "root@example.org").status == 200
    assert door(path).text == "root@example.org"
    assert door("/async", "POST", data={"note": "hello"}).text == "root@example.org hello"
    assert door("/admin").text == "root@example.org"
    assert app.seen == ["root@example.org"]
    door("/logout", "POST", headers=JSON)
    assert door(path, headers=JSON).status == 401


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_registered(door, path):
    data = {"email": "ann@example.org", "password": "password", "password_confirm": "password"}
    assert door("/register", "POST", json=data, headers=JSON).status == 200
    door("/logout", "POST", headers=JSON)
    answer = log_in(door, "ann@example.org")
    assert answer.status == 200
    assert door(path).text == "ann@example.org"
    assert door("/admin", headers=JSON).status == 403


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_token(door, path):
    data = {"email": "root@example.org", "password": "password"}
    answer = door("/login?include_auth_token", "POST", json=data, headers=JSON)
    token = json.loads(answer.text)["response"]["user"]["authentication_token"]
    door("/logout", "POST", headers=JSON)
    assert door(path, headers={"Authentication-Token": token}).text == "root@example.org"
