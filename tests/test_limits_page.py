"""The page "Limits" lists all limits with their actual values, and each has a test that exceeds
it, marked ``@pytest.mark.limit(NAME)``."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from asyncflask import Flask
from asyncflask.rooms import limits as rooms_limits
from asyncflask.socketio import limits as socketio_limits

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"

_LIMIT = re.compile(r"_?[A-Z_]*(BYTES|SECONDS|MAX|MOST|LIMIT|THREADS|MESSAGES|LENGTH)[A-Z_]*")
"""What the names of limits have in them."""

NO_LIMITS = {
    "asgi.client.LEAVE_SECONDS": "of test clients",
    "asgi.threads.ABANDON_SECONDS": "part of SHUTDOWN_TIMEOUT",
    "serving.FIRST_REQUEST_SECONDS": "part of SHUTDOWN_TIMEOUT",
    "serving.CLEAN_UP_SECONDS": "part of SHUTDOWN_TIMEOUT",
    "asgi.body.MAX_READ_AHEAD_SECONDS": "how READ_AHEAD_BYTES is applied",
    "asgi.body.READ_AHEAD_SECONDS": "how READ_AHEAD_BYTES is applied",
    "asgi.body.READ_BYTES": "the size of a step",
    "asgi.body.WRITE_BYTES": "the size of a step",
    "asgi.pool.DEFAULT_MAX_THREADS": "the default of MAX_THREADS",
    "asgi.pool.DEFAULT_WORKER_THREADS": "the default of WORKER_THREADS",
    "asgi.pool.IDLE_SECONDS": "of idle threads, which nobody holds",
    "asgi.streams.HELD_SECONDS": "the size of a step",
    "asgi.streams.JOIN_BYTES": "the size of a step",
    "asgi.streams.QUICK_SECONDS": "the size of a step",
    "asgi.environ.FILE_BYTES": "the size of a step",
    "dispatch.RETRY_SECONDS": "what a 503 says",
    "formparser.FIELD_BYTES": "the size of a step",
    "formparser.PADDING_BYTES": "the size of a step",
    "formparser.PIECE_BYTES": "the size of a step",
    "livereload.HELD_BYTES": "in debug mode; a longer page is not changed",
    "loop_guard.AGAIN_SECONDS": "how often a log line is repeated",
    "loop_guard.DEBUG_SECONDS": "the default of LOOP_GUARD in debug mode",
    "responses._REMEMBERED_BYTES": "of a cache; nothing a client sends is in it",
}
"""What has a name like a limit, and why it has no row."""

REAL_TIME = (
    "asgi.connection",
    "asgi.environ_socket",
    "asgi.events",
    "asgi.inbox",
    "asgi.outbox",
    "asgi.websocket",
    "events",
    "rooms",
    "socketio",
)
"""Modules whose limits are in the pages of their features."""


class Row(NamedTuple):
    name: str
    default: str
    """The number, and what it counts."""
    why: str
    at_the_limit: str


def rows() -> Iterator[Row]:
    text = (ROOT / "docs/limits.rst").read_text("utf-8")
    for part in re.split(r"^   \* - ", text, flags=re.MULTILINE)[1:]:
        table = re.split(r"\n(?=\S)", part)[0]  # the last row ends where the table does
        cells = re.split(r"^     - ", table, flags=re.MULTILINE)
        row = Row(*(" ".join(cell.split()) for cell in cells))
        if row.name != "Name":  # the header of each table
            yield row


ROWS = {row.name.strip("`"): row for row in rows()}


def constants() -> dict[str, object]:
    """By module and name."""
    found: dict[str, object] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for node in ast.parse(path.read_text("utf-8")).body:
            target = (
                node.target
                if isinstance(node, ast.AnnAssign)
                else node.targets[0]
                if isinstance(node, ast.Assign)
                else None
            )
            if isinstance(target, ast.Name) and _LIMIT.fullmatch(target.id):
                value = getattr(importlib.import_module(module), target.id)
                if isinstance(value, int | float):
                    name = f"{module.partition('.')[2]}.{target.id}"
                    found[name] = value
    return found


def marked() -> set[str]:
    """The names in the marks of all tests."""
    names = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        text = path.read_text("utf-8")
        names.update(re.findall(r'pytest\.mark\.limit\("(\w+)"', text))
    return names


def test_each_row_has_a_test_and_each_test_a_row() -> None:
    assert set(ROWS) == marked()


def test_each_limit_in_the_code_has_a_row() -> None:
    missing = {
        name
        for name in constants()
        if name not in NO_LIMITS
        and name.rpartition(".")[2] not in ROWS
        and not name.startswith(REAL_TIME)
    }
    assert not missing, "Write a row in docs/limits.rst, or say in NO_LIMITS why there is none."


def all_settings() -> dict[str, Any]:
    """Those of an app, of its rooms and of its Socket.IO."""
    config = Flask("limits").config
    return {**config, **rooms_limits.DEFAULTS, **socketio_limits.DEFAULTS}


def test_each_setting_that_is_a_number_has_a_row() -> None:
    config = all_settings()
    numbers = {name for name, value in config.items() if type(value) in (int, float)}
    named = {name for name in config if name.startswith(("MAX_", "WEBSOCKET_MAX_"))}
    settings = {name for name in numbers | named if not name.startswith(_REAL_TIME_SETTINGS)}
    assert settings - set(ROWS) == _NO_LIMITS_SETTINGS


_NO_LIMITS_SETTINGS = {  # of what the app sends and does, and other servers
    "MAX_COOKIE_SIZE",
    "SHUTDOWN_TIMEOUT",
    "ROOMS_HISTORY_SECONDS",
    "ROOMS_PRESENCE_TIMEOUT",
    "ROOMS_SEND_TIMEOUT",
}
_REAL_TIME_SETTINGS = ("EVENT_STREAM_",)


def test_nothing_is_excused_that_is_not_there() -> None:
    assert set(NO_LIMITS) <= set(constants())


@pytest.mark.parametrize("name", ROWS)
def test_row(name: str) -> None:
    row = ROWS[name]
    assert all(row)
    config = all_settings()
    values = {config[name]} if name in config else set()
    values |= {value for key, value in constants().items() if key.endswith(f".{name}")}
    if values:
        assert ast.literal_eval(row.default.split("``")[1]) in values
