"""The database: one SQLite connection per request, opened on first use and kept in ``g``.

A connection of ``sqlite3`` belongs to the thread that opened it. All sync functions of a request
run on one thread, so they can share it. An async view runs on the event loop and calls sync
functions with ``await run_sync(function, ...)``: they run on the request's thread, and the loop
serves other requests meanwhile.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import click

from asyncflask import Flask, current_app, g


def get_db() -> sqlite3.Connection:
    """Return the connection of this request, opened by the first call."""
    if "db" not in g:
        g.db = sqlite3.connect(current_app.config["DATABASE"])
        g.db.row_factory = sqlite3.Row
        g.db.execute("PRAGMA foreign_keys = ON")
    connection: sqlite3.Connection = g.db
    return connection


def close_db(error: BaseException | None = None) -> None:
    """Close the connection at the end of the request, on the thread that opened it."""
    connection = g.pop("db", None)
    if connection is not None:
        connection.close()


def init_db() -> None:
    """Create the file and its tables; existing ones are kept."""
    Path(current_app.config["DATABASE"]).parent.mkdir(parents=True, exist_ok=True)
    with current_app.open_resource("schema.sql", "r") as schema:
        get_db().executescript(schema.read())


def init_db_command() -> None:
    """Create the database, unless it exists."""
    init_db()
    click.echo(f"The database is ready: {current_app.config['DATABASE']}")


def init_app(app: Flask) -> None:
    app.teardown_appcontext(close_db)
    app.cli.command("init-db")(init_db_command)
