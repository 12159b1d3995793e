"""Run the Autobahn test suite against an echo, in asyncflask and as a bare ASGI callable.

    python tests/conformance/autobahn.py [--python2 python2.7] [--cases "1.*" ...] [--write]

The suite (`wstest`) needs Python 2.7; it is installed into a virtual environment of its own, in
the folder given with ``--work``. Each WebSocket implementation of uvicorn is tested, and fails here
if asyncflask does worse in any case than the bare callable. ``--write`` records the result in
``docs/autobahn.rst``. The whole takes about an hour; pytest does not run it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import uvicorn
import websockets
import wsproto

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.servers import Server

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "autobahn.rst"
SUITE = "autobahntestsuite==0.8.2"
VIRTUALENV = "virtualenv==20.15.1"  # the last for Python 2.7
IMPLEMENTATIONS = ("websockets-sansio", "wsproto", "websockets")
AGENTS = {"bare": ("bare", "/"), "async": ("app", "/"), "plain": ("app", "/plain")}
"""What is compared: attribute of `autobahn_apps`, and path."""

RANKS = ("OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED", "FAILED", "UNCLEAN", "WRONG CODE")
"""What the suite says of a case, the best first."""

Results = dict[str, tuple[str, str]]
"""By case: the behaviour, and that at the close."""


@dataclass
class Options:
    python2: str
    work: Path
    cases: list[str]
    write: bool


def install(options: Options) -> Path:
    """The path of `wstest`."""
    wstest = options.work / "venv" / "bin" / "wstest"
    if not wstest.exists():
        library = options.work / "virtualenv"
        pip = [options.python2, "-m", "pip", "install", "--quiet", "--target", str(library)]
        subprocess.run([*pip, VIRTUALENV], check=True)
        make = [options.python2, "-m", "virtualenv", str(options.work / "venv")]
        subprocess.run(make, check=True, env={"PYTHONPATH": str(library)})
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
            "exclude-cases": [],
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
    return {key: (case["behavior"], case["behaviorClose"]) for key, case in cases.items()}


def worse(ours: Results, bare: Results) -> list[str]:
    """The cases in which *ours* does worse."""
    return [
        f"{case}: {ours.get(case)}, not {results}"
        for case, results in bare.items()
        if case not in ours
        or any(RANKS.index(a) > RANKS.index(b) for a, b in zip(ours[case], results, strict=True))
    ]


def page(results: Mapping[tuple[str, str], Results]) -> str:
    titles = {"bare": "Bare ASGI", "async": "``async def``", "plain": "``def``"}
    versions = f"uvicorn {uvicorn.__version__}, websockets {websockets.__version__}"
    lines = [
        "The Autobahn test suite",
        "=======================",
        "",
        ".. Written by tests/conformance/autobahn.py.",
        "",
        "What speaks the WebSocket protocol is the server; an app that gets in its way can still",
        "break what the server does right. So the fuzzing client of the Autobahn test suite is run",
        "against an echo in asyncflask, with handlers of both kinds, and against the same echo",
        "written as a bare ASGI callable, for each WebSocket implementation of uvicorn.",
        "",
        f"{SUITE.replace('==', ' ')}; {versions}, wsproto {wsproto.__version__}.",
        "",
        "How many cases ended how, and how many of them worse than for the bare callable:",
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - Implementation",
        "     - Echo",
        *(f"     - {rank}" for rank in RANKS[:5]),
        "     - Worse",
    ]
    for (implementation, agent), cases in results.items():
        count = Counter(max(both, key=RANKS.index) for both in cases.values())
        bare = results[implementation, "bare"]
        lines += [
            f"   * - ``{implementation}``",
            f"     - {titles[agent]}",
            *(f"     - {count[rank]}" for rank in RANKS[:4]),
            f"     - {sum(count[rank] for rank in RANKS[4:])}",
            f"     - {'' if agent == 'bare' else len(worse(cases, bare))}",
        ]
    lines += [
        "",
        "A case that fails for all three is uvicorn's matter, or its implementation's. To run it:",
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
    parser.add_argument("--write", action="store_true")
    options = Options(**vars(parser.parse_args()))
    options.work = options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    wstest = install(options)
    results: dict[tuple[str, str], Results] = {}
    failures = 0
    for implementation in IMPLEMENTATIONS:
        for agent in AGENTS:
            results[implementation, agent] = fuzz(wstest, options, implementation, agent)
            found = worse(results[implementation, agent], results[implementation, "bare"])
            failures += len(found)
            count = Counter(results[implementation, agent].values())
            print(implementation, agent, dict(count), *found, sep="\n  ", flush=True)
    if options.write:
        PAGE.write_text(page(results), "utf-8")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
