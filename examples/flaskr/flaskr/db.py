"""The database: one SQLite connection for each request that wants one, kept in ``g``.

A connection of ``sqlite3`` belongs to the thread that opened it. All the plain functions of one
request run on one thread, so there is nothing to think of in those. From an ``async`` view, which
runs on the event loop, plain functions are called with ``await run_sync(function, ...)``: that is
the request's own thread again, and the loop is free in the meantime.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import click

from asyncflask import Flask, current_app, g


def get_db() -> sqlite3.Connection:
    """The connection of this request, opened by whoever is first to ask."""
    if "db" not in g:
        g.db = sqlite3.connect(current_app.config["DATABASE"])
        g.db.row_factory = sqlite3.Row
        g.db.execute("PRAGMA foreign_keys = ON")
    connection: sqlite3.Connection = g.db
    return connection


def close_db(error: BaseException | None = None) -> None:
    """The end of the request, which has come on the thread that opened the connection."""
    connection = g.pop("db", None)
    if connection is not None:
        connection.close()


def init_db() -> None:
    """Make the file and its tables; what is there already stays."""
    Path(current_app.config["DATABASE"]).parent.mkdir(parents=True, exist_ok=True)
    with current_app.open_resource("schema.sql", "r") as schema:
        get_db().executescript(schema.read())


def init_db_command() -> None:
    """Make the database, unless it is there."""
    init_db()
    click.echo(f"The database is ready: {current_app.config['DATABASE']}")


def init_app(app: Flask) -> None:
    app.teardown_appcontext(close_db)
    app.cli.command("init-db")(init_db_command)
