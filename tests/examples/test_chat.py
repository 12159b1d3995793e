"""examples/chat on a real server, through the WebSocket client of the websockets library."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from support.servers import Server

CHAT = Path(__file__).parents[2] / "examples" / "chat"
SECONDS = 45


class Visitor:
    """A browser, as far as the server can tell."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, **event: object) -> None:
        self.connection.send(json.dumps(event))

    def say(self, text: str) -> None:
        self.send(type="say", text=text)

    def hear(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.connection.recv(timeout=SECONDS))
        return event

    def hear_until(self, kind: str) -> dict[str, Any]:
        while (event := self.hear())["type"] != kind:
            pass
        return event


class Enter(Protocol):
    def __call__(self, room: str, name: str | None = None, **options: Any) -> Visitor: ...


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("app:app", app_dir=CHAT, env={"ROOMS_URL": "memory://"}) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.fixture
def enter(server: Server) -> Iterator[Enter]:
    with ExitStack() as stack:

        def enter(room: str, name: str | None = None, **options: Any) -> Visitor:
            url = f"{server.ws_url}/ws/{room}"
            # Whatever comes is taken in, also while the test does not look: or the answer to a
            # close would wait behind it.
            options.setdefault("max_queue", None)
            visitor = Visitor(stack.enter_context(connect(url, **options)))
            if name is not None:
                visitor.send(type="join", name=name)
                assert visitor.hear()["type"] == "welcome"
                while visitor.hear_until("presence")["joined"] != [name]:
                    pass
            return visitor

        yield enter


@pytest.fixture(autouse=True)
def empty_rooms(server: Server) -> Iterator[None]:
    """Each test begins when those who were in the one before it are known to have left."""
    yield
    deadline = time.monotonic() + SECONDS
    with connect(f"{server.ws_url}/ws/kitchen") as connection:
        last = Visitor(connection)
        last.send(type="join", name="caretaker")
        while last.hear_until("counts")["counts"] != {
            "lobby": 0,
            "python": 0,
            "music": 0,
            "kitchen": 1,
        }:
            assert time.monotonic() < deadline


def test_page(server: Server) -> None:
    with httpx.Client(base_url=server.url, follow_redirects=True, timeout=SECONDS) as client:
        page = client.get("/")
        assert page.url.path == "/lobby"
        assert page.headers["content-security-policy"].startswith("default-src 'self';")
        for room in ("lobby", "python", "music", "kitchen"):
            assert f'data-room="{room}"' in page.text
            assert client.get(f"/{room}").status_code == 200
        for asset in ("chat.css", "chat.js", "icon.svg"):
            assert f"/static/{asset}" in page.text
            assert client.get(f"/static/{asset}").status_code == 200
        assert client.get("/cellar").status_code == 404


def test_room_is_heard_by_its_members_only(enter: Enter) -> None:
    ada, bob, cyd = enter("lobby", "Ada"), enter("lobby", "Bob"), enter("music", "Cyd")
    assert names(ada.hear_until("presence")) == ["Ada", "Bob"]
    ada.say("Hello, Bob!")
    for visitor in ada, bob:
        event = visitor.hear_until("said")
        assert (event["name"], event["text"]) == ("Ada", "Hello, Bob!")
        assert abs(event["at"] - time.time()) < SECONDS
    bob.say("Hello, Ada!")
    assert ada.hear_until("said")["text"] == "Hello, Ada!"
    cyd.say("La la la")
    assert cyd.hear_until("said")["text"] == "La la la"  # The first thing that Cyd hears.


def test_newcomer_sees_what_was_said(enter: Enter) -> None:
    ada = enter("python", "Ada")
    for number in range(60):
        ada.say(f"number {number}")
        ada.hear_until("said")
    bob = enter("python")
    bob.send(type="join", name="Bob")
    bob.hear_until("welcome")
    history = [bob.hear_until("said")["text"] for _ in range(50)]
    assert history == [f"number {n}" for n in range(10, 60)]


def test_coming_and_leaving_are_told(enter: Enter) -> None:
    ada = enter("lobby", "Ada")
    assert ada.hear_until("counts")["counts"]["lobby"] == 1
    bob = enter("lobby", "Bob")
    event = ada.hear_until("presence")
    assert (event["joined"], event["left"], names(event)) == (["Bob"], [], ["Ada", "Bob"])
    assert ada.hear_until("counts")["counts"]["lobby"] == 2
    bob.connection.close()
    event = ada.hear_until("presence")
    assert (event["joined"], event["left"], names(event)) == ([], ["Bob"], ["Ada"])
    assert ada.hear_until("counts")["counts"]["lobby"] == 1


