"""Accounts. All views here are plain functions, as in any Flask app."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

from werkzeug.security import check_password_hash, generate_password_hash

from asyncflask import Blueprint, flash, g, redirect, render_template, request, session, url_for
from asyncflask.typing import ResponseReturnValue

from .db import get_db

NAME_LENGTH = 40
PASSWORD_LENGTH = 8, 200  # At least, and at most, as longer ones only take longer to check.

AsyncView = Callable[..., Awaitable[ResponseReturnValue]]

bp = Blueprint("auth", __name__, url_prefix="/auth")


@bp.before_app_request
def load_user() -> None:
    """Find out who asks, for every view of the app: a plain hook serves async views too."""
    g.user = None
    if "user" in session:
        query = "SELECT id, name FROM user WHERE id = ?"
        g.user = get_db().execute(query, [session["user"]]).fetchone()


def login_required(view: AsyncView) -> AsyncView:
    """Send those who are not logged in to the page where they can. For async views."""

    @functools.wraps(view)
    async def guarded(**kwargs: Any) -> ResponseReturnValue:
        if g.user is None:
            return redirect(url_for("auth.login"))
        return await view(**kwargs)

    return guarded


@bp.route("/register", methods=["GET", "POST"])
def register() -> ResponseReturnValue:
    if request.method == "POST":
        name, password = request.form["name"].strip(), request.form["password"]
        problem = check_new(name, password) or add_user(name, password)
        if problem is None:
            flash("Welcome! Now log in with your new account.")
            return redirect(url_for("auth.login"))
        flash(problem, "problem")
    return render_template("auth/register.html")


@bp.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    if request.method == "POST":
        name, password = request.form["name"].strip(), request.form["password"]
        query = "SELECT id, password FROM user WHERE name = ?"
        user = get_db().execute(query, [name]).fetchone()
        if user is not None and check_password_hash(user["password"], password):
            session.clear()
            session["user"] = user["id"]
            return redirect(url_for("blog.index"))
        flash("This name and password do not belong together.", "problem")
    return render_template("auth/login.html")


@bp.post("/logout")
def logout() -> ResponseReturnValue:
    session.clear()
    return redirect(url_for("blog.index"))


def check_new(name: str, password: str) -> str | None:
    """What is wrong with the name or password for a new account."""
    if not 0 < len(name) <= NAME_LENGTH or not name.isprintable():
        return f"A name has 1 to {NAME_LENGTH} characters, all of which can be seen."
    least, most = PASSWORD_LENGTH
    if not least <= len(password) <= most:
        return f"A password has {least} to {most} characters."
    return None


def add_user(name: str, password: str) -> str | None:
    """Make the account, or say why not. Two may want the same name: the database decides."""
    try:
        with get_db() as db:
            db.execute(
                "INSERT INTO user (name, password) VALUES (?, ?)",
                [name, generate_password_hash(password)],
            )
    except sqlite3.IntegrityError:
        return f"The name {name} is taken."
    return None
