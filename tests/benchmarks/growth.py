"""How the time of a request grows with what else an app has: routes, hooks of other endpoints,
blueprints with hooks, idle WebSockets.

Without a server; each number in a process of its own, which prints JSON: ``python growth.py PEER
KIND COUNT``. Times are processor time, in µs where nothing else is said.
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

from inprocess import Connection, answer, scope_of
from workloads import Request

ROUTES = (10, 100, 1_000, 10_000)
KINDS = {
    "static routes": ROUTES,
    "parametrised routes": ROUTES,
    "hooks elsewhere": (1, 10, 100, 1_000),
    "blueprints with hooks": (1, 10, 100),
    "idle WebSockets": ROUTES,
}
"""The numbers of each. *Elsewhere* is in a blueprint that the requests do not go to."""
PEERS = {
    "asyncflask": tuple(KINDS),
    "starlette": ("static routes", "parametrised routes"),
}
SAMPLE = 100
"""Paths that are asked for in turn, for routes from the first to the last."""
REPEATS = 40
BUDGET_SECONDS = 2.0
"""After which there are no more repeats."""
REQUESTS = 200
ROUNDS = 5

Figures = dict[str, float]


def measure(peers: list[str]) -> dict[str, dict[str, dict[str, Figures]]]:
    """By peer, kind, and number."""
    return {
        peer: {
            kind: {f"{count:,}": child(peer, kind, count) for count in KINDS[kind]}
            for kind in kinds
        }
        for peer, kinds in PEERS.items()
        if peer in peers
    }


def child(peer: str, kind: str, count: int) -> Figures:
    command = [sys.executable, __file__, peer, kind, str(count)]
    figures: Figures = json.loads(subprocess.run(command, stdout=-1, check=True).stdout)
    return figures


# -- the apps ----------------------------------------------------------------------------------


def paths(kind: str, count: int) -> tuple[list[str], list[str]]:
    """Rules, and for some of them a path that matches."""
    if kind == "static routes":
        rules = [f"/section{number % 10}/page{number}" for number in range(count)]
        return rules, _spread(rules)
    if kind == "parametrised routes":
        rules = [f"/section{number % 10}/items{number}/<int:id>" for number in range(count)]
        return rules, [rule.replace("<int:id>", "42") for rule in _spread(rules)]
    if kind == "blueprints with hooks":
        rules = [f"/section{number}/page" for number in range(count)]
        return rules, _spread(rules)
    return ["/"], ["/"] * SAMPLE


def _spread(rules: list[str]) -> list[str]:
    """As many for few rules as for many: what differs is the number of rules alone."""
    return [rules[number * len(rules) // SAMPLE] for number in range(SAMPLE)]


def asyncflask_app(kind: str, count: int, rules: list[str]) -> Any:
    from asyncflask import Blueprint, Flask, websocket

    app = Flask("growth", static_folder=None)

    async def view(id: int = 0) -> str:
        return "Hello, World!"

    async def hook() -> None:
        pass

    async def after(response: Any) -> Any:
        return response

    for number, rule in enumerate(rules):
        where: Any = app
        if kind == "blueprints with hooks":
            where = Blueprint(f"section{number}", __name__)
            where.before_request(hook)
            where.after_request(after)
        where.add_url_rule(rule, f"view{number}", view)
        if where is not app:
            app.register_blueprint(where)
    if kind == "hooks elsewhere":
        elsewhere = Blueprint("elsewhere", __name__, url_prefix="/elsewhere")
        elsewhere.add_url_rule("/", "view", view)
        for _ in range(count):
            elsewhere.before_request(lambda: hook())
            elsewhere.after_request(lambda response: after(response))
        app.register_blueprint(elsewhere)

    @app.websocket("/ws")
    async def echo() -> None:
        while True:
            await websocket.send(await websocket.receive())

    return app


def starlette_app(kind: str, count: int, rules: list[str]) -> Any:
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


# -- one number --------------------------------------------------------------------------------


def least(run: Callable[[], int]) -> float:
    """The least µs of several times; *run* gives how many it has done."""
    times = []
    end = time.monotonic() + BUDGET_SECONDS
    for _ in range(REPEATS):
        began = time.process_time()
        done = run()
        times.append((time.process_time() - began) / done * 1e6)
        if time.monotonic() > end:
            break
    return min(times)


async def open_websockets(app: Any, count: int) -> list[asyncio.Task[None]]:
    """WebSockets that have said one message each, and say no more."""
    tasks = []
    for _ in range(count):
        connection = Connection(1, leaves=False)
        scope = {**scope_of(Request("/ws")), "type": "websocket", "scheme": "ws"}
        del scope["method"]
        coro = app({**scope, "subprotocols": []}, connection.receive, connection.send)
        tasks.append(asyncio.create_task(coro))
        await connection.silent.wait()
    return tasks


def main() -> None:
    peer, kind, number = sys.argv[1:]
    count = int(number)
    rules, asked = paths(kind, count)
    began = time.process_time()
    app = {"asyncflask": asyncflask_app, "starlette": starlette_app}[peer](kind, count, rules)
    requests = [(scope_of(Request(path)), Request(path)) for path in asked]
    figures: Figures = {}
    with asyncio.Runner() as runner:

        def respond() -> int:
            runner.run(answer(app, requests, REQUESTS))
            return REQUESTS

        runner.run(answer(app, requests, 1))
        made = time.process_time() - began
        idle = runner.run(open_websockets(app, count if kind == "idle WebSockets" else 0))
        respond()
        functions = matchers(peer, app, asked)
        gc.collect()
        if not idle:  # whose objects a server's collector does look through
            gc.freeze()

        def match() -> int:
            for _ in range(ROUNDS):
                for function in functions:
                    function()
            return ROUNDS * len(functions)

        if kind.endswith("routes"):
            figures["match"] = least(match)
        figures["request"] = least(respond)
        if kind.endswith("routes"):
            figures["made, in s"] = made
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
