"""`asyncflask.socketio` on real servers: exceeding each limit for clients."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from socketio_apps.raw import (
    PATH,
    SECONDS,
    Polling,
    ask,
    emit,
    open_websocket,
    receive,
    stall,
    wait_for,
)
from support.releases import older
from support.servers import Process, Server

APPS = Path(__file__).parent / "socketio_apps"


@pytest.fixture
def limited() -> Iterator[Server]:
    with Server("limited:app", app_dir=APPS) as server:
        yield server
        assert "Traceback" not in server.output, server.output


def state(server: Process) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{server.url}/state", timeout=SECONDS).json()
    return found


def until(server: Process, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + SECONDS
    while not true(found := state(server)):
        assert time.monotonic() < deadline, (found, server.output)
        time.sleep(0.02)
    return found


@pytest.mark.limit("SOCKETIO_EVENTS")
@pytest.mark.limit("SOCKETIO_EVENT_THREADS")
@pytest.mark.parametrize(("kind", "at_once"), [("task", 4), ("thread", 3)])
def test_events_under_way(limited: Server, kind: str, at_once: int) -> None:
    with open_websocket(limited) as client:
        for number in range(20):
            emit(client, f"hold a {kind}", str(number))
        until(limited, lambda state: len(state["begun"]) == at_once)
        assert httpx.get(f"{limited.url}/page", timeout=SECONDS).text == "page"
        httpx.get(f"{limited.url}/go-on")
        found = until(limited, lambda state: len(state["ended"]) == 20)
    assert found["most"] == at_once


def test_events_of_a_client_that_has_left(limited: Server) -> None:
    with open_websocket(limited) as holds:
        for _ in range(3):
            emit(holds, "hold a thread", "holds")
        until(limited, lambda state: len(state["begun"]) == 3)
        with open_websocket(limited) as leaves:
            for _ in range(9):  # some wait for a thread, others have not been read
                emit(leaves, "hold a thread", "leaves")
        until(limited, lambda state: len(state["left"]) == 1)
        emit(holds, "hold a thread", "last")
        httpx.get(f"{limited.url}/go-on")
        found = until(limited, lambda state: len(state["ended"]) == 4)
        assert found["begun"] == ["holds", "holds", "holds", "last"]


def test_attachments(limited: Server) -> None:
    part = '{"_placeholder":true,"num":%d}'
    with open_websocket(limited) as client:
        client.send(f'452-1["binary",{part % 0},{part % 1}]')
        client.send(b"a" * 500)
        client.send(b"b" * 500)
        assert receive(client) == [1000]


@pytest.mark.limit("SOCKETIO_ATTACHMENTS")
@pytest.mark.limit("SOCKETIO_ATTACHMENT_BYTES")
@pytest.mark.parametrize("data", [["45999-[]"], ["452-[]", b"a" * 600, b"b" * 600]])
def test_too_many_attachments(limited: Server, data: list[str | bytes]) -> None:
    with open_websocket(limited) as client:
        for part in data:
            client.send(part)
        with pytest.raises(ConnectionClosed):
            while True:
                client.recv(SECONDS)
    assert "sent an invalid packet and was disconnected: ValueError" in limited.output
    assert until(limited, lambda state: not state["clients"])["left"]


@pytest.mark.limit("WEBSOCKET_SEND_QUEUE")
@pytest.mark.limit("WEBSOCKET_SEND_QUEUE_BYTES")
@pytest.mark.limit("WEBSOCKET_SEND_TIMEOUT")
@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_client_that_takes_nothing(limited: Server, transport: str) -> None:
    with ExitStack() as stack:
        if transport == "polling":
            Polling(stack.enter_context(httpx.Client(base_url=limited.url)))
        else:
            stalled = stack.enter_context(socket.create_connection(("127.0.0.1", limited.port)))
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stall(stalled)
            wait_for(limited, "[accepted]")
        until(limited, lambda state: state["connected"] == 1)
        deadline = time.monotonic() + SECONDS
        while not (found := state(limited))["left"]:
            assert time.monotonic() < deadline, found
            httpx.get(f"{limited.url}/news")
        # The queue is full, or a single message has waited too long.
        assert found["left"][0] in ("transport error", "transport close")
        assert "read too slowly" in limited.output
        until(limited, lambda state: not state["clients"])
        handler = "AsyncSocket._websocket_handler"
        until(limited, lambda state: not any(handler in name for name in state["tasks"]))


@pytest.mark.parametrize("body", ["2", "6", "0{}", "", "2probe", "4", "x", "42\x1e2", "d=2"])
def test_body_that_is_no_payload(limited: Server, body: str) -> None:
    before = state(limited)["tasks"]
    with httpx.Client(base_url=limited.url, timeout=SECONDS) as http:
        client = Polling(http)
        assert client.post(body).status_code == 400
        until(limited, lambda state: bool(state["left"]))
        assert client.poll().status_code in (200, 400)  # what waited for it, and no more
        assert client.poll().status_code == 400
    assert state(limited)["clients"] == 0
    after = state(limited)["tasks"]
    of_all = {"AsyncServer._service_task", "Event.wait", "AsyncSocket._send_ping"}  # and its next
    assert set(after) - set(before) <= of_all


# -- clients


@pytest.mark.limit("SOCKETIO_CLIENTS")
@pytest.mark.skipif(
    older("uvicorn", 0, 54), reason="Older releases send Content-Length twice with a refusal."
)
def test_number_of_clients(limited: Server) -> None:
    with httpx.Client(base_url=limited.url, timeout=SECONDS) as http, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(open_websocket(limited))
        for _ in range(2):  # which take no connection
            assert http.get(f"{PATH}polling").status_code == 200
        refused = http.get(f"{PATH}polling")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
        with pytest.raises(InvalidStatus) as denied, open_websocket(limited):
            pass
        assert denied.value.response.status_code == 503
        warning = "Socket.IO has 5 clients, the maximum (SOCKETIO_CLIENTS)"
        assert limited.output.count(warning) == 1
        stack.close()
        until(limited, lambda state: state["clients"] == 2)
        with open_websocket(limited):
            pass


@pytest.mark.limit("SOCKETIO_CONNECT_TIMEOUT")
@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("packets", [[], ["40", "41"]], ids=["never", "left"])
def test_client_that_connects_to_no_namespace(
    limited: Server, transport: str, packets: list[str]
) -> None:
    """It answers every ping, and no handler of the app has let it in."""
    with ExitStack() as stack:
        if transport == "websocket":
            ws = stack.enter_context(connect(f"{limited.ws_url}{PATH}websocket"))
            for packet in packets:
                ws.send(packet)
            with pytest.raises(ConnectionClosed):
                while ws.recv(SECONDS) is not None:
                    pass
        else:
            http = stack.enter_context(httpx.Client(base_url=limited.url, timeout=SECONDS))
            sid = json.loads(http.get(f"{PATH}polling").text[1:])["sid"]
            for packet in packets:
                http.post(f"{PATH}polling&sid={sid}", content=packet)
            while http.get(f"{PATH}polling&sid={sid}").status_code == 200:
                pass
        until(limited, lambda state: not state["clients"])


def test_client_that_polls_no_more() -> None:
    with Server("limited:app", app_dir=APPS, env={"QUICK_PINGS": "1"}) as server:
        before = state(server)["tasks"]
        with httpx.Client(base_url=server.url, timeout=SECONDS) as http:
            for _ in range(3):
                Polling(http)
        found = until(server, lambda state: len(state["left"]) == 3 and not state["clients"])
        assert found["left"] == ["ping timeout"] * 3
        of_all = {"AsyncServer._service_task", "Event.wait", "AsyncSocket._send_ping"}
        assert set(found["tasks"]) - set(before) <= of_all


def test_two_polls_at_once(limited: Server) -> None:
    with httpx.Client(base_url=limited.url, timeout=SECONDS) as http:
        client = Polling(http)
        waiting = HTTPConnection("127.0.0.1", limited.port, timeout=SECONDS)
        waiting.request("GET", client.url)
        assert state(limited)["clients"] == 1  # came later: the server has that poll, too
        assert client.poll().status_code == 400
        waiting.getresponse().read()
        waiting.close()
        assert client.poll().status_code == 400
    assert "two requests at once and was disconnected" in limited.output
    until(limited, lambda state: not state["clients"])


def test_two_posts_at_once(limited: Server) -> None:
    """The body of each would be kept until the events before it have ended."""
    with httpx.Client(base_url=limited.url, timeout=SECONDS) as http:
        client = Polling(http)
        waiting = HTTPConnection("127.0.0.1", limited.port, timeout=SECONDS)
        waiting.request("POST", client.url, "\x1e".join(['42["hold a task","x"]'] * 6))
        until(limited, lambda state: len(state["begun"]) == 4)
        assert client.post('42["hold a task","x"]').status_code == 400
        http.get("/go-on")
        waiting.getresponse().read()
        waiting.close()
    until(limited, lambda state: not state["clients"])


def test_requests_that_follow_each_other_at_once(limited: Server) -> None:
    with httpx.Client(base_url=limited.url, timeout=SECONDS) as http:
        client = Polling(http)
        for number in range(100):
            assert client.post(f'42{number}["binary"]').status_code == 200
            packets = client.poll().text.split("\x1e")
            assert f"43{number}[0]" in packets


def test_body_for_nobody_is_not_read(limited: Server) -> None:
    with socket.create_connection(("127.0.0.1", limited.port), SECONDS) as connection:
        lines = [f"POST {PATH}polling&sid=nobody HTTP/1.1", "Host: localhost"]
        connection.sendall("\r\n".join([*lines, "Content-Length: 900000", "", ""]).encode())
        assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 400 ")


@pytest.mark.limit("UPGRADE_SECONDS")
def test_change_to_a_websocket_that_does_not_come(limited: Server) -> None:
    with httpx.Client(base_url=limited.url, timeout=SECONDS) as http:
        client = Polling(http)
        sid = client.url.rpartition("=")[2]
        with (
            connect(f"{limited.ws_url}{PATH}websocket&sid={sid}") as ws,
            pytest.raises(ConnectionClosed),
        ):
            ws.recv(SECONDS)


# -- namespaces, rooms and callbacks


@pytest.mark.limit("SOCKETIO_NAMESPACES")
@pytest.mark.limit("SOCKETIO_NAME_LENGTH")
def test_namespaces_of_one_client(limited: Server) -> None:
    with open_websocket(limited) as client:
        for name in "a", "b":
            client.send(f"40/{name},")
            assert str(client.recv(SECONDS)).startswith(f"40/{name},")
        client.send("40/c,")
        assert client.recv(SECONDS) == '44/c,{"message":"Too many namespaces"}'
        assert "it is in 3, the maximum (SOCKETIO_NAMESPACES)" in limited.output
        client.send("41/a,")
        client.send("40/c,")
        assert str(client.recv(SECONDS)).startswith("40/c,")
        client.send(f"40/{'n' * 40},")
        with pytest.raises(ConnectionClosed):
            while client.recv(SECONDS) is not None:
                pass
    assert "a namespace whose name has 41 characters" in limited.output


@pytest.mark.limit("SOCKETIO_ROOMS")
@pytest.mark.limit("SOCKETIO_NAME_LENGTH")
def test_rooms_of_one_client(limited: Server) -> None:
    with open_websocket(limited) as client:
        for room in "abc", "a", "bcd", "efg":
            assert ask(client, "enter", room) == []
        emit(client, "enter", "one more")
        wait_for(limited, "is in 4 rooms, the maximum (SOCKETIO_ROOMS)")
        assert ask(client, "enter", "abc") == []
        assert ask(client, "leave", "abc") == []
        emit(client, "enter", "n" * 41)
        wait_for(limited, "A room's name has 41 characters")
        assert ask(client, "enter", "one more") == []
        assert "WARNING in events: A Socket.IO client could not join a room" in limited.output
    until(limited, lambda state: state["clients"] == 0 and state["rooms"] == 0)


@pytest.mark.limit("SOCKETIO_CALLBACKS")
def test_acknowledgements_that_never_come(limited: Server) -> None:
    with open_websocket(limited) as client:
        for number in range(20):
            emit(client, "ask me", number)
        ids: list[str] = []
        while len(ids) < 20:
            packet = str(client.recv(SECONDS))
            if packet.startswith("42"):
                ids.append(packet[2:].partition("[")[0])
        assert state(limited)["callbacks"] == 5
        for id in ids:
            client.send(f"43{id}[]")
        found = until(limited, lambda state: len(state["answered"]) == 5)
        assert found["answered"] == [15, 16, 17, 18, 19]
