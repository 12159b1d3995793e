"""`asyncflask.socketio` on real servers: what clients may send, origins, and the end."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from socketio_apps.raw import PATH, SECONDS, emit, open_websocket, receive
from support.servers import Process, Server

APPS = Path(__file__).parent / "socketio_apps"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("everything:app", app_dir=APPS) as server:
        yield server


class Polling:
    """A client that is connected to the default namespace by long polling."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        opened = self.http.get(f"{PATH}polling")
        self.url = f"{PATH}polling&sid={json.loads(opened.text[1:])['sid']}"
        assert self.post("40").text == "OK"
        assert self.poll().text[:2] == "40"

    def poll(self) -> httpx.Response:
        return self.http.get(self.url)

    def post(self, data: str) -> httpx.Response:
        return self.http.post(self.url, content=data)


def wait_for(server: Process, text: str) -> None:
    deadline = time.monotonic() + SECONDS
    while text not in server.output:
        assert time.monotonic() < deadline, server.output
        time.sleep(0.02)


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=SECONDS) as client:
        yield client


# -- what clients may send

MALFORMED = [
    "4",
    "4[" + "[" * 100_000,
    "2[" + "[" * 100_000,
    "4x",
    "42",
    "42{}",
    "42[]",
    "42[1]",
    "42[[]]",
    '42["sync"',
    '42["connect",{}]',
    '42["disconnect","made up"]',
    '42["*","made up"]',
    "43",
    "431",
    "45",
    "451-",
    '452-["sync",{"_placeholder":true,"num":0}]x',
    "4500000000000-[]",
    "49",
    "42" + "[" * 100_000,
    "40/" + "n" * 100_000,
]

ALSO_MALFORMED: list[str | bytes] = [*MALFORMED, "", "x", "9", b"\xff", "6", "0{}"]


@pytest.mark.parametrize("ws", ["websockets", "wsproto"])
def test_malformed_packets(ws: str) -> None:
    with (
        Server("everything:app", app_dir=APPS, args=["--ws", ws]) as server,
        open_websocket(server) as good,
    ):
        for data in ALSO_MALFORMED:
            with open_websocket(server) as bad, suppress(ConnectionClosed):
                bad.send(data)
                bad.send('421["sync",1]')  # answered, unless the first was too much
                while not (answer := str(bad.recv(SECONDS))).startswith("431"):
                    assert answer[0] in "1246", answer
        good.send('427["sync"]')
        while (answer := str(good.recv(SECONDS)))[0:2] != "43":
            assert answer[0] in "24"
        assert answer == '437["sync"]'
        output = server.output
        assert "sent what is no packet" in output
        assert "Traceback" not in output, output


def test_malformed_packets_by_long_polling(server: Server, http: httpx.Client) -> None:
    for data in MALFORMED:
        client = Polling(http)
        assert client.post(data).status_code in (200, 400), data
    assert "sent what is no packet" in server.output
    assert Polling(http).post('42["sync"]').status_code == 200


def test_requests_after_a_malformed_packet(server: Server, http: httpx.Client) -> None:
    client = Polling(http)
    client.post("42")
    assert client.post('42["sync"]').status_code == 400
    assert client.poll().status_code == 400
    other = Polling(http)
    other.post("42")
    assert other.poll().status_code == 400
    assert "Traceback" not in server.output


def test_too_much_by_long_polling(server: Server, http: httpx.Client) -> None:
    client = Polling(http)
    assert client.post("4" * 1_000_001).status_code == 413
    in_parts = http.post(client.url, content=(b"4" * 100_000 for _ in range(50)))
    assert in_parts.status_code == 413
    assert Polling(http).post('42["sync"]').status_code == 200
    assert "Traceback" not in server.output


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?EIO=3&transport=polling",
        "?EIO=4&transport=carrier",
        "?EIO=4&transport=websocket",
        "?EIO=4&transport=polling&sid=nobody",
        "?EIO=4&transport=polling&j=x",
    ],
)
def test_malformed_requests(server: Server, query: str) -> None:
    for method in "GET", "POST":
        response = httpx.request(
            method, f"{server.url}/socket.io/{query}", content=b"x", timeout=SECONDS
        )
        assert response.status_code == 400, response.text
    assert "Traceback" not in server.output


def test_other_methods_and_the_rest_of_the_app(server: Server) -> None:
    assert httpx.put(f"{server.url}{PATH}polling", timeout=SECONDS).status_code == 405
    assert httpx.get(f"{server.url}/login/ada", timeout=SECONDS).text == "ada"
    assert httpx.get(f"{server.url}/socket.iox", timeout=SECONDS).status_code == 404


