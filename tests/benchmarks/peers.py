"""Who is compared, and how each is served: one worker, and as its documentation advises.

What they serve is in `apps/`, one module per peer and kind of app.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from apps.common import WAITING_THREADS
from workloads import Workload

sys.path.insert(0, str(Path(__file__).parents[1]))  # This is started as a script, not by pytest.
from support.servers import HOST, Process

APPS = Path(__file__).parent / "apps"
THREADS = 8
"""Of gunicorn, for Flask; as many as may wait where requests wait."""


@dataclass(frozen=True)
class Peer:
    """*key*: of its modules in `apps/`. *packages*: whose versions are told; without one of them
    the peer is left out."""

    key: str
    name: str
    packages: tuple[str, ...]
    server: str = "uvicorn"
    source: Path | None = None
    """Where the package is taken from, if not from the import path."""

    @property
    def missing(self) -> list[str]:
        return [name for name in self.packages if version(name) is None]

    def command(self, workload: Workload) -> list[str]:
        key = "asyncflask" if self.key == BEFORE else self.key
        target = ":".join(workload.module_and_app(key))
        if self.server == "gunicorn":
            threads = WAITING_THREADS if workload.kind == "wait" else THREADS
            options = ["--worker-class", "gthread", "--workers", "1", "--threads", str(threads)]
            # A control socket would be a file in the home directory.
            options += ["--bind", f"{HOST}:{{port}}", "--no-control-socket", target]
        elif self.server == "sanic":
            options = [target, "--host", HOST, "--port", "{port}", "--single-process"]
            options += ["--no-motd", "--no-access-logs"]
        else:
            options = [target, "--host", HOST, "--port", "{port}", "--loop", "uvloop"]
            options += ["--http", "httptools", "--no-access-log", "--log-level", "warning"]
        return [sys.executable, "-m", self.server, *options]


PEERS = (
    Peer("bare", "bare ASGI", ("starlette",)),
    Peer("asyncflask", "asyncflask", ("asyncflask", "werkzeug")),
    Peer("starlette", "Starlette", ("starlette", "python-multipart")),
    Peer("fastapi", "FastAPI", ("fastapi", "pydantic")),
    Peer("litestar", "Litestar", ("litestar", "msgspec")),
    Peer("blacksheep", "BlackSheep", ("blacksheep",)),
    Peer("falcon", "Falcon", ("falcon",)),
    Peer("sanic", "Sanic", ("sanic", "sanic-ext"), server="sanic"),
    Peer("quart", "Quart", ("quart",)),
    Peer("microdot", "Microdot", ("microdot",)),
    Peer("flask", "Flask", ("flask", "asgiref", "gunicorn"), server="gunicorn"),
)
BEFORE = "before"
NAMES = {peer.key: peer.name for peer in PEERS} | {BEFORE: "asyncflask before"}


def peer_before(tree: Path) -> Peer:
    """asyncflask as it is in *tree*, beside the one that can be imported."""
    return Peer(BEFORE, NAMES[BEFORE], (), source=tree / "src")


SERVERS = ("uvicorn", "uvloop", "httptools", "websockets", "gunicorn")


def version(package: str) -> str | None:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def versions(users: Iterable[Peer | Workload]) -> dict[str, str]:
    names = dict.fromkeys(name for user in users for name in user.packages)
    found = {name: version(name) for name in (*names, *SERVERS)}
    return {name: number for name, number in found.items() if number is not None}


class Served:
    """A peer that is being served, and what its processes take."""

    def __init__(self, peer: Peer, workload: Workload, files: Path, core: int | None) -> None:
        self.peer = peer
        places = [str(APPS), str(peer.source or ""), os.environ.get("PYTHONPATH", "")]
        path = os.pathsep.join(filter(None, places))
        env = {"BENCH_FILES": str(files), "PYTHONUNBUFFERED": "", "PYTHONPATH": path}
        self._process = Process(peer.command(workload), cwd=APPS, env=env)
        self._core = core

    def start(self) -> None:
        try:
            self._process.start()
        except BaseException as error:
            self._process.close()
            raise SystemExit(f"{self.peer.name} does not start. {error}") from error
        if self._core is not None:
            for pid in self.pids():
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    os.sched_setaffinity(int(thread.name), {self._core})

    def stop(self) -> None:
        self._process.stop()
        self._process.close()

    @property
    def port(self) -> int:
        return self._process.port

    @property
    def output(self) -> str:
        return self._process.output

    def pids(self) -> list[int]:
        """The server's process and those that it started."""
        pids = [self._process.pid]
        for pid in pids:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            pids += [int(child) for child in children.split()]
        return pids

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # proc(5): utime, stime
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self, field: str = "VmRSS") -> float:
        """Resident MB of the process that answers; ``VmHWM`` is the most so far."""
        status = Path(f"/proc/{self.pids()[-1]}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(field))
        return int(line.split()[1]) / 1024


@contextmanager
def serve(
    peers: list[Peer], workload: Workload, files: Path, core: int | None
) -> Iterator[list[Served]]:
    """All *peers* up at the same time, pinned to one core once they have started."""
    servers = [Served(peer, workload, files, core) for peer in peers]
    with ThreadPoolExecutor(len(servers)) as pool:
        started = [pool.submit(server.start) for server in servers]
        try:
            for future in started:
                future.result()
            yield servers
        finally:
            for server, future in zip(servers, started, strict=True):
                if future.exception() is None:
                    pool.submit(server.stop)
