"""Flask-Login: users by a form and a session, "remember me", sync views and async views."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from flask import Flask, redirect, request, url_for
from flask_login import (
    LoginManager,
    UserMixin,
    confirm_login,
    current_user,
    fresh_login_required,
    login_required,
    login_user,
    logout_user,
)
from pool import Pool

app = Flask(__name__)
app.secret_key = "for these tests"
manager = LoginManager(app)
manager.login_view = "login"
pool = Pool(app, Path(os.environ["SITE_FOLDER"]) / "pool.db")


class User(UserMixin):
    def __init__(self, name):
        self.id = name


@manager.user_loader
def load(name):
    return User(name) if name in ("ann", "bob") else None


@app.route("/login", methods=["GET", "POST"])
async def login():
    if request.method == "GET":
        return "Who are you?"
    await asyncio.sleep(0)
    user = load(request.form["name"])
    if user is None:
        return "unknown", 403
    login_user(user, remember="remember" in request.form)
    return redirect(request.args.get("next") or url_for("plain"))


@app.get("/plain")
@login_required
def plain():
    return current_user.id


@app.get("/async")
@login_required
async def asynchronous():
    await asyncio.sleep(0)
    return current_user.id


@app.get("/fresh")
@fresh_login_required
async def fresh():
    await asyncio.sleep(0)
    return current_user.id


@app.post("/confirm")
@login_required
async def confirm():
    confirm_login()
    return "confirmed"


@app.post("/logout")
@login_required
async def logout():
    await asyncio.sleep(0)
    logout_user()
    return "bye"


@app.post("/note")
@login_required
async def note():
    await asyncio.sleep(0)
    return {"user": current_user.id, "text": request.form["text"]}


@app.get("/pool")
@login_required
async def visit():
    return await pool.visit()
