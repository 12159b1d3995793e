"""Requests per second of one small app, in asyncflask, its peers, and with no framework at all.

``python tests/benchmarks/run.py`` prints a table; ``--help`` says what else it can do. It needs
the extra ``bench`` and ``wrk``; a peer that is not installed is left out, and so said.

All servers are up at the same time and are driven in turn, over several rounds, so that what else
happens on the machine meets each of them alike. What lives in ``apps/`` is what they serve.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))  # This is started as a script, not by pytest.
from support.servers import HOST, Process, Server

APPS = Path(__file__).parent / "apps"
THREADS = 8  # of gunicorn, for Flask
UVICORN = ["--loop", "uvloop", "--workers", "1", "--no-access-log"]
GUNICORN = ["--worker-class", "gthread", "--workers", "1", "--threads", str(THREADS)]
GUNICORN += ["--no-control-socket"]  # It would be a file in the home directory.


@dataclass(frozen=True)
class Peer:
    """One of those compared: the module in ``apps/``, and what it needs to be installed."""

    name: str
    module: str
    needs: tuple[str, ...]
    wsgi: bool = False

    @property
    def missing(self) -> list[str]:
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    def server(self, prefix: Sequence[str]) -> Process:
        if self.wsgi:
            command = [*prefix, sys.executable, "-m", "gunicorn", *GUNICORN]
            command += ["--bind", f"{HOST}:{{port}}", "--chdir", str(APPS), f"{self.module}:app"]
            return Process(command)
        return Server(
            f"{self.module}:app", app_dir=APPS, http="httptools", args=UVICORN, prefix=prefix
        )


PEERS = (
    Peer("bare ASGI", "bare", ("uvloop", "httptools")),
    Peer("Starlette", "starlette_app", ("starlette", "uvloop", "httptools")),
    Peer("asyncflask", "asyncflask_app", ("asyncflask", "uvloop", "httptools")),
    Peer("Quart", "quart_app", ("quart", "uvloop", "httptools")),
    Peer("Flask", "flask_app", ("flask", "asgiref", "gunicorn"), wsgi=True),
)
BASES = ("Starlette", "bare ASGI")  # whom the others are compared with
PACKAGES = (
    "asyncflask",
    "starlette",
    "quart",
    "flask",
    "uvicorn",
    "uvloop",
    "httptools",
    "gunicorn",
)


@dataclass(frozen=True)
class Workload:
    name: str
    path: str
    content_type: str
    body: bytes


WORKLOADS = (
    Workload("async view, text", "/async", "text/plain; charset=utf-8", b"Hello, World!"),
    Workload("sync view, text", "/sync", "text/plain; charset=utf-8", b"Hello, World!"),
    Workload(
        "async view, parameters to JSON",
        "/users/42?page=7&q=hello",
        "application/json",
        b'{"id":42,"page":7,"q":"hello"}\n',
    ),
)
Rates = dict[str, dict[str, list[float]]]  # workload, peer, requests per second of each round


def main() -> None:
    options = parse_options()
    if shutil.which("wrk") is None:
        raise SystemExit("The benchmark needs wrk: apt install wrk (or brew install wrk).")
    peers = available_peers()
    server_core, client_core = cores()
    with ExitStack() as stack:
        servers = {peer: stack.enter_context(peer.server(server_core)) for peer in peers}
        urls = {peer.name: server.url for peer, server in servers.items()}
        check_answers(urls)
        rates = measure(urls, client_core, options)
    print(text_table(rates))
    if options.json is not None:
        options.json.write_text(json.dumps(report(rates, options), indent=2) + "\n")
    if options.rst is not None:
        options.rst.write_text(rst_table(rates, options))


def parse_options() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each is driven (5)")
    parser.add_argument("--seconds", type=int, default=3, help="how long each time (3)")
    parser.add_argument("--connections", type=int, default=32, help="open at a time (32)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    parser.add_argument("--rst", type=Path, metavar="FILE", help="also write the table there")
    return parser.parse_args()


def available_peers() -> list[Peer]:
    """Those which can be served here; who is missing is said, with how to install it."""
    for peer in PEERS:
        if peer.missing:
            print(
                f"{peer.name} is left out: {', '.join(peer.missing)} not installed "
                "(pip install 'asyncflask[bench]').",
                file=sys.stderr,
            )
    return [peer for peer in PEERS if not peer.missing]


def cores() -> tuple[list[str], list[str]]:
    """Command prefixes which keep the servers on one core, and wrk on another."""
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(available) < 2 or shutil.which("taskset") is None:
        print("Nothing is pinned to a core: that takes taskset and two cores.", file=sys.stderr)
        return [], []
    return ["taskset", "-c", str(available[0])], ["taskset", "-c", str(available[1])]


def check_answers(urls: Mapping[str, str]) -> None:
    """All must answer the same bytes, or there is nothing to compare."""
    for workload in WORKLOADS:
        expected = (200, workload.content_type, workload.body)
        for name, url in urls.items():
            response = httpx.get(url + workload.path)
            got = (response.status_code, response.headers["content-type"], response.content)
            if got != expected:
                raise SystemExit(
                    f"{name} answers {workload.path} with\n  {got}\nand not with\n  {expected}"
                )


def measure(urls: Mapping[str, str], prefix: list[str], options: argparse.Namespace) -> Rates:
    rates: Rates = {load.name: {name: [] for name in urls} for load in WORKLOADS}
    for load in WORKLOADS:
        for url in urls.values():
            drive(url + load.path, prefix, seconds=1, connections=options.connections)  # warm-up
        for number in range(options.rounds):
            names = list(urls)
            first = number % len(names)  # Nobody is always the one after the slowest.
            for name in names[first:] + names[:first]:
                url = urls[name] + load.path
                rate = drive(url, prefix, options.seconds, options.connections)
                rates[load.name][name].append(rate)
                print(f"{load.name}, round {number + 1}, {name}: {rate:,.0f}/s", file=sys.stderr)
    return rates


def drive(url: str, prefix: list[str], seconds: int, connections: int) -> float:
    """Requests per second, all of which were answered with success."""
    command = [*prefix, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(f"Not all requests to {url} went well:\n{output}")
    found = re.search(r"^Requests/sec:\s+([\d.]+)", output, re.MULTILINE)
    if found is None:
        raise SystemExit(f"wrk says nothing of a rate:\n{output}")
    return float(found[1])


def rows(rates: Mapping[str, list[float]]) -> list[tuple[str, ...]]:
    """For each peer its name, median, and ratios to those it is compared with, as text."""
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return [
        (
            name,
            f"{median:,.0f}",
            *(f"{median / medians[base]:.2f}" if base in medians else "" for base in BASES),
        )
        for name, median in medians.items()
    ]


def headings(workload: str) -> tuple[str, ...]:
    return (workload, "requests/s", *(f"to {base}" for base in BASES))


def text_table(rates: Rates) -> str:
    lines = []
    for workload, by_peer in rates.items():
        for row in (headings(workload), *rows(by_peer)):
            first, *others = row
            lines.append(f"{first:<32}" + "".join(f"{cell:>14}" for cell in others))
        lines.append("")
    return "\n".join(lines)


def rst_table(rates: Rates, options: argparse.Namespace) -> str:
    lines = []
    for workload, by_peer in rates.items():
        lines += [".. list-table::", "   :header-rows: 1", "   :widths: 40 20 20 20", ""]
        for row in (headings(workload), *rows(by_peer)):
            first, *others = row
            lines += [f"   * - {first}", *(f"     - {cell}".rstrip() for cell in others)]
        lines.append("")
    facts = machine()
    used = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines += [
        f"Medians of {options.rounds} rounds of {options.seconds} s each, with "
        f"{options.connections} connections, on {datetime.now(UTC):%Y-%m-%d}. Servers have one "
        f"worker, on one core of {facts['processor']}; Flask has gunicorn with {THREADS} threads, "
        f"the others uvicorn. {facts['python']}, {used}.",
        "",
    ]
    return "\n".join(lines)


def report(rates: Rates, options: argparse.Namespace) -> dict[str, object]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **machine(),
        "versions": versions(),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "connections": options.connections,
        "results": {
            workload: {
                name: {"median": statistics.median(values), "rounds": values}
                for name, values in by_peer.items()
            }
            for workload, by_peer in rates.items()
        },
    }


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str]:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": model[1] if model else platform.machine(),
    }


if __name__ == "__main__":
    main()
