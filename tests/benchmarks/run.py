"""The benchmark: asyncflask and its peers, in turn, with the same work. See `--help`.

It needs the extra ``bench`` and ``wrk``; a peer that is not installed is left out, and so said.
This file reads the command line and puts the parts together: what is asked is in `workloads.py`,
who answers in `peers.py` and `apps/`, how it is measured in `measure.py`, and for what no server's
rate tells in `startup.py`, `growth.py` and `hops.py`. What comes out is in `report.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import growth
import hops
import measure
import report
import startup
from instructions import checkout
from peers import BEFORE, PEERS, Peer, peer_before, version, versions
from workloads import BY_KEY, Workload

EXTRAS = ("memory", "startup", "hops", "growth")
UPLOADERS = ("asyncflask", "starlette")
KEYS = tuple(peer.key for peer in PEERS)
LEFT_OUT = ("litestar", "sanic", "microdot")
"""So that a complete run takes some twenty minutes."""
DEFAULT_PEERS = tuple(key for key in KEYS if key not in LEFT_OUT)
SELDOM = ("hooks", "ws-1")
"""Rows that are measured only where they are named."""
DOCS = Path(__file__).parents[2] / "docs"
ROUNDS, ROUNDS_WITHOUT_AIM = 5, 2
QUICK_PEERS = ("bare", "asyncflask", "starlette", "quart", "flask")
INSTALL = "pip install 'asyncflask[bench]'"
START_SECONDS, EXTRA_SECONDS = 4, 150  # for an estimate only


def main() -> None:
    options = parse_options()
    document = json.loads(options.given.read_text()) if options.given else rounded(run(options))
    print(report.text(document))
    if options.json is not None:
        options.json.write_text(as_json(document))
    if options.docs:
        for name, content in files_of(document).items():
            (DOCS / name).write_text(content)


def files_of(document: dict[str, Any]) -> dict[str, str]:
    """What of the documentation is made of the figures."""
    return {
        "benchmarks.json": as_json(document),
        "benchmarks.csv": report.all_csv(document),
        "benchmarks.svg": report.svg(document),
        "benchmarks-table.rst": report.table_rst(document),
        "benchmarks-aims.rst": report.aims_rst(document),
    }


def as_json(document: dict[str, Any]) -> str:
    """One line for each peer of each row."""
    text = json.dumps(document, indent=1)
    return re.sub(r"\s*\n {4,}\s*|\n {3}(?=[\]}])", " ", text) + "\n"


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    keys = [*BY_KEY, *EXTRAS]
    add = parser.add_argument
    add(
        "--only",
        nargs="+",
        choices=keys,
        metavar="ROW",
        help=f"of {' '.join(keys)}; by default all but {' '.join(SELDOM)}",
    )
    peers_help = f"of {' '.join(KEYS)}; by default all but {' '.join(LEFT_OUT)}"
    add("--peers", nargs="+", choices=KEYS, metavar="PEER", help=peers_help)
    add("--against", metavar="VERSION", help="asyncflask of a commit or folder, as one more peer")
    add("--rounds", type=int, help="how often each is driven (5; 2 in rows without an aim)")
    add("--seconds", type=int, help="how long each time (1)")
    add("--connections", type=int, default=32, help="open at a time, unless a row says (32)")
    add("--quick", action="store_true", help="fewer peers, one round of one second: not for print")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--docs", action="store_true", help="write tables, chart and figures to docs/benchmarks*")
    add("--from", type=Path, dest="given", metavar="FILE", help="measure nothing, take --json's")
    options = parser.parse_args()
    options.seconds = options.seconds or 1
    options.peers = options.peers or (QUICK_PEERS if options.quick else DEFAULT_PEERS)
    options.only = options.only or [key for key in keys if key not in SELDOM]
    return options


def run(options: argparse.Namespace) -> dict[str, Any]:
    peers = available(options.peers)
    if options.against is None:
        return run_with(peers, options)
    with checkout(options.against) as tree:
        return run_with([*peers, peer_before(tree)], options)


def run_with(peers: list[Peer], options: argparse.Namespace) -> dict[str, Any]:
    if shutil.which("wrk") is None:
        raise SystemExit("The benchmark needs wrk: apt install wrk (or brew install wrk).")
    if not Path("/proc/self/status").exists():
        raise SystemExit("The benchmark reads /proc: it needs Linux.")
    machine = cores()
    rows = [BY_KEY[key] for key in options.only if key in BY_KEY]
    print(f"This takes about {estimate(rows, peers, options):.0f} minutes.", file=sys.stderr)
    began, load = time.monotonic(), os.getloadavg()[0]
    workloads = {
        workload.key: attempt(workload.title, run_row, workload, peers, machine, options)
        for workload in rows
    }
    extras = {
        name: attempt(name, run_extra, name, peers, machine, options)
        for name in EXTRAS
        if name in options.only
    }
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": command(options),
        "minutes": (time.monotonic() - began) / 60,
        "load": load,
        "pinned": machine.server_core is not None,
        **about_this_machine(),
        "versions": versions([*peers, *rows]),
        "seconds": options.seconds,
        "connections": options.connections,
        "workloads": {key: results for key, results in workloads.items() if results},
        **extras,
    }


def run_row(
    workload: Workload, peers: list[Peer], machine: measure.Machine, options: argparse.Namespace
) -> dict[str, Any]:
    """The figures of one row, by peer."""
    if missing := [name for name in workload.packages if version(name) is None]:
        raise SystemExit(f"{', '.join(missing)} not installed ({INSTALL}).")
    keys = set(workload.peers)
    if "asyncflask" in keys:
        keys.add(BEFORE)
    peers = [peer for peer in peers if peer.key in keys]
    if not peers:
        return {}
    results = measure.run_workload(
        workload,
        peers,
        machine,
        rounds=rounds_of(workload, options),
        seconds=options.seconds,
        connections=options.connections,
        warm_up=not options.quick,
    )
    return measure.as_json(results)


def rounds_of(workload: Workload, options: argparse.Namespace) -> int:
    if options.rounds or options.quick:
        return options.rounds or 1
    return ROUNDS if workload.has_aim else ROUNDS_WITHOUT_AIM


def run_extra(
    name: str, peers: list[Peer], machine: measure.Machine, options: argparse.Namespace
) -> dict[str, Any]:
    """What no server's rate tells, by peer."""
    keys = [peer.key for peer in peers]
    if name == "startup":
        return startup.measure(peers, 2 if options.quick else 11)
    if name == "hops":
        return hops.measure(keys)
    if name == "growth":
        return growth.measure(keys)
    return {
        peer.key: asdict(measure.large_upload(BY_KEY["upload"], peer, machine))
        for peer in peers
        if peer.key in UPLOADERS
    }


