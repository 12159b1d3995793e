"""Without the extras, everything that needs none of them works, as after the README's first
command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHAT = Path(__file__).parents[1] / "examples" / "chat"
SECONDS = 120

WITHOUT = """
import sys

for name in ("engineio", "httpx", "libcst", "orjson", "pydantic", "pytest", "redis", "socketio"):
    sys.modules[name] = None
"""


def run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT + code],
        cwd=CHAT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr


def test_chat() -> None:
    run(
        """
from app import app

with app.test_client().websocket_connect("/ws/lobby") as ws:
    ws.send_json({"type": "join", "name": "Ada"})
    assert ws.receive_json()["you"] == "Ada"
"""
    )


def test_rooms_in_redis_say_what_to_install() -> None:
    run(
        """
from asyncflask import Flask
from asyncflask.rooms import Rooms

try:
    Rooms(Flask("app"), url="redis://localhost")
except RuntimeError as error:
    assert "asyncflask[redis]" in str(error), error
else:
    raise AssertionError
"""
    )


def test_commands_and_servers() -> None:
    run("import asyncflask.cli, asyncflask.serving, asyncflask.testing, asyncflask.events")
