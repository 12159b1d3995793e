"""Forms that arrive in pieces: the same fields and files as Werkzeug's parser finds in the whole,
the same refusal at the limits; and the same by both kinds of views."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from random import Random
from typing import Any, Final

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser as WerkzeugParser
from werkzeug.http import parse_options_header

from asyncflask import Flask, request
from asyncflask.formparser import FormDataParser
from fuzz.common import ask_asgi, cut, expect, http_scope, mutated

TOO_LARGE: Final = "too large"
UNREADABLE: Final = "unreadable"
BOUNDARIES: Final = ["B", "b" * 70, "-", "--", "a-b", "'x'", "B B"]
TEXTS: Final = [b"", b"a", b"\r\n", b"--", b"\r\n--", b"\r\n--B", b"\r", b"\n", b"--B--", b"&=%"]
NAMES: Final = [b"a", b"a", b"b", b"b", b"", b"a b", "é".encode(), b'a\\"b', b"%22"]
HEADERS: Final = [
    b"Content-Type: text/plain",
    b"Content-Type: text/plain; charset=latin-1",
    b"Content-Type: text/plain; charset=utf-16",
    b"Content-Transfer-Encoding: base64",
    b"X: y",
    b"",
]


class Pieces(io.RawIOBase):
    """A stream that gives the *parts* one by one, whatever it is asked for."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = [part for part in parts if part]

    def read(self, size: int = -1) -> bytes:
        if size is None or size < 0:
            rest, self._parts = b"".join(self._parts), []
            return rest
        if not self._parts:
            return b""
        part = self._parts.pop(0)
        if len(part) > size:
            self._parts.insert(0, part[size:])
        return part[:size]


def random_text(chance: Random) -> bytes:
    parts = [chance.choice(TEXTS) for _ in range(chance.randrange(4))]
    if chance.random() < 0.3:
        parts.append(chance.randbytes(chance.choice([3, 50, 3_000])))
    return b"".join(parts)


def random_multipart(chance: Random) -> tuple[str, bytes]:
    boundary = chance.choice(BOUNDARIES)
    line = b"\r\n" if chance.random() < 0.9 else b"\n"
    body = chance.choice([b"", b"", line, b"preamble" + line])
    for _ in range(chance.randrange(5)):
        padding = chance.choice([b"", b"", b" ", b"\t "])
        name = chance.choice(NAMES) if chance.random() < 0.98 else b"\xff"
        disposition = b'Content-Disposition: form-data; name="%b"' % name
        if chance.random() < 0.4:
            disposition += b'; filename="%b"' % chance.choice([*NAMES, b"C:\\a\\b.txt"])
        more = [chance.choice(HEADERS) for _ in range(chance.randrange(2))]
        head = line.join([b"--" + boundary.encode() + padding, disposition, *filter(None, more)])
        body += head + line + line + random_text(chance) + line
    body += b"--" + boundary.encode() + b"--" + chance.choice([b"", line, line + b"epilogue"])
    if chance.random() < 0.3:
        body = mutated(chance, body)
    return f'multipart/form-data; boundary="{boundary}"', body


def random_urlencoded(chance: Random) -> tuple[str, bytes]:
    pieces = [b"a", b"=", b"&", b"+", b"%41", b"%", b"%FF", b"%F", b";", b"\xff", b"\0", b"b"]
    body = b"".join(chance.choice(pieces) for _ in range(chance.randrange(30)))
    return "application/x-www-form-urlencoded", body


def result(parser: Any, kind: str, stream: Any, length: int) -> Any:
    """The fields and files that *parser* finds, or what it raises."""
    mimetype, options = parse_options_header(kind)
    try:
        _, fields, files = parser.parse(stream, mimetype, length, options)
    except RequestEntityTooLarge:
        return TOO_LARGE
    except ValueError:
        return UNREADABLE
    found = [
        (name, file.filename, file.content_type, sha1(file.read()).hexdigest())
        for name, file in files.items(multi=True)
    ]
    for _, file in files.items(multi=True):
        file.close()
    return list(fields.items(multi=True)), found


def outcomes(kind: str, body: bytes, limits: dict[str, Any]) -> list[Any]:
    """What may come of it. Werkzeug looks at the size of what it has got at once, which is the
    whole here: so between a field and the whole body either answer is right."""
    without = result(WerkzeugParser(silent=False), kind, io.BytesIO(body), len(body))
    parts, size = limits["max_form_parts"], limits["max_form_memory_size"]
    if not kind.startswith("multipart"):  # where Werkzeug has no limits
        is_over = parts is not None and body.count(b"&") >= parts
        return [TOO_LARGE] if is_over or (size is not None and len(body) > size) else [without]
    only_parts = WerkzeugParser(silent=False, max_form_parts=parts)
    found = result(only_parts, kind, io.BytesIO(body), len(body))
    if size is None or len(body) <= size:
        return [found]
    if isinstance(without, str):
        return [found, TOO_LARGE]
    largest = max((len(value) for _, value in without[0]), default=0)
    return [TOO_LARGE] if largest > 4 * size else [found, TOO_LARGE]


def among(what: str, found: object, allowed: list[Any]) -> None:
    if found not in allowed:
        raise AssertionError(f"{what}:\n    found   {found!r}\n    allowed {allowed!r}")


def build(colour: str, limits: dict[str, Any]) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config.update(
        MAX_FORM_MEMORY_SIZE=limits["max_form_memory_size"],
        MAX_FORM_PARTS=limits["max_form_parts"],
    )

    def view() -> Any:
        files = [
            (name, file.filename, file.content_type, sha1(file.read()).hexdigest())
            for name, file in request.files.items(multi=True)
        ]
        return [list(request.form.items(multi=True)), files]

    async def view_async() -> Any:
        return view()

    app.post("/")(view if colour == "sync" else view_async)
    return app


@contextmanager
def fuzzer() -> Iterator[Any]:
    yield case


def case(chance: Random) -> None:
    kind, body = chance.choice([random_multipart, random_multipart, random_urlencoded])(chance)
    limits: dict[str, Any] = {
        "max_form_memory_size": chance.choice([None, *[500_000] * 6, 10, 60, 200]),
        "max_form_parts": chance.choice([None, *[1_000] * 6, 0, 1, 2]),
    }
    allowed = outcomes(kind, body, limits)
    what = f"{kind} {body!r:.3000} {limits}"
    places = range(len(body) + 1) if len(body) < 600 else chance.choices(range(len(body)), k=50)
    for place in places:
        pieces = [body[:place], body[place:]]
        found = result(FormDataParser(silent=False, **limits), kind, Pieces(pieces), len(body))
        among(f"{what} cut at {place}", found, allowed)
    for _ in range(5):
        pieces = cut(chance, body, 30)
        found = result(FormDataParser(silent=False, **limits), kind, Pieces(pieces), len(body))
        among(f"{what} in {pieces}", found, allowed)
    for colour in "sync", "async":
        headers = [(b"host", b"a"), (b"content-type", kind.encode("latin-1"))]
        if chance.random() < 0.5:
            headers.append((b"content-length", b"%d" % len(body)))
        else:
            headers.append((b"transfer-encoding", b"chunked"))
        scope = http_scope(b"/", "POST", headers)
        answer = ask_asgi(build(colour, limits), scope, cut(chance, body))
        found = json.loads(answer.body) if answer.status == 200 else TOO_LARGE
        expect(f"{what} {colour}", answer.status in (200, 413), True)
        if UNREADABLE in allowed:  # taken for an empty form
            allowed = [*allowed, [[], []]]
        among(f"{what} {colour}", found, json.loads(json.dumps(allowed)))
