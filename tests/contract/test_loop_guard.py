"""`LOOP_GUARD` names the code that blocks a server's loop."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import websockets.sync.client

from support.servers import Server

APPS = Path(__file__).parent / "apps"
SOURCE = (APPS / "blocking.py").read_text("utf-8").splitlines()
TRIES = 100
"""A machine that is too busy leaves the guard no time to look."""


class SlowServer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        threading.Event().wait(0.3)
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"slow")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def slow_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), SlowServer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server("blocking:app", app_dir=APPS, args=["--loop", request.param]) as server:
        yield server


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(SOURCE, 1) if text in line)


def named(server: Server, who: str) -> str | None:
    """What the log says of *who*, from there on."""
    found = re.search(rf"{re.escape(who)} blocked the event loop for .*", server.output)
    return found and found[0]


@pytest.mark.parametrize(
    ("path", "who", "text", "advice"),
    [
        ("/sleep", "View 'sleep' (/sleep)", "time.sleep", "Write 'await asyncio.sleep(...)'"),
        (
            "/requests?url=URL",
            "View 'by_requests' (/requests)",
            "requests.get(",
            "Write 'await client.get(...)' with an httpx.AsyncClient, or 'await"
            " run_sync(requests.get, ...)'",
        ),
        (
            "/urllib?url=URL",
            "View 'by_urllib' (/urllib)",
            "urllib.request.urlopen(",
            "Write 'await client.get(...)' with an httpx.AsyncClient, or 'await"
            " run_sync(urllib.request.urlopen, ...)'",
        ),
        (
            "/sqlite",
            "View 'by_sqlite' (/sqlite)",
            "db.execute(",
            "or use an async driver",
        ),
        ("/json", "View 'by_json' (/json)", "json.dumps(", "A thread does not help"),
        ("/large", "View 'returns_much' (/large)", '@app.get("/large")', "A thread does not help"),
        (
            "/lock",
            "View 'by_lock' (/lock)",
            "with lock:",
            "Use asyncio's lock, event or queue",
        ),
        ("/hook", "Before_request function 'slow_hook'", None, "await asyncio.sleep"),
        ("/helper", "View 'asks_a_helper' (/helper)", None, "in pause: time.sleep(SECONDS)"),
        ("/task", "Function 'work'", None, "in work: time.sleep(SECONDS)"),
        ("/background", "Background task 'later'", None, "in later: time.sleep(SECONDS)"),
    ],
    ids=lambda value: value if str(value).startswith("/") else "",
)
def test_names(
    server: Server, slow_url: str, path: str, who: str, text: str | None, advice: str
) -> None:
    with httpx.Client(base_url=server.url, timeout=90) as client:
        for _ in range(TRIES):
            assert client.get(path.replace("URL", slow_url)).status_code == 200
            if message := named(server, who):
                break
    assert message, server.output
    assert re.search(
        r"blocked the event loop for \d+ ms while (no|\d+) requests? waited,", message
    )
    assert advice in message
    if text is not None:
        assert f"blocking.py:{line_of(text)} in " in message


def test_names_the_handler_of_a_websocket(server: Server) -> None:
    with websockets.sync.client.connect(f"{server.ws_url}/ws") as ws:
        for _ in range(TRIES):
            ws.send("x")
            ws.recv()
            if message := named(server, "WebSocket handler 'chat' (/ws)"):
                break
    assert message, server.output
    assert f"blocking.py:{line_of('async for message') + 1} in chat" in message


def test_names_nobody_else(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=90) as client:
        client.get("/sync")
        while not named(server, "View 'sleep' (/sleep)"):
            client.get("/")
            client.get("/sleep")
    assert "sync_view" not in server.output
    assert "View 'index'" not in server.output


async def test_says_how_many_requests_waited() -> None:
    who = "View 'sleep' (/sleep)"
    with Server("blocking:app", app_dir=APPS) as process:
        async with httpx.AsyncClient(base_url=process.url, timeout=90) as client:
            for _ in range(TRIES):
                asked = [client.get("/sleep"), *(client.get("/") for _ in range(5))]
                await asyncio.gather(*asked)
                if message := named(process, who):
                    break
    assert message, process.output
    count = re.search(r"while (\w+) requests? waited", message)
    assert count is not None
    # Those that were sent beside it may have been answered before.
    assert count[1] == "no" or 1 <= int(count[1]) <= 5
