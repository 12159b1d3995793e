"""Messages per second to 2,000 WebSocket clients in one room, in asyncflask and its peers.

``python tests/benchmarks/rooms.py`` prints a table; ``--help`` says what else it can do. It needs
Linux, taskset and the extra ``bench``; a peer that is not installed is left out, and so said.

All servers are up at the same time, each with all of its clients, on one core; the clients are on
another. The servers are driven in turn, over several rounds, so that what else happens on the
machine meets each of them alike: compare the figures of one run, not those of two. What they serve
is in ``apps/rooms_*.py``.

A round has two parts. For the rate some broadcasts are under way all the time; for the latency
there is one at a time, and it is the time from sending it until a client has it.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import importlib.util
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))  # This is started as a script, not by pytest.
from support.servers import HOST, Server

APPS = Path(__file__).parent / "apps"
UVICORN = ["--loop", "uvloop", "--workers", "1", "--no-access-log"]
# No pings: clients tell messages by their length alone.
UVICORN += ["--ws-ping-interval", "3600", "--ws-ping-timeout", "3600"]
UNDER_WAY = 4  # broadcasts, while the rate is measured
AT_ONCE = 50  # handshakes
SETTLE_SECONDS = 2.0
TIMEOUT = 120.0
TEXT = "x" * 64
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Peer:
    """One of those compared: its app, what it needs, and how its clients speak."""

    name: str
    module: str
    needs: tuple[str, ...]
    path: str = "/ws"
    socketio: bool = False

    @property
    def missing(self) -> list[str]:
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    def text(self) -> str:
        return f'42["message","{TEXT}"]' if self.socketio else TEXT


PEERS = (
    Peer("Starlette", "rooms_starlette", ("starlette",)),
    Peer("asyncflask", "rooms_asyncflask", ("asyncflask",)),
    Peer("Quart", "rooms_quart", ("quart",)),
    Peer(
        "python-socketio",
        "rooms_socketio",
        ("socketio",),
        "/socket.io/?EIO=4&transport=websocket",
        socketio=True,
    ),
)
BASE = "Starlette"
PACKAGES = (
    "asyncflask",
    "starlette",
    "quart",
    "python-socketio",
    "uvicorn",
    "uvloop",
    "websockets",
)


def sent_frame(text: str) -> bytes:
    """A client's text message, with a mask of zeros (RFC 6455 section 5.3)."""
    data = text.encode()
    assert len(data) < 126
    return bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data


def received_frame(text: str) -> bytes:
    data = text.encode()
    assert len(data) < 126
    return bytes([0x81, len(data)]) + data


class Client(asyncio.Protocol):
    """One WebSocket. Once it is set up, it only counts what it gets."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self.data = b""
        self.missing = 0  # bytes until the next message is complete; 0 while setting up
        self.count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(
            f"GET {self.room.peer.path} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if not self.missing:
            self.set_up(data)
            return
        missing = self.missing - len(data)
        while missing <= 0:
            missing += self.room.size
            self.room.arrived(self.count)
            self.count += 1
        self.missing = missing

    def set_up(self, data: bytes) -> None:
        self.data += data
        head, end, rest = self.data.partition(b"\r\n\r\n")
        if not end:
            return
        assert head.startswith(b"HTTP/1.1 101 "), head
        if self.room.peer.socketio:
            if b"40{" in rest:
                pass
            elif rest.startswith(b"\x81") and rest.endswith(b"}"):  # its greeting
                self.transport.write(sent_frame("40"))
                self.data = head + end
                return
            else:
                return
        self.missing = self.room.size
        self.data = b""
        self.ready.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.room.closing:
            raise SystemExit(f"A client of {self.room.peer.name} lost its connection: {error}")


class Room:
    """All clients of one server."""

    def __init__(self, peer: Peer, server: Server) -> None:
        self.peer = peer
        self.server = server
        self.clients: list[Client] = []
        self.size = len(received_frame(peer.text()))
        self.closing = False
        self.bytes_per_client = 0.0
        self.sent_at: list[float] = []
        self.left: list[int] = []  # clients that have not got it, for each broadcast
        self.latencies: list[float] = []
        self.wanted = 0
        self.done: asyncio.Future[None]

    async def open(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        before = memory(self.server.pid)
        for _ in range(0, number, AT_ONCE):
            new = [
                loop.create_connection(lambda: Client(self), HOST, self.server.port)
                for _ in range(AT_ONCE)
            ]
            clients = [client for _, client in await asyncio.gather(*new)]
            await asyncio.wait_for(asyncio.gather(*(c.ready for c in clients)), TIMEOUT)
            self.clients += clients
        await asyncio.sleep(SETTLE_SECONDS)
        self.bytes_per_client = (memory(self.server.pid) - before) / len(self.clients)

    def send(self) -> None:
        self.sent_at.append(time.perf_counter())
        self.left.append(len(self.clients))
        self.clients[0].transport.write(sent_frame(self.peer.text()))

    def arrived(self, number: int) -> None:
        self.latencies.append(time.perf_counter() - self.sent_at[number])
        self.left[number] -= 1
        if not self.left[number]:
            if len(self.sent_at) < self.wanted:
                self.send()
            elif number == self.wanted - 1:
                self.done.set_result(None)

    async def run(self, broadcasts: int, under_way: int) -> float:
        """Seconds for so many broadcasts. Their latencies are in `latencies` after it."""
        self.done = asyncio.get_running_loop().create_future()
        self.latencies = []
        self.wanted = len(self.sent_at) + broadcasts
        started = time.perf_counter()
        for _ in range(min(under_way, broadcasts)):
            self.send()
        await asyncio.wait_for(self.done, TIMEOUT)
        return time.perf_counter() - started

    def close(self) -> None:
        self.closing = True
        for client in self.clients:
            client.transport.abort()


@dataclass
class Figures:
    """Of one peer, from each round."""

    rates: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)
    slowest: list[float] = field(default_factory=list)
    bytes_per_client: float = 0.0


def memory(pid: int) -> int:
    """Bytes that a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def measure(servers: dict[Peer, Server], options: argparse.Namespace) -> dict[str, Figures]:
    rooms = [Room(peer, server) for peer, server in servers.items()]
    figures = {room.peer.name: Figures() for room in rooms}
    for room in rooms:
        await room.open(options.clients)
        figures[room.peer.name].bytes_per_client = room.bytes_per_client
        await room.run(5, UNDER_WAY)  # to warm up
    for number in range(options.rounds):
        # Each begins once; who is next to whom changes.
        for room in rooms[number % len(rooms) :] + rooms[: number % len(rooms)]:
            found = figures[room.peer.name]
            before = processor_seconds(room.server.pid)
            seconds = await room.run(options.broadcasts, UNDER_WAY)
            used = processor_seconds(room.server.pid) - before
            deliveries = options.broadcasts * len(room.clients)
            found.rates.append(deliveries / seconds)
            found.processor.append(used / deliveries)
            await room.run(options.broadcasts, 1)
            cuts = statistics.quantiles(room.latencies, n=100)
            found.medians.append(cuts[49])
            found.slowest.append(cuts[98])
            print(
                f"round {number + 1}: {room.peer.name:16}{found.rates[-1]:10,.0f}/s",
                file=sys.stderr,
            )
    for room in rooms:
        room.close()
    await asyncio.sleep(0.5)
    return figures


