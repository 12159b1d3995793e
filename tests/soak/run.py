"""A server under a mixed load: ``python tests/soak/run.py --minutes 10``.

Visitors do everything that the app has, politely and not; at the end, when all have left, the
server must hold what it held after its warm-up, and nothing else. What is compared, and how
closely, is in `TOLERANCE`. Needs `redis-server`.

Exit status 0: nothing was lost, nobody saw another's data, nothing is left, the log has no
traceback that the test did not ask for, and SIGTERM ended the server in order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from soak.rooms import NAMES, run_rooms
from soak.visitors import Load, Visitor
from soak.wire import Connection
from support.redis import BINARY, Redis
from support.servers import Server

TESTS: Final = Path(__file__).resolve().parents[1]
VISITORS: Final = 32
WARM_UP_SECONDS: Final = 15.0
SETTLE_SECONDS: Final = 90.0
QUIET_SECONDS: Final = 12.0
"""Idle threads end after 10 seconds, connections to Redis after one: what has not changed for so
long stays."""

TOLERANCE: Final = {
    "tasks": 0,
    "threads": 0,
    "descriptors": 0,
    "temporary files": 0,
    "live contexts and connections": 0,
    # Caches: of regular expressions, of what Python and the client of Redis remember. Equal runs
    # differ by 1,000 in either direction, of 60,000 requests as of a million. A leak of one object
    # in 500 requests exceeds it after a million.
    "objects": 2_000,
    # KiB. The allocator keeps pages of which a part is in use, in an arena for each thread that
    # was there at once: up to 17 MiB after a minute on a busy machine, whose warm-up is short, and
    # 0.5 MiB after a million requests. A leak of 32 bytes for each request exceeds it then.
    "memory (KiB)": 32 * 1024,
}
"""How much more the server may have at the end than after the warm-up."""

BAD_LINE: Final = re.compile(
    "Traceback|Exception ignored|never awaited|never retrieved|destroyed but|Warning:"
)


async def ask(port: int, target: str) -> Any:
    connection = await Connection.open(port)
    await connection.send(target)
    reply = await connection.reply()
    await connection.close()
    return json.loads(reply.body)


async def settled(port: int) -> dict[str, Any]:
    """The state of the server when it does not change any more."""
    began = changed = time.monotonic()
    last: dict[str, int] = {}
    while True:
        state: dict[str, Any] = await ask(port, "/internal/state")
        now = {name: state["holdings"][name] for name, most in TOLERANCE.items() if not most}
        if now != last or state["open requests"]:
            last, changed = now, time.monotonic()
        if time.monotonic() - changed > QUIET_SECONDS or time.monotonic() - began > SETTLE_SECONDS:
            return state
        await asyncio.sleep(1)


async def put_under_load(
    load: Load, redis: Redis, seed: str, may_go_on: Callable[[], bool], restart_after: float | None
) -> None:
    """Visitors come and do things, until *may_go_on* says no. Nobody is left at the end."""

    async def visit() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(VISITORS):
                group.create_task(Visitor(load, f"{seed} {number}").stay(may_go_on))
        load.stopping.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(visit())
        group.create_task(run_rooms(load, redis, seed, restart_after))


async def keep_connected(load: Load) -> list[Any]:
    """Clients that are there when the server stops."""
    visitor = Visitor(load, "at the end")
    stream = await Connection.open(load.port)
    await stream.send(visitor.path("/events", load.token("left")))
    await stream.reader.readuntil(b"\n\n")
    paths = [visitor.path(f"/rooms/{NAMES[0]}/late", load.token("left"), "async")]
    paths += [visitor.path("/ws", load.token("left"), colour) for colour in ("sync", "async")]
    paths.append("/socket.io/?EIO=4&transport=websocket")
    return [stream, *[await load.websocket(path) for path in paths]]


class Soak:
    def __init__(self, options: argparse.Namespace, server: Server, redis: Redis) -> None:
        self.options = options
        self.server = server
        self.redis = redis
        self.problems: list[str] = []
        self.seconds = 0.0

    def expect(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self.problems.append(f"{what}: {found}, expected {expected}")

    async def run(self, files: dict[str, bytes]) -> None:
        port, options = self.server.port, self.options
        warm, load = Load(port, files), Load(port, files)
        load.numbers = warm.numbers
        end = time.monotonic() + WARM_UP_SECONDS
        await put_under_load(
            warm, self.redis, f"{options.seed} warm", lambda: time.monotonic() < end, None
        )
        before = await settled(port)
        print(f"Warm after {warm.requests:,} requests; the load begins.", flush=True)

        began = time.monotonic()
        end = began + options.minutes * 60
        reporter = asyncio.create_task(self.report(load))
        await put_under_load(
            load,
            self.redis,
            str(options.seed),
            lambda: time.monotonic() < end and load.requests < options.requests,
            restart_after=min(options.minutes * 30, 60),
        )
        self.seconds = time.monotonic() - began
        reporter.cancel()
        after = await settled(port)
        self.compare(before["holdings"], after["holdings"])
        self.account([warm, load], after)
        for room in NAMES:
            self.expect(f"members of {room}", await ask(port, f"/members/{room}"), [])
        self.print_load(load)
        self.connected = await keep_connected(load)

    async def report(self, load: Load) -> None:
        while True:
            await asyncio.sleep(60)
            memory = (await ask(self.server.port, "/internal/state"))["holdings"]["memory (KiB)"]
            faults = sum(load.faults.values())
            print(f"{load.requests:10,} requests  {memory:,} KiB  {faults} faults", flush=True)

    def compare(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        print(f"\n{'':32}{'warm':>12}{'end':>12}{'tolerance':>12}")
        for name, more in TOLERANCE.items():
            is_fine = after[name] <= before[name] + more
            mark = "" if is_fine else "  <- too much"
            print(f"{name:32}{before[name]:12,}{after[name]:12,}{more:12,}{mark}")
            if not is_fine:
                self.problems.append(f"{name}: {after[name]:,} after {before[name]:,}")
        types = Counter(after["types"])
        types.subtract(before["types"])
        grown = {name: more for name, more in types.most_common(8) if more > 200}
        if grown:
            print(f"more objects: {grown}")
        if self.problems:
            print(f"there now: {after['names']}")

    def account(self, loads: list[Load], state: dict[str, Any]) -> None:
        """Compare what clients know with what the server has written down."""
        counts: Counter[str] = Counter(state["counts"])
        self.expect("requests without teardown", state["open"], [])
        answered = sum(load.answered for load in loads)
        self.expect("teardowns of requests answered", counts["ended calm"], answered)
        tasks = sum(load.tasks for load in loads)
        self.expect("background tasks begun", counts["tasks begun"], tasks)
        self.expect("background tasks done", counts["tasks done"], tasks)
        self.expect(
            "Socket.IO clients gone",
            counts["Socket.IO clients gone"],
            counts["Socket.IO clients connected"],
        )
        for name, raised in counts.items():
            if name.startswith("raised "):
                stage = name.removeprefix("raised ")
                self.expect(f"errors in the log, {stage}", counts[f"logged {stage}"], raised)
        for faults in (state["faults"], *(load.faults for load in loads)):
            self.problems += [f"{number} x {fault}" for fault, number in faults.items()]

    def print_load(self, load: Load) -> None:
        print(f"\n{load.requests:,} requests and handshakes in {self.seconds:,.0f} s:")
        print(", ".join(f"{name} {number:,}" for name, number in sorted(load.done.items())))

    def look_at_log(self, output: str) -> None:
        lines = output.splitlines()
        for number, line in enumerate(lines):
            if BAD_LINE.search(line):
                self.problems.append("in the log:\n" + "\n".join(lines[number : number + 40]))
                return


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Put a server under a mixed load.")
    parser.add_argument("--minutes", type=float, default=1.0, help="at most (default: 1)")
    parser.add_argument(
        "--requests", type=int, default=sys.maxsize, help="at most (default: no limit)"
    )
    parser.add_argument("--seed", type=int, default=None, help="default: another for each run")
    parser.add_argument("--http", choices=["httptools", "h11"], default="httptools")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="uvloop")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = Random().randrange(1_000_000)
    return options


def main() -> int:
    options = arguments()
    if BINARY is None:
        sys.exit("redis-server is missing: apt install redis-server")
    print(f"--seed {options.seed} --http {options.http} --loop {options.loop}", flush=True)
    chance = Random(options.seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as temporary,
        Redis(persistent=True) as redis,
    ):
        files = {name: chance.randbytes(n) for name, n in (("small", 500), ("large", 900_000))}
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        server = Server(
            "soak.app:app",
            app_dir=TESTS,
            http=options.http,
            args=["--no-access-log", "--loop", options.loop],
            env={"SOAK_FILES": folder, "FLASK_ROOMS_URL": redis.url, "TMPDIR": temporary},
        )
        soak = Soak(options, server, redis)
        server.start()
        try:
            uvloop.run(soak.run(files))
            code = server.stop()
            soak.expect("exit code after SIGTERM", code, 0)
            soak.look_at_log(server.output)
        finally:
            server.close()
    for problem in soak.problems:
        print(problem)
    print("FAILED" if soak.problems else "Nothing was lost, and nothing is left.")
    return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main())
