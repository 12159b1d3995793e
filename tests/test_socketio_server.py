"""`asyncflask.socketio` on real servers: what clients may send, origins, and shutdown."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from socketio_apps.raw import (
    PATH,
    SECONDS,
    Polling,
    emit,
    open_websocket,
    receive,
    stall,
    wait_for,
)
from support.servers import Process, Server

APPS = Path(__file__).parent / "socketio_apps"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("everything:app", app_dir=APPS) as server:
        yield server


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
        assert "sent an invalid packet" in output
        assert "Traceback" not in output, output


def test_malformed_packets_by_long_polling(server: Server, http: httpx.Client) -> None:
    for data in [*MALFORMED, "b%%%", "bA", "bé"]:
        client = Polling(http)
        assert client.post(data).status_code in (200, 400), data
    assert "sent an invalid packet" in server.output
    assert "Traceback" not in server.output
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


def test_server_that_stops_while_a_client_reads_nothing(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), SECONDS) as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stall(stalled)
        wait_for(server, "[accepted]")
        for _ in range(20):
            httpx.get(f"{server.url}/news/sync/{'n' * 60_000}", timeout=SECONDS)
        assert server.stop() == 0, server.output
