"""Session cookies: Flask reads what asyncflask wrote, and the other way round; what was changed,
cut, or is too old, both refuse."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch

from itsdangerous import TimestampSigner
from markupsafe import Markup

import asyncflask
from fuzz.common import Answer, ask_asgi, ask_flask, expect, http_scope, mutated, real_flask

KEYS: Final = ["old", "older", "other", "new"]
NOW: Final = 1_700_000_000


def random_value(chance: Random, depth: int = 0) -> Any:
    kinds = 13 if depth < 3 else 9
    match chance.randrange(kinds):
        case 0:
            return chance.choice([None, True, False, 0, 1.5, -(2**70), 1e300])
        case 1:
            return "".join(map(chr, chance.choices(range(1, 0xD7FF), k=chance.randrange(5))))
        case 2:
            return chance.choice(["", " t", " b", "a.b", "<&>", "\U0001f375", "'\"\\"])
        case 3:
            return chance.randbytes(chance.randrange(8))
        case 4:
            return Markup("<b>&amp;</b>")
        case 5:
            return uuid.UUID(int=chance.getrandbits(128))
        case 6:
            return datetime.fromtimestamp(chance.randrange(2_000_000_000), UTC)
        case 7:
            return chance.randrange(-1000, 1000)
        case 8:
            return "x" * chance.choice([10, 100, 3_000])  # long ones are compressed
        case 9:
            return tuple(random_value(chance, depth + 1) for _ in range(chance.randrange(3)))
        case 10:
            return [random_value(chance, depth + 1) for _ in range(chance.randrange(3))]
        case 11:  # looks like a tag
            key = chance.choice([" t", " b", " m", " u", " d", " di", " t__", " x"])
            return {key: random_value(chance, depth + 1)}
        case _:
            return {
                chance.choice(["a", "b", "", " ", "é"]): random_value(chance, depth + 1)
                for _ in range(chance.randrange(3))
            }


def build(flask: Any, chance: Random, todo: dict[str, Any]) -> Any:
    """The same app, of one framework or the other: it does *todo* with its session."""
    app: asyncflask.Flask = flask.Flask(__name__, static_folder=None)
    app.config["SECRET_KEY"] = chance.choice([*KEYS, b"new"])
    fallbacks = chance.sample(KEYS, chance.randrange(3))
    app.config["SECRET_KEY_FALLBACKS"] = chance.choice([None, fallbacks])
    app.config["SESSION_REFRESH_EACH_REQUEST"] = chance.random() < 0.7
    app.config["SESSION_COOKIE_NAME"] = chance.choice(["session", "session", "s"])
    app.config["SESSION_COOKIE_HTTPONLY"] = chance.random() < 0.5
    app.config["SESSION_COOKIE_SECURE"] = chance.random() < 0.5
    app.config["SESSION_COOKIE_SAMESITE"] = chance.choice([None, "Lax", "Strict"])
    app.config["SESSION_COOKIE_PATH"] = chance.choice([None, "/x"])
    app.config["SESSION_COOKIE_DOMAIN"] = chance.choice([None, "example.org"])
    app.config["PERMANENT_SESSION_LIFETIME"] = timedelta(
        seconds=chance.choice([100, 10_000, 1_000_000])
    )

    @app.get("/")
    def index() -> Any:
        session = flask.session
        seen = repr(sorted(session.items(), key=repr)) if todo["reads"] else ""
        if todo["writes"] is not None:
            session["value"] = todo["writes"]
        if todo["permanent"] is not None:
            session.permanent = todo["permanent"]
        if todo["pops"]:
            session.pop("value", None)
        if todo["clears"]:
            session.clear()
        return json.dumps({"seen": seen, "modified": session.modified, "new": session.new})

    return app


class Pair:
    """The same request to both."""

    def __init__(self, chance: Random) -> None:
        seed = chance.random()
        self.todo: dict[str, Any] = {}
        flask: ModuleType = real_flask()
        self.theirs = build(flask, Random(seed), self.todo)
        self.ours = build(asyncflask, Random(seed), self.todo)
        self.name: str = self.ours.config["SESSION_COOKIE_NAME"]

    def ask(self, cookie: str | None, now: int) -> tuple[Answer, Answer]:
        headers = [(b"host", b"localhost")]
        if cookie is not None:
            headers.append((b"cookie", f"{self.name}={cookie}".encode("latin-1")))
        scope = http_scope(b"/", "GET", headers)
        with (
            patch.object(TimestampSigner, "get_timestamp", lambda self: now),
            patch("werkzeug.http._dt_as_utc", lambda when: datetime.fromtimestamp(NOW, UTC)),
        ):
            return ask_asgi(self.ours, scope), ask_flask(self.theirs, scope)


def cookie_of(answer: Answer, name: str) -> str | None:
    for header, value in answer.headers:
        if header == "set-cookie" and value.startswith(f"{name}="):
            return value[len(name) + 1 :].partition(";")[0]
    return None


@contextmanager
def fuzzer() -> Iterator[Any]:
    yield case


def case(chance: Random) -> None:
    pair = Pair(chance)
    cookie: str | None = None
    now = NOW
    for _ in range(8):
        pair.todo.update(
            reads=chance.random() < 0.8,
            writes=chance.choice([None, random_value(chance)]),
            permanent=chance.choice([None, None, True, False]),
            pops=chance.random() < 0.05,
            clears=chance.random() < 0.05,
        )
        if cookie is not None and chance.random() < 0.12:
            cookie = changed(chance, cookie)
        ours, theirs = pair.ask(cookie, now)
        what = f"{pair.todo} with {cookie!r}"
        expect(what, (ours.status, ours.body), (theirs.status, theirs.body))
        kept = ["set-cookie", "vary"]
        expect(what, *([h for h in answer.headers if h[0] in kept] for answer in (ours, theirs)))
        if (new := cookie_of(chance.choice([ours, theirs]), pair.name)) is not None:
            cookie = new
        now += chance.choice([0, 0, 0, 1, 1, 99, 101, 20_000, -1])


def changed(chance: Random, cookie: str) -> str:
    match chance.randrange(4):
        case 0:
            return cookie[: chance.randrange(len(cookie) + 1)]
        case 1:
            parts = cookie.split(".")
            chance.shuffle(parts)
            return ".".join(parts)
        case _:
            text = mutated(chance, cookie.encode("latin-1")).decode("latin-1")
            return "".join(c for c in text if c not in "\r\n\0")