def test_leaving_without_goodbye_is_told(enter: Enter) -> None:
    ada, bob = enter("lobby", "Ada"), enter("lobby", "Bob")
    bob.connection.socket.shutdown(socket.SHUT_RDWR)
    assert ada.hear_until("presence")["joined"] == ["Bob"]
    assert ada.hear_until("presence")["left"] == ["Bob"]


def test_same_name_gets_a_number(enter: Enter) -> None:
    ada = enter("lobby", "Ada")
    other = enter("lobby")
    other.send(type="join", name="  Ada ")
    assert other.hear()["you"] == "Ada (2)"
    assert names(ada.hear_until("presence")) == ["Ada", "Ada (2)"]


@pytest.mark.parametrize(
    "message",
    [
        "",
        "not JSON",
        "[" * 10_000,
        b"\xff\xfe",
        "x" * 20_000,
        "17",
        "null",
        '"say"',
        "{}",
        '{"type": "say"}',
        '{"type": "say", "text": 17}',
        '{"type": "say", "text": "   "}',
        json.dumps({"type": "say", "text": "x" * 1001}),
        '{"type": "join", "name": "Again"}',
        '{"type": "leave"}',
    ],
    ids=lambda message: repr(message[:30]),
)
def test_bad_message_is_answered_with_an_error(enter: Enter, message: str | bytes) -> None:
    ada, bob = enter("lobby", "Ada"), enter("lobby", "Bob")
    ada.connection.send(message)
    assert ada.hear_until("error")["message"]
    ada.say("Still here")
    assert bob.hear_until("said")["text"] == "Still here"


@pytest.mark.parametrize("name", ["", "   ", "x" * 25, "two\x00lines", "\u202egnp.exe", "\ud800"])
def test_bad_name_is_refused_and_may_be_mended(enter: Enter, name: str) -> None:
    visitor = enter("lobby")
    visitor.send(type="join", name=name)
    assert "name" in visitor.hear()["message"]
    visitor.say("I am nobody")
    assert visitor.hear()["type"] == "error"
    visitor.send(type="join", name="Ada")
    assert visitor.hear()["you"] == "Ada"


@pytest.mark.parametrize("text", ["<b>&amp;</b>", "two\nlines", "é ☃ 🎉", "\ud800", "x" * 1000])
def test_text_arrives_as_it_was(enter: Enter, text: str) -> None:
    ada, bob = enter("lobby", "Ada"), enter("lobby", "Bob")
    ada.say(text)
    assert bob.hear_until("said")["text"] == text


def test_unknown_room_is_refused_before_it_is_accepted(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(f"{server.ws_url}/ws/cellar"):
        pass
    assert refused.value.response.status_code == 404


def test_page_of_another_site_is_refused(enter: Enter) -> None:
    with pytest.raises(InvalidStatus) as refused:
        enter("lobby", origin="https://evil.example")
    assert refused.value.response.status_code == 403


def test_visitor_who_does_not_listen_holds_up_nobody(server: Server, enter: Enter) -> None:
    ada = enter("lobby", "Ada")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        # No compression, and a receiver that stops reading while one message waits to be taken.
        deaf = enter("lobby", "Deaf", sock=sock, compression=None, max_queue=1)
        left = None
        for _ in range(3000):  # Until what the kernel keeps for a slow receiver is full as well.
            ada.say("🎉" * 1000)
            left = hear_until_said_or_left(ada.hear)
            if left:
                break
        assert left == "Deaf"
        with pytest.raises(ConnectionClosed) as closed:
            deaf.hear_until("the end")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
        # That is: because of what waited for it, and not after a time that others waited, too.
        assert closed.value.rcvd.reason == "Too many messages are queued for this client."


def hear_until_said_or_left(hear: Callable[[], dict[str, Any]]) -> str | None:
    while (event := hear())["type"] != "said" and not event.get("left"):
        pass
    return str(event["left"][0]) if "left" in event else None


def names(event: dict[str, Any]) -> list[str]:
    return [member["name"] for member in event["members"]]
