"""Run the Autobahn test suite against an echo, in asyncflask and as a bare ASGI callable.

    python tests/conformance/autobahn.py [--python2 python2.7] [--cases "1.*" ...] [--write]

The suite (`wstest`) needs Python 2.7; it is installed into a virtual environment of its own, in
the folder given with ``--work``. Each WebSocket implementation of uvicorn is tested, and this
fails if a case fails in asyncflask and not with the bare callable. The whole takes some hours, and
may be done in parts: results are kept in that folder, and ``--write`` records all there are in
``docs/autobahn.rst``. pytest does not run this.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from textwrap import fill

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.servers import Server

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "autobahn.rst"
WIDTH = 99
SUITE = "autobahntestsuite==0.8.2"
VIRTUALENV = "virtualenv==20.15.1"  # the last for Python 2.7
IMPLEMENTATIONS = ("websockets-sansio", "wsproto", "websockets")
AGENTS = {"bare": ("bare", "/"), "async": ("app", "/"), "plain": ("app", "/plain")}
"""What is compared: attribute of `autobahn_apps`, and path."""

FAILURES = ("FAILED", "UNCLEAN", "WRONG CODE")
RANKS = ("OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED", *FAILURES)
"""What the suite says of a case, the best first."""

Results = dict[str, list[str]]
"""By case: the behaviour, and that at the close."""

AllResults = dict[str, dict[str, Results]]
"""By implementation and agent."""


@dataclass
class Options:
    python2: str
    work: Path
    cases: list[str]
    exclude: list[str]
    implementations: list[str]
    agents: list[str]
    write: bool


def install(options: Options) -> Path:
    """The path of `wstest`."""
    wstest = options.work / "venv" / "bin" / "wstest"
    if not wstest.exists():
        library = options.work / "virtualenv"
        pip = [options.python2, "-m", "pip", "install", "--quiet", "--target", str(library)]
        subprocess.run([*pip, VIRTUALENV], check=True)
        make = [options.python2, "-m", "virtualenv", str(options.work / "venv")]
        subprocess.run(make, check=True, env={**os.environ, "PYTHONPATH": str(library)})
        python = options.work / "venv" / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", SUITE], check=True)
    return wstest


def fuzz(wstest: Path, options: Options, implementation: str, agent: str) -> Results:
    attribute, path = AGENTS[agent]
    args = ["--ws", implementation, "--no-access-log"]
    name = f"{agent}-{implementation}"
    report = options.work / "reports" / name
    report.mkdir(parents=True, exist_ok=True)
    with Server(f"autobahn_apps:{attribute}", app_dir=HERE, args=args) as server:
        spec = {
            "outdir": str(report),
            "servers": [{"agent": name, "url": server.ws_url + path}],
            "cases": options.cases,
            "exclude-cases": options.exclude,
            "exclude-agent-cases": {},
        }
        spec_path = report.with_suffix(".json")
        spec_path.write_text(json.dumps(spec), "utf-8")
        subprocess.run(
            [wstest, "-m", "fuzzingclient", "-s", spec_path],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=options.work,
        )
    cases = json.loads((report / "index.json").read_text("utf-8"))[name]
    return {key: [case["behavior"], case["behaviorClose"]] for key, case in cases.items()}


def worst(result: list[str]) -> str:
    return max(result, key=RANKS.index)


def failures(ours: Results, bare: Results) -> list[str]:
    """The cases that fail in *ours* only."""
    return [
        case
        for case, result in ours.items()
        if worst(result) in FAILURES and worst(bare[case]) not in FAILURES
    ]


def less_strict(results: AllResults) -> list[str]:
    """The cases that some echo in asyncflask passes less strictly."""
    cases = {
        case
        for agents in results.values()
        for agent in agents.values()
        for case, result in agent.items()
        if worst(result) == "NON-STRICT" and worst(agents["bare"][case]) == "OK"
    }
    return sorted(cases)


def page(results: AllResults) -> str:
    titles = {"bare": "Bare ASGI", "async": "``async def``", "plain": "``def``"}
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("uvicorn", "websockets", "wsproto")
    )
    lines = [
        "The Autobahn test suite",
        "=======================",
        "",
        ".. Written by tests/conformance/autobahn.py.",
        "",
        fill(
            "This page shows the results of the Autobahn test suite, which checks whether a server"
            " follows the WebSocket protocol. The server implements the protocol, but an app can"
            " get in its way. So the suite's fuzzing client runs against an echo in asyncflask,"
            " with sync and async handlers, and against the same echo written as a bare ASGI"
            " callable, for each WebSocket implementation of uvicorn.",
            WIDTH,
        ),
        "",
        f"{SUITE.replace('==', ' ')}; {versions}.",
        "",
        fill(
            "The table counts the cases by result. The last column counts those that fail in"
            " asyncflask and pass with the bare callable. Of the cases about load (9) and"
            " compression (12, 13), which take hours, only a selection was run.",
            WIDTH,
        ),
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - Implementation",
        "     - Echo",
        "     - Cases",
        *(f"     - {rank.capitalize()}" for rank in RANKS[:5]),
        "     - Failed here only",
    ]
    for implementation, agents in results.items():
        for agent, cases in agents.items():
            count = Counter(map(worst, cases.values()))
            lines += [
                f"   * - ``{implementation}``",
                f"     - {titles[agent]}",
                f"     - {len(cases)}",
                *(f"     - {count[rank]}" for rank in RANKS[:4]),
                f"     - {sum(count[rank] for rank in RANKS[4:])}",
                f"     - {'' if agent == 'bare' else len(failures(cases, agents['bare']))}",
            ]
    lines += [
        "",
        fill(
            "A case that fails for every echo is a fault of uvicorn or of its WebSocket"
            " implementation. Cases that are non-strict in asyncflask only:"
            f" {', '.join(less_strict(results)) or 'none'}. In these, the client sends a message"
            " and then breaks the protocol; it depends on timing whether the echo is still sent.",
            WIDTH,
        ),
        "",
        "To run the suite:",
        "",
        ".. code-block:: console",
        "",
        "   $ python tests/conformance/autobahn.py --write",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--python2", default="python2.7")
    parser.add_argument("--work", type=Path, default=Path("build/autobahn"))
    parser.add_argument("--cases", nargs="*", default=["*"])
    parser.add_argument("--exclude", nargs="*", default=[])
    parser.add_argument("--implementations", nargs="*", default=IMPLEMENTATIONS)
    parser.add_argument("--agents", nargs="*", default=list(AGENTS))
    parser.add_argument("--write", action="store_true")
    options = Options(**vars(parser.parse_args()))
    options.work = options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    wstest = install(options)
    kept = options.work / "results.json"
    results: AllResults = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    for implementation in options.implementations:
        for agent in options.agents:
            of_agent = results.setdefault(implementation, {}).setdefault(agent, {})
            of_agent |= fuzz(wstest, options, implementation, agent)
            print(implementation, agent, Counter(map(worst, of_agent.values())), flush=True)
            kept.write_text(json.dumps(results), "utf-8")
    failed = [
        f"{implementation} {agent} {case}"
        for implementation, agents in results.items()
        for agent, of_agent in agents.items()
        for case in failures(of_agent, agents["bare"])
    ]
    print(*failed, sep="\n")
    if options.write:
        PAGE.write_text(page(results), "utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
