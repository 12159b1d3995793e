"""The posts. All views here are async; the sync functions below them query the database.

``await run_sync(function, ...)`` runs such a function on the request's own thread: the hook in
``auth.py`` opened the connection there, and it is closed there. A direct call would use the
connection on the event loop's thread, which ``sqlite3`` refuses, and would block all other
requests until the database has answered.
"""

from __future__ import annotations

import sqlite3

from asyncflask import (
    Blueprint,
    abort,
    flash,
    g,
    redirect,
    render_template,
    request,
    run_sync,
    url_for,
)
from asyncflask.typing import ResponseReturnValue

from .auth import login_required
from .db import get_db

TITLE_LENGTH = 100

bp = Blueprint("blog", __name__)


@bp.get("/")
async def index() -> ResponseReturnValue:
    posts = await run_sync(all_posts)
    return render_template("blog/index.html", posts=posts)


@bp.route("/create", methods=["GET", "POST"])
@login_required
async def create() -> ResponseReturnValue:
    if request.method == "POST" and (content := valid_content()):
        await run_sync(add_post, *content)
        return redirect(url_for("blog.index"))
    return render_template("blog/edit.html", post=None)


@bp.route("/<int:number>/edit", methods=["GET", "POST"])
@login_required
async def edit(number: int) -> ResponseReturnValue:
    post = await run_sync(own_post, number)
    if request.method == "POST" and (content := valid_content()):
        await run_sync(change_post, number, *content)
        return redirect(url_for("blog.index"))
    return render_template("blog/edit.html", post=post)


@bp.post("/<int:number>/delete")
@login_required
async def delete(number: int) -> ResponseReturnValue:
    await run_sync(own_post, number)
    await run_sync(delete_post, number)
    return redirect(url_for("blog.index"))


def valid_content() -> tuple[str, str] | None:
    """Return title and body from the form, or flash what is wrong and return None."""
    title, body = request.form["title"].strip(), request.form["body"].strip()
    if 0 < len(title) <= TITLE_LENGTH:
        return title, body
    flash(f"A title has 1 to {TITLE_LENGTH} characters.", "problem")
    return None


# The database: sync functions.


def all_posts() -> list[sqlite3.Row]:
    query = """
        SELECT post.id, author, name, created, title, body
        FROM post JOIN user ON author = user.id
        ORDER BY post.id DESC
    """
    return get_db().execute(query).fetchall()


def own_post(number: int) -> sqlite3.Row:
    """Return the post to its author. Abort with 404 if there is none, with 403 for others."""
    query = "SELECT id, author, title, body FROM post WHERE id = ?"
    post: sqlite3.Row | None = get_db().execute(query, [number]).fetchone()
    if post is None:
        abort(404)
    if post["author"] != g.user["id"]:
        abort(403)
    return post


def add_post(title: str, body: str) -> None:
    with get_db() as db:
        query = "INSERT INTO post (author, title, body) VALUES (?, ?, ?)"
        db.execute(query, [g.user["id"], title, body])


def change_post(number: int, title: str, body: str) -> None:
    with get_db() as db:
        db.execute("UPDATE post SET title = ?, body = ? WHERE id = ?", [title, body, number])


def delete_post(number: int) -> None:
    with get_db() as db:
        db.execute("DELETE FROM post WHERE id = ?", [number])