HEADS = (
    "",
    "messages/s",
    "of Starlette's",
    "processor time",
    "p50",
    "p99",
    "memory",
)


def rows(figures: dict[str, Figures]) -> list[list[str]]:
    found = []
    for name, of in figures.items():
        # The ratio round by round: what disturbs one round disturbs all in it.
        base = figures[BASE].rates if BASE in figures else of.rates
        ratio = statistics.median(a / b for a, b in zip(of.rates, base, strict=True))
        found.append(
            [
                name,
                f"{statistics.median(of.rates):,.0f}",
                f"{ratio:.2f}",
                f"{statistics.median(of.processor) * 1e6:.1f} µs",
                f"{statistics.median(of.medians) * 1e3:.1f} ms",
                f"{statistics.median(of.slowest) * 1e3:.1f} ms",
                f"{of.bytes_per_client / 1024:.1f} KiB",
            ]
        )
    return found


def text_table(figures: dict[str, Figures]) -> str:
    table = [list(HEADS), *rows(figures)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADS))]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def rst_table(figures: dict[str, Figures], options: argparse.Namespace, load: float) -> str:
    lines = [".. list-table::", "    :header-rows: 1", ""]
    for row in [list(HEADS), *rows(figures)]:
        lines += [f"    {'*' if cell is row[0] else ' '} - {cell}".rstrip() for cell in row]
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in PACKAGES if installed(name)
    )
    lines += [
        "",
        f"Measured on {datetime.now(UTC):%Y-%m-%d} with Python {platform.python_version()},"
        f" {versions}: {options.clients:,} clients, medians of {options.rounds} rounds of"
        f" {options.broadcasts} broadcasts, one core each for servers and clients, with a load"
        f" average of {load:.1f} at the beginning.",
    ]
    return "\n".join(lines) + "\n"


def installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def cores() -> tuple[list[str], set[int]]:
    """The prefix that keeps servers on one core; the other cores, for the clients."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise SystemExit("The benchmark needs two cores, one of them for the clients.")
    return ["taskset", "--cpu-list", str(available[0])], set(available[1:])


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=2000, help="in the room (2000)")
    parser.add_argument("--rounds", type=int, default=7, help="how often each is driven (7)")
    parser.add_argument("--broadcasts", type=int, default=60, help="in each round (60)")
    parser.add_argument("--only", action="append", metavar="NAME", help="one of the peers")
    parser.add_argument("--rst", type=Path, metavar="FILE", help="also write the table there")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse_options()
    load = os.getloadavg()[0]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    prefix, own_cores = cores()
    peers = []
    for peer in PEERS:
        if peer.missing:
            print(f"{peer.name} is left out: {peer.missing} not installed.", file=sys.stderr)
        elif options.only is None or peer.name in options.only:
            peers.append(peer)
    with ExitStack() as stack:
        servers = {
            peer: stack.enter_context(
                Server(f"{peer.module}:app", app_dir=APPS, args=UVICORN, prefix=prefix)
            )
            for peer in peers
        }
        os.sched_setaffinity(0, own_cores)
        figures = uvloop.run(measure(servers, options))
    print(text_table(figures))
    if options.rst is not None:
        options.rst.write_text(rst_table(figures, options, load))


if __name__ == "__main__":
    main()
