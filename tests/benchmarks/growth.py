"""How the time of a request, and of matching its URL, grows with the number of routes.

Without a server; each number of routes in a process of its own, which prints JSON:
``python growth.py PEER KIND COUNT``. Times are processor time, in µs where nothing else is said.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from inprocess import answer, scope_of
from workloads import Request

COUNTS = (10, 100, 1_000, 10_000)
KINDS = ("static", "parametrised")
PEERS = ("asyncflask", "starlette")
SAMPLE = 100
"""Paths that are asked for in turn, for routes from the first to the last."""
REPEATS = 40
REQUESTS = 200
ROUNDS = 5

Figures = dict[str, float]


def measure(peers: list[str]) -> dict[str, dict[str, dict[str, Figures]]]:
    """By peer, kind of route, and number of routes."""
    return {
        peer: {
            kind: {f"{count:,}": child(peer, kind, count) for count in COUNTS} for kind in KINDS
        }
        for peer in peers
        if peer in PEERS
    }


def child(peer: str, kind: str, count: int) -> Figures:
    command = [sys.executable, __file__, peer, kind, str(count)]
    figures: Figures = json.loads(subprocess.run(command, stdout=-1, check=True).stdout)
    return figures


def paths(kind: str, count: int) -> tuple[list[str], list[str]]:
    """Rules, and for some of them a path that matches."""
    if kind == "static":
        rules = [f"/section{number % 10}/page{number}" for number in range(count)]
        return rules, _spread(rules)
    rules = [f"/section{number % 10}/items{number}/<int:id>" for number in range(count)]
    return rules, [rule.replace("<int:id>", "42") for rule in _spread(rules)]


def _spread(rules: list[str]) -> list[str]:
    """As many for few rules as for many: what differs is the number of rules alone."""
    return [rules[number * len(rules) // SAMPLE] for number in range(SAMPLE)]


def asyncflask_app(rules: list[str]) -> Any:
    from asyncflask import Flask

    app = Flask("growth", static_folder=None)

    async def view(id: int = 0) -> str:
        return "Hello, World!"

    for number, rule in enumerate(rules):
        app.add_url_rule(rule, f"view{number}", view)
    return app


def starlette_app(rules: list[str]) -> Any:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    async def view(request: Request) -> Response:
        return PlainTextResponse("Hello, World!")

    return Starlette(routes=[Route(rule.replace("<int:id>", "{id:int}"), view) for rule in rules])


def matchers(peer: str, app: Any, asked: list[str]) -> list[Callable[[], Any]]:
    """Functions that match one path each, and do nothing else."""
    if peer == "asyncflask":
        return [app.test_request_context(path).match_request for path in asked]
    scopes = [scope_of(Request(path)) for path in asked]

    def match(scope: dict[str, Any]) -> None:
        for route in app.routes:
            if route.matches(scope)[0].value == 2:
                return
        raise LookupError(scope["path"])

    return [lambda scope=scope: match(scope) for scope in scopes]  # type: ignore[misc]


def least(run: Callable[[], int]) -> float:
    """The least µs of several times; *run* gives how many it has done."""
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        done = run()
        times.append((time.process_time() - began) / done * 1e6)
    return min(times)


def main() -> None:
    peer, kind, count = sys.argv[1:]
    rules, asked = paths(kind, int(count))
    began = time.process_time()
    app = {"asyncflask": asyncflask_app, "starlette": starlette_app}[peer](rules)
    requests = [(scope_of(Request(path)), Request(path)) for path in asked]
    with asyncio.Runner() as runner:

        def respond() -> int:
            runner.run(answer(app, requests, REQUESTS))
            return REQUESTS

        runner.run(answer(app, requests, 1))
        made = time.process_time() - began
        respond()
        functions = matchers(peer, app, asked)
        gc.collect()
        gc.freeze()

        def match() -> int:
            for _ in range(ROUNDS):
                for function in functions:
                    function()
            return ROUNDS * len(functions)

        figures = {"match": least(match), "request": least(respond), "made, in s": made}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
