"""Flask-Sock on real sockets: of Werkzeug's server under Flask, of uvicorn under asyncflask."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from serving import UNDER_FLASK
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

MESSAGES = ["", "text", "ä" * 50_000, b"", b"bytes", b"x" * 1_000_000]


def end_of(connection):
    with pytest.raises(ConnectionClosed) as caught:
        connection.recv(10)
    return caught.value.rcvd.code, caught.value.rcvd.reason


def test_messages(site):
    with connect(f"{site.ws_url}/echo") as connection:
        for message in MESSAGES:
            connection.send(message)
            assert connection.recv(10) == message


def test_message_in_fragments(site):
    with connect(f"{site.ws_url}/echo") as connection:
        connection.send(["a", "b", "c"])
        assert connection.recv(10) == "abc"


def test_the_last_messages_arrive(site):
    with connect(f"{site.ws_url}/sum/3") as connection:
        for number in range(3):
            connection.send(str(number))
        assert connection.recv(10) == "3"
        assert end_of(connection) == (1000, "")


def test_receiving_with_a_timeout(site):
    with connect(f"{site.ws_url}/patient") as connection:
        assert connection.recv(10) == "nothing came"


def test_closed_with_a_code(site):
    with connect(f"{site.ws_url}/closing") as connection:
        connection.send("why not")
        assert end_of(connection) == (4001, "why not")


def test_subprotocol(site):
    with connect(f"{site.ws_url}/subprotocol?q=a", subprotocols=["other", "chat"]) as connection:
        assert connection.subprotocol == "chat"
        assert json.loads(connection.recv(10)) == {"subprotocol": "chat", "query": "a"}


@pytest.mark.skipif(UNDER_FLASK, reason="Werkzeug's server does not end in order with them open.")
def test_many_at_once(site):
    """More than there are slots for sync code that runs."""

    def talk(connection):
        connection.send("a")
        return connection.recv(20)

    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        connections = [
            stack.enter_context(connect(f"{site.ws_url}/echo", open_timeout=30)) for _ in range(80)
        ]
        assert site.post("/login", data={"user": "ann"}).text == "welcome"
        assert set(pool.map(talk, connections)) == {"a"}


def test_client_leaves(site):
    with connect(f"{site.ws_url}/echo") as connection:
        connection.send("a")
        connection.recv(10)
    deadline = time.monotonic() + 20
    while site.get("/ended").text != "1":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_blueprint_with_a_session(site):
    with pytest.raises(InvalidStatus) as caught, connect(f"{site.ws_url}/members/ws"):
        pass
    assert caught.value.response.status_code == 401
    site.post("/login", data={"user": "ann"})
    cookie = f"session={site.client.cookies['session']}"
    with connect(f"{site.ws_url}/members/ws", additional_headers={"Cookie": cookie}) as connection:
        assert connection.recv(10) == "hello ann"


# -- the example of the documentation


@pytest.mark.skipif(UNDER_FLASK, reason="Its test client has no WebSockets.")
def test_documented(documented):
    with documented.app.test_client().websocket_connect("/echo") as connection:
        connection.send("hello")
        assert connection.receive() == "hello"
