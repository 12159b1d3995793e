"""Accounts. All views here are sync, as in any Flask app."""

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
PASSWORD_LENGTH = 8, 200  # least and most: hashing a longer one only costs time

AsyncView = Callable[..., Awaitable[ResponseReturnValue]]

bp = Blueprint("auth", __name__, url_prefix="/auth")


@bp.before_app_request
def load_user() -> None:
    """Load the user for every view of the app. A sync hook runs before async views too."""
    g.user = None
    if "user" in session:
        query = "SELECT id, name FROM user WHERE id = ?"
        g.user = get_db().execute(query, [session["user"]]).fetchone()


def login_required(view: AsyncView) -> AsyncView:
    """Redirect to the login page unless somebody is logged in. For async views."""

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
        flash("Wrong name or password.", "problem")
    return render_template("auth/login.html")


@bp.post("/logout")
def logout() -> ResponseReturnValue:
    session.clear()
    return redirect(url_for("blog.index"))


def check_new(name: str, password: str) -> str | None:
    """Return what is wrong with the name or password of a new account, or None."""
    if not 0 < len(name) <= NAME_LENGTH or not name.isprintable():
        return f"A name has 1 to {NAME_LENGTH} visible characters."
    least, most = PASSWORD_LENGTH
    if not least <= len(password) <= most:
        return f"A password has {least} to {most} characters."
    return None


def add_user(name: str, password: str) -> str | None:
    """Create the account. Return an error if the name is taken, which only the database knows."""
    try:
        with get_db() as db:
            db.execute(
                "INSERT INTO user (name, password) VALUES (?, ?)",
                [name, generate_password_hash(password)],
            )
    except sqlite3.IntegrityError:
        return f"The name {name} is taken."
    return None
