"""`asyncflask.socketio` with the real client for JavaScript: `socket.io-client`, from npm."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from socketio_apps.npm import install_client
from support.servers import Server

pytestmark = pytest.mark.slow

APPS = Path(__file__).parent / "socketio_apps"
SECONDS = 80
TRANSPORTS = ["polling", "websocket", "polling,websocket"]
SCENARIOS = [
    "events",
    "acknowledgements_to_the_server",
    "binary",
    "rooms",
    "views_and_tasks",
    "namespaces",
    "refused",
    "own_session",
    "errors",
    "disconnected_by_the_server",
]


@pytest.fixture(scope="module")
def node_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(install_client(tmp_path_factory.mktemp("npm")))


def start_client(
    scenario: str, server: Server, transports: str, node_path: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["node", str(APPS / "client.cjs"), scenario, server.url, transports],
        env={**os.environ, "NODE_PATH": node_path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(client: subprocess.Popen[str], server: Server) -> None:
    try:
        _, errors = client.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        client.kill()
        client.communicate()
        raise
    assert client.returncode == 0, f"{errors}\n{server.output}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("everything:app", app_dir=APPS, args=["--no-access-log"]) as server:
        yield server


@pytest.mark.parametrize("transports", TRANSPORTS)
def test_client(server: Server, transports: str, node_path: str) -> None:
    for scenario in SCENARIOS:
        finish(start_client(scenario, server, transports, node_path), server)
    output = server.output
    # What the handlers raise on purpose, and nothing else.
    assert output.count("Traceback") == output.count("LookupError: in the handler of") + 1
    assert output.count("The return value of a Socket.IO handler could not be sent") == 1
    assert "left: False" not in output


@pytest.mark.parametrize("transports", TRANSPORTS)
def test_client_comes_back_after_a_restart(
    server: Server, transports: str, node_path: str
) -> None:
    client = start_client("reconnects", server, transports, node_path)
    assert client.stdout is not None
    assert client.stdout.readline() == "ready\n", server.output
    assert server.stop() == 0, server.output
    assert "left: True" in server.output
    assert "Traceback" not in server.output
    with Server(
        "everything:app", app_dir=APPS, args=["--no-access-log"], port=server.port
    ) as second:
        finish(client, second)
