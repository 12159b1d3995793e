"""The head of a response: status and header lines, checked before the first byte is sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from starlette.types import Message

Headers = list[tuple[bytes, bytes]]

# RFC 9110 section 5.6.2: token; section 5.5: field-value has no control characters but tab.
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_NOT_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class _Names(dict[str, bytes]):
    """Names of headers, checked and as ASGI wants them."""

    MOST: Final = 256
    LONGEST: Final = 100
    """How many are kept, and of how many characters: they may come from clients."""

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
    """Header lines as ASGI wants them, checked. Raises `ValueError` for what a server would
    refuse after the response has begun, or a client would read as something else."""
    return encode_and_name(status, headers)[0]


def encode_and_name(
    status: int, headers: Iterable[tuple[str, str]]
) -> tuple[Headers, dict[bytes, bytes]]:
    """The lines that `encode_headers` gives, and the same by name."""
    if not 100 <= status <= 599:
        raise ValueError(
            f"The response has status {status}, but a status must be from 100 to 599 (RFC 9110"
            " section 15)."
        )
    names = _names
    lines = [
        (
            names[name],
            # Printable is a stricter and faster answer; the rule is for what it leaves out.
            (value if value.isprintable() else _checked_value(name, value))
            .strip(" \t")
            .encode("latin-1"),
        )
        for name, value in headers
    ]
    by_name = dict(lines)
    # The server's affair: "should be ignored" (ASGI specification, HTTP: Response Start).
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
    """The message that begins a response, checked. *line*: status and reason for a WSGI server,
    which gets the names of *headers* as they are written too.
    Raises `ValueError` as `encode_headers` does."""
    if 100 <= status < 200:
        raise ValueError(
            f"The response has status {status}, which must be followed by another response (RFC"
            " 9110 section 15.2)."
        )
    message = checked_start_message(status, encode_headers(status, headers), line)
    message["asyncflask.headers"] = headers
    return message


def checked_start_message(status: int, headers: Headers, line: str) -> Message:
    """The message, of a status and headers that are known to be good."""
    if not line.isprintable() and _NOT_IN_VALUE.search(line):
        raise ValueError(f"The response has a control character in its status: {line!r}.")
    return {
        "type": "http.response.start",
        "status": status,
        "headers": headers,
        "asyncflask.status": line,
    }
