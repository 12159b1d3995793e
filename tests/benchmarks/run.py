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
import shlex
import shutil
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import growth
import hops
import measure
import report
import startup
from peers import NAMES, PEERS, Peer, versions
from workloads import BY_KEY, Workload

EXTRAS = ("upload-large", "startup", "growth", "hops")
QUICK_PEERS = ("bare", "asyncflask", "starlette", "quart", "flask")
START_SECONDS, EXTRA_SECONDS = 6, 90  # for an estimate only


def main() -> None:
    options = parse_options()
    if options.given is not None:
        document = json.loads(options.given.read_text())
    else:
        document = run(options)
    print(report.text(document))
    for path, content in (
        (options.json, lambda: json.dumps(document, indent=1) + "\n"),
        (options.rst, lambda: report.rst(document)),
        (options.svg, lambda: report.svg(document)),
    ):
        if path is not None:
            path.write_text(content())


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    keys = [*BY_KEY, *EXTRAS]
    add = parser.add_argument
    add("--only", nargs="+", choices=keys, metavar="ROW", help=f"some of {' '.join(keys)}")
    add("--peers", nargs="+", choices=list(NAMES), metavar="PEER", help=f"of {' '.join(NAMES)}")
    add("--rounds", type=int, help="how often each is driven (3)")
    add("--seconds", type=int, help="how long each time (2)")
    add("--connections", type=int, default=32, help="open at a time, unless a row says (32)")
    add("--quick", action="store_true", help="fewer peers, one round of one second: not for print")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--rst", type=Path, metavar="FILE", help="write the tables there")
    add("--svg", type=Path, metavar="FILE", help="write the chart there")
    add("--from", type=Path, dest="given", metavar="FILE", help="measure nothing, take --json's")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (1 if options.quick else 2)
    options.peers = options.peers or (QUICK_PEERS if options.quick else tuple(NAMES))
    options.only = options.only or keys
    return options


def run(options: argparse.Namespace) -> dict[str, Any]:
    if shutil.which("wrk") is None:
        raise SystemExit("The benchmark needs wrk: apt install wrk (or brew install wrk).")
    if not Path("/proc/self/status").exists():
        raise SystemExit("The benchmark reads /proc: it needs Linux.")
    peers = available(options.peers)
    machine = cores()
    rows = [BY_KEY[key] for key in options.only if key in BY_KEY]
    print(f"This takes about {estimate(rows, peers, options):.0f} minutes.", file=sys.stderr)
    began = time.monotonic()
    workloads = {}
    for workload in rows:
        if present := [peer for peer in peers if peer.key in workload.peers]:
            print(workload.title, file=sys.stderr)
            results = measure.run_workload(
                workload,
                present,
                machine,
                rounds=options.rounds,
                seconds=options.seconds,
                connections=options.connections,
                warm_up=not options.quick,
            )
            workloads[workload.key] = measure.as_json(results)
    extras = run_extras(options, peers, machine)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": shlex.join(["python", *sys.argv]),
        "minutes": (time.monotonic() - began) / 60,
        "pinned": machine.server_core is not None,
        **about_this_machine(),
        "versions": versions(peers),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "connections": options.connections,
        "workloads": workloads,
        **extras,
    }


def run_extras(
    options: argparse.Namespace, peers: list[Peer], machine: measure.Machine
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    keys = [peer.key for peer in peers]
    if "upload-large" in options.only:
        print("large upload", file=sys.stderr)
        found["upload"] = {
            peer.key: asdict(measure.large_upload(BY_KEY["upload"], peer, machine))
            for peer in peers
            if peer.key in ("asyncflask", "starlette")
        }
    if "startup" in options.only:
        print("imports and first answers", file=sys.stderr)
        found["startup"] = startup.measure(peers, 2 if options.quick else 7)
    if "hops" in options.only:
        found["hops"] = hops.measure(keys)
    if "growth" in options.only:
        print("growth of the number of routes", file=sys.stderr)
        found["growth"] = growth.measure(keys)
    return found


def available(wanted: tuple[str, ...]) -> list[Peer]:
    """Those which can be served here; who is missing is said, with how to install it."""
    peers = [peer for peer in PEERS if peer.key in wanted]
    for peer in peers:
        if peer.missing:
            print(
                f"{peer.name} is left out: {', '.join(peer.missing)} not installed "
                "(pip install 'asyncflask[bench]').",
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
        warm_up = 0.0 if options.quick else min(once, 1)
        seconds += START_SECONDS + number * (warm_up + options.rounds * (once + 0.15))
    if set(options.only) & set(EXTRAS):
        seconds += EXTRA_SECONDS * (0.5 if options.quick else 1.5)
    return seconds / 60


def about_this_machine() -> dict[str, str]:
    text = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": model[1] if model else platform.machine(),
    }


if __name__ == "__main__":
    main()
