"""How long it takes to import each peer, and to have a first answer of a server.

Each time in a new process, in turn, and the median of that. To import is processor time, which
other processes do not lengthen; the first answer is the time from the server's start until the
least of apps has answered. All modules are compiled by then, those of a working directory too, as
they are where an app is installed.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace

from peers import APPS, Peer
from workloads import BY_KEY

from support.servers import HOST

IMPORTS = {
    "bare": "pass",
    "asyncflask": "from asyncflask import Flask",
    "starlette": "from starlette.applications import Starlette",
    "fastapi": "from fastapi import FastAPI",
    "litestar": "from litestar import Litestar",
    "blacksheep": "from blacksheep import Application",
    "falcon": "import falcon.asgi",
    "sanic": "from sanic import Sanic",
    "quart": "from quart import Quart",
    "microdot": "from microdot.asgi import Microdot",
    "flask": "from flask import Flask",
}
HELLO = replace(BY_KEY["text-async"], app="hello")
POLL_SECONDS = 0.002
START_SECONDS = 60.0


def measure(peers: list[Peer], repeats: int) -> dict[str, dict[str, float]]:
    imports: dict[str, list[float]] = {peer.key: [] for peer in peers}
    answers: dict[str, list[float]] = {peer.key: [] for peer in peers}
    with tempfile.TemporaryDirectory() as compiled:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        for number in range(repeats + 1):
            for peer in peers:
                taken = import_seconds(peer, env), first_answer_seconds(peer, env)
                if number:  # The first one only compiles, and has the system read all files.
                    imports[peer.key].append(taken[0])
                    answers[peer.key].append(taken[1])
    return {
        peer.key: {
            "import": statistics.median(imports[peer.key]),
            "first_answer": statistics.median(answers[peer.key]),
        }
        for peer in peers
    }


def import_seconds(peer: Peer, env: dict[str, str]) -> float:
    code = f"import time; t = time.process_time(); {IMPORTS[peer.key]}; "
    code += "print(time.process_time() - t)"
    command = [sys.executable, "-c", code]
    return float(subprocess.run(command, env=env, capture_output=True, check=True).stdout)


def first_answer_seconds(peer: Peer, env: dict[str, str]) -> float:
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    command = [part.replace("{port}", str(port)) for part in peer.command(HELLO)]
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=APPS, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection(HOST, port, timeout=START_SECONDS)
                connection.request("GET", HELLO.requests[0].path)
                response = connection.getresponse()
                taken = time.perf_counter() - began
                connection.close()
                if response.status != 200:
                    raise SystemExit(f"{peer.name} answers with {response.status}.")
                return taken
            if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                raise SystemExit(f"{peer.name} does not start: {' '.join(command)}")
            time.sleep(POLL_SECONDS)
    finally:
        process.kill()  # one that has answered is done; told to stop this early, some never do
        process.wait()
