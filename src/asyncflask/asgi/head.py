"""A response's head: status and headers, checked before the first byte is sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from starlette.types import Message

Headers = list[tuple[bytes, bytes]]

# RFC 9110 section 5.6.2: token; section 5.5: a field-value has no control characters except
# tab.
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_NOT_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class _Names(dict[str, bytes]):
    """Checked header names, in the form that ASGI requires."""

    MOST: Final = 256
    LONGEST: Final = 100
    """How many are cached, and their maximum length: they may come from clients."""

    def __missing__(self, name: str) -> bytes:
        if not _NAME.match(name):
            raise ValueError(f"The response has a header with the invalid name {name!r}.")
        encoded = name.lower().encode("ascii")
        if len(name) <= self.LONGEST:
            if len(self) >= self.MOST:
                self.clear()
            self[name] = encoded
        return encoded


_names: Final = _Names()


def _checked_value(name: str, value: str) -> str:
    if _NOT_IN_VALUE.search(value):
        raise ValueError(
            f"The response header {name!r} has a control character in its value: {value!r}."
        )
    return value


def encode_headers(status: int, headers: Iterable[tuple[str, str]]) -> Headers:
    """Return checked header lines for ASGI. Raises `ValueError` for headers that a server would
    reject after the response has begun, or that a client would misread."""
    return encode_and_name(status, headers)[0]


def encode_and_name(
    status: int, headers: Iterable[tuple[str, str]]
) -> tuple[Headers, dict[bytes, bytes]]:
    """Return the result of `encode_headers`, and the same by name."""
    if not 100 <= status <= 599:
        raise ValueError(
            f"The response has status {status}, but a status must be from 100 to 599 (RFC 9110"
            " section 15)."
        )
    names = _names
    lines = [
        (
            names[name],
            # `isprintable` is stricter and faster; the exact check is for values that fail it.
            (value if value.isprintable() else _checked_value(name, value))
            .strip(" \t")
            .encode("latin-1"),
        )
        for name, value in headers
    ]
    by_name = dict(lines)
    # Left to the server: "should be ignored" (ASGI specification, HTTP: Response Start).
    if by_name.pop(b"transfer-encoding", None) is not None:
        lines = [line for line in lines if line[0] != b"transfer-encoding"]
    length = by_name.get(b"content-length")
    if length is not None and (
        not length.isdigit()
        or (
            len(by_name) < len(lines)
            and any(name == b"content-length" and value != length for name, value in lines)
        )
    ):
        raise ValueError(
            f"The response has the Content-Length {length.decode('latin-1')!r}, which must be a"
            " single number (RFC 9110 section 8.6). Remove it: it is set automatically where"
            " needed."
        )
    return lines, by_name


def start_message(status: int, headers: Iterable[tuple[str, str]], line: str = "") -> Message:
    """Return the checked message that starts a response. *line*: status and reason for a WSGI
    server, which also gets the names of *headers* as written. Raises `ValueError` like
    `encode_headers`."""
    if 100 <= status < 200:
        raise ValueError(
            f"The response has status {status}, which must be followed by another response (RFC"
            " 9110 section 15.2)."
        )
    message = checked_start_message(status, encode_headers(status, headers), line)
    message["asyncflask.headers"] = headers
    return message


def checked_start_message(status: int, headers: Headers, line: str) -> Message:
    """Return the message for a status and headers that are already checked."""
    if not line.isprintable() and _NOT_IN_VALUE.search(line):
        raise ValueError(f"The response has a control character in its status: {line!r}.")
    return {
        "type": "http.response.start",
        "status": status,
        "headers": headers,
        "asyncflask.status": line,
    }
