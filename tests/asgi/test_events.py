"""The format of server-sent events, both ways."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Message

from asyncflask.asgi.events import KEEP_ALIVE, EventParser, ServerSentEvent, _Outlet


def parsed(data: bytes, size: int = 1 << 20) -> list[ServerSentEvent]:
    parser = EventParser()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return [event for piece in pieces for event in parser.feed(piece)]


@pytest.mark.parametrize(
    ("event", "sent"),
    [
        (ServerSentEvent("hello"), "data: hello\n\n"),
        (ServerSentEvent(""), "data: \n\n"),
        (ServerSentEvent(" two  spaces "), "data:  two  spaces \n\n"),
        (ServerSentEvent("a\nb\rc\r\nd"), "data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (ServerSentEvent("\n\na\n"), "data: \ndata: \ndata: a\ndata: \n\n"),
        # Line ends of Unicode's are none here.
        (ServerSentEvent("a\u2028b\x0bc\x85d"), "data: a\u2028b\x0bc\x85d\n\n"),
        (ServerSentEvent({"a": [1, None]}), 'data: {"a": [1, null]}\n\n'),
        (ServerSentEvent(False), "data: false\n\n"),
        (
            ServerSentEvent("x", "tick", "7", 3000, "why"),
            ": why\nevent: tick\nid: 7\nretry: 3000\ndata: x\n\n",
        ),
        (ServerSentEvent("x", id=7), "id: 7\ndata: x\n\n"),
        (ServerSentEvent(id=""), "id: \n\n"),
        (ServerSentEvent(retry=0), "retry: 0\n\n"),
        (ServerSentEvent(comment="a\r\nb"), ": a\n: b\n\n"),
        (ServerSentEvent("é\0"), "data: é\0\n\n"),
        (ServerSentEvent(), ""),
    ],
)
def test_encode(event: ServerSentEvent, sent: str) -> None:
    assert event.encode().decode() == sent


def test_encode_with_a_json_of_its_own() -> None:
    assert ServerSentEvent({1}).encode(lambda value: f"a\nset of {len(value)}") == (
        b"data: a\ndata: set of 1\n\n"
    )


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"id": "a\nb"}, ValueError, "event's id must be one line"),
        ({"id": "a\rb"}, ValueError, "event's id must be one line"),
        ({"id": "a\0b"}, ValueError, "without NUL"),
        ({"event": "a\ndata: b"}, ValueError, "event's event must be one line"),
        ({"event": "\0"}, ValueError, "without NUL"),
        ({"retry": -1}, ValueError, "0 or more milliseconds"),
        ({"retry": 1.5}, TypeError, "event's retry must be int"),
        ({"retry": True}, TypeError, "event's retry must be int"),
        ({"id": 1.5}, TypeError, "event's id must be str or int"),
        ({"event": 1}, TypeError, "event's event must be str"),
        ({"comment": b"x"}, TypeError, "event's comment must be str"),
        ({"data": b"x"}, TypeError, "data.decode()"),
    ],
)
def test_what_the_format_cannot_carry(
    kwargs: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        ServerSentEvent(**kwargs)


def test_data_that_is_no_json() -> None:
    with pytest.raises(TypeError, match="serializable"):
        ServerSentEvent(object()).encode()


@pytest.mark.parametrize("size", [1, 2, 3, 1 << 20])
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_parser(size: int, end: str) -> None:
    lines = (
        "\ufeff: comment",
        "data: first",
        "data:  second",
        "id: 1",
        "",
        "data:no space",
        "event: tick",
        "",
        "event: without data is none",
        "retry: 3000",
        "",
        "",
        "data",
        "id",
        "",
        "retry: soon",
        "unknown: field",
        "id: a\0b",
        "data: é:1",
        "",
        "data: not complete",
        "",
    )
    assert parsed(end.join(lines).encode(), size) == [
        ServerSentEvent("first\n second", id="1"),
        ServerSentEvent("no space", "tick"),
        ServerSentEvent("", id=""),
        ServerSentEvent("é:1"),
    ]


def test_retry_of_a_parser() -> None:
    parser = EventParser()
    assert list(parser.feed(b"retry: 20\nretry: 2.5\n\n")) == []
    assert parser.retry == 20


@pytest.mark.parametrize("data", ["", "a", "\n", "a\n", "\n\na", " a", "é\u2028", ":", "data: a"])
def test_there_and_back(data: str) -> None:
    event = ServerSentEvent(data, "tick", "1")
    assert parsed(event.encode()) == [event]


async def test_comment_to_a_client_that_has_left() -> None:
    """`send` may raise then (ASGI specification 2.4)."""
    sent = []

    async def send(message: Message) -> None:
        sent.append(message["body"])
        raise OSError

    outlet = _Outlet(send, 0.01)
    assert outlet._ticker is not None
    await asyncio.wait([outlet._ticker])
    assert sent == [KEEP_ALIVE]
    await outlet.end(b"last")
    assert sent == [KEEP_ALIVE, b"last"]