def attempt(title: str, run: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    """What cannot be measured is said, and does not take the rest with it."""
    print(title, file=sys.stderr)
    try:
        return run(*args)
    except (Exception, SystemExit) as error:
        print(f"{title} is left out. {error}", file=sys.stderr)
        return {}


def command(options: argparse.Namespace) -> str:
    """What was asked for, without where the output went."""
    words = ["python", "tests/benchmarks/run.py", *(["--quick"] if options.quick else [])]
    if options.rounds:
        words.append(f"--rounds={options.rounds}")
    words += [f"--{name}={getattr(options, name)}" for name in ("seconds", "connections")]
    if set(options.only) != {*BY_KEY, *EXTRAS} - {*SELDOM}:
        words += ["--only", *options.only]
    if tuple(options.peers) != DEFAULT_PEERS:
        words += ["--peers", *options.peers]
    if options.against is not None:
        words.append(f"--against={options.against}")
    return " ".join(words)


def available(wanted: tuple[str, ...]) -> list[Peer]:
    """Those which can be served here; who is missing is said, with how to install it."""
    peers = [peer for peer in PEERS if peer.key in wanted]
    for peer in peers:
        if peer.missing:
            print(
                f"{peer.name} is left out: {', '.join(peer.missing)} not installed ({INSTALL}).",
                file=sys.stderr,
            )
    return [peer for peer in peers if not peer.missing]


def cores() -> measure.Machine:
    """One core for the servers, and another one for the clients."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or shutil.which("taskset") is None:
        print("Nothing is pinned to a core: that takes taskset and two cores.", file=sys.stderr)
        return measure.Machine(None, None)
    return measure.Machine(cores[0], cores[1])


def estimate(rows: list[Workload], peers: list[Peer], options: argparse.Namespace) -> float:
    """Minutes."""
    seconds = 0.0
    for workload in rows:
        number = sum(peer.key in workload.peers for peer in peers)
        once = options.seconds if workload.ideal is None else workload.ideal + 1
        warm_up = 0 if options.quick else measure.WARM_UP_SECONDS
        rounds = rounds_of(workload, options)
        seconds += START_SECONDS + warm_up + number * rounds * (once + 0.15)
    if set(options.only) & set(EXTRAS):
        seconds += EXTRA_SECONDS * (0.3 if options.quick else 1)
    return seconds / 60


def about_this_machine() -> dict[str, str]:
    text = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": model[1] if model else platform.machine(),
    }


if __name__ == "__main__":
    main()