def test_bad_host(server: Server) -> None:
    def ask(*headers: str) -> bytes:
        with socket.create_connection(("127.0.0.1", server.port), SECONDS) as connection:
            lines = [f"GET {PATH}polling HTTP/1.1", *headers, "Connection: close", "", ""]
            connection.sendall("\r\n".join(lines).encode())
            return connection.makefile("rb").readline()

    assert b" 200 " in ask("Host: localhost")
    for headers in [()], [("Host: a", "Host: b")], [("Host: a b",)]:
        assert b" 400 " in ask(*headers[0])
    assert "Traceback" not in server.output


# -- origins


def test_only_the_apps_own_pages(server: Server) -> None:
    own, other = server.url, "http://elsewhere.example"
    for origin in other, "null", f"https://127.0.0.1:{server.port}", "http://127.0.0.1:1":
        response = httpx.get(
            f"{server.url}{PATH}polling", headers={"Origin": origin}, timeout=SECONDS
        )
        assert response.status_code == 400
        assert "access-control-allow-origin" not in response.headers
        with (
            pytest.raises(InvalidStatus) as denied,
            open_websocket(server, additional_headers={"Origin": origin}),
        ):
            pass
        assert denied.value.response.status_code == 403
    response = httpx.get(f"{server.url}{PATH}polling", headers={"Origin": own}, timeout=SECONDS)
    assert response.status_code == 200
    with open_websocket(server, additional_headers={"Origin": own}):
        pass


# -- the events of one client


def test_side_by_side(server: Server) -> None:
    with open_websocket(server) as client:
        for number in 1, 2:
            client.send(f'42{number}["meet"]')
        assert sorted([receive(client), receive(client)]) == [[0], [1]]


def test_one_after_the_other() -> None:
    with (
        Server("everything:app", app_dir=APPS, env={"IN_ORDER": "1"}) as server,
        open_websocket(server) as client,
    ):
        for number in range(8):
            emit(client, f"slow {'async' if number % 2 else 'sync'}", number)
        assert [receive(client)[1] for _ in range(8)] == list(range(8))


# -- leaving, and the end


def test_client_that_leaves_is_missed_at_once(server: Server, http: httpx.Client) -> None:
    with open_websocket(server):
        pass
    wait_for(server, "left: True transport close")
    client = Polling(http)
    with pytest.raises(httpx.ReadTimeout):
        client.http.get(client.url, timeout=0.3)
    wait_for(server, "left: True transport error")


def test_server_that_stops(server: Server, http: httpx.Client) -> None:
    """With a client that answers to nothing, one that waits and one that is between polls."""
    with open_websocket(server, close_timeout=0.1):
        waiting, _between = Polling(http), Polling(http)
        poll = HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
        poll.request("GET", waiting.url)
        assert http.get("/login/ada").text == "ada"  # came later: the server has that poll, too
        assert server.stop() == 0, server.output
        answer = poll.getresponse().read()
        poll.close()
    assert answer == b"1"  # Engine.IO's packet for it
    assert server.output.count("left: True") == 3, server.output
    assert "Traceback" not in server.output, server.output


RUN = """
import sys
from asyncflask import Flask
from asyncflask.socketio import SocketIO

app = Flask(__name__)
socketio = SocketIO(app, async_mode="threading")

@app.get("/stop")
def stop():
    socketio.stop()
    return "stopping"

socketio.run(app, port=int(sys.argv[1]), allow_unsafe_werkzeug=True)
print("has run")
"""


def test_run_and_stop(tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(RUN)
    with Process([sys.executable, str(script), "{port}"]) as process:
        with open_websocket(process):
            assert httpx.get(f"{process.url}/stop", timeout=SECONDS).text == "stopping"
        wait_for(process, "has run")


def stall(connection: socket.socket) -> None:
    """Connect a client that will read nothing more."""
    lines = [
        f"GET {PATH}websocket HTTP/1.1",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    while b"\r\n\r\n" not in connection.recv(1024):
        pass
    text = b"40"
    connection.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)


def test_server_that_stops_while_a_client_reads_nothing(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), SECONDS) as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stall(stalled)
        wait_for(server, "[accepted]")
        for _ in range(20):
            httpx.get(f"{server.url}/news/sync/{'n' * 60_000}", timeout=SECONDS)
        assert server.stop() == 0, server.output


# -- what one client can take


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


@pytest.mark.parametrize("data", [["45999-[]"], ["452-[]", b"a" * 600, b"b" * 600]])
def test_too_many_attachments(limited: Server, data: list[str | bytes]) -> None:
    with open_websocket(limited) as client:
        for part in data:
            client.send(part)
        with pytest.raises(ConnectionClosed):
            while True:
                client.recv(SECONDS)
    assert "sent what is no packet, and was disconnected: ValueError" in limited.output
    assert until(limited, lambda state: not state["clients"])["left"]


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
        assert "did not take what waited for it" in limited.output
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
