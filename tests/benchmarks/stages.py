"""Where the processor time of a request goes, stage by stage: ``python stages.py [--rst FILE]``.

A real server (uvicorn, uvloop, httptools) in this process is driven over sockets by `load.py`.
Each millisecond of processor time, a signal notes where the server is: the innermost frame on the
stack that `RULES` knows tells the stage. This slows down nothing more than anything else.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from inprocess import load
from workloads import BY_KEY

WORKLOADS = ("text-async", "params", "stack-one-async")
CONNECTIONS = 32
INTERVAL_SECONDS = 0.001

STAGES = (
    "server: event loop, sockets",
    "server: parse, make the scope",
    "entry: scope, checks, driver",
    "context: request, push",
    "match the URL",
    "pipeline",
    "hooks",
    "view",
    "request data, when read",
    "build URLs",
    "session",
    "JSON",
    "make the response",
    "check and encode headers",
    "teardown",
    "server: send",
    "other",
)
RULES: tuple[tuple[str, str, str], ...] = (
    # Part of a file's path; names of functions, all if empty; stage. The first that fits. What no
    # rule fits is done for its caller.
    ("uvicorn/protocols/", "send", "server: send"),
    ("uvicorn/", "", "server: parse, make the scope"),
    ("asyncio/", "", "server: event loop, sockets"),
    ("benchmarks/apps/", "begin language end missing", "hooks"),
    ("benchmarks/apps/", "", "view"),
    ("asyncflask/sessions.py", "", "session"),
    ("asyncflask/json/", "", "JSON"),
    ("asyncflask/routing.py", "build_path", "build URLs"),
    ("asyncflask/routing.py", "", "match the URL"),
    ("asyncflask/helpers.py", "url_for", "build URLs"),
    ("asyncflask/urls.py", "", "build URLs"),
    ("asyncflask/app.py", "url_for create_url_adapter", "build URLs"),
    ("asyncflask/app.py", "", "entry: scope, checks, driver"),
    ("asyncflask/asgi/threads.py", "", "entry: scope, checks, driver"),
    ("asyncflask/asgi/scope.py", "", "entry: scope, checks, driver"),
    ("asyncflask/asgi/head.py", "", "check and encode headers"),
    ("asyncflask/asgi/body.py", "", "request data, when read"),
    ("asyncflask/asgi/response.py", "", "server: send"),
    ("asyncflask/bodies.py", "", "request data, when read"),
    ("asyncflask/request_body.py", "", "request data, when read"),
    ("asyncflask/formparser.py", "", "request data, when read"),
    ("asyncflask/arrival.py", "", "pipeline"),
    ("asyncflask/contexts.py", "find_rule _find_by_path match_request", "match the URL"),
    ("asyncflask/contexts.py", "session _session open_session", "session"),
    ("asyncflask/contexts.py", "pop_by end_by leave _close_request", "teardown"),
    ("asyncflask/contexts.py", "current_plan", "pipeline"),
    ("asyncflask/contexts.py", "", "context: request, push"),
    ("asyncflask/app_context.py", "pop_by", "teardown"),
    ("asyncflask/app_context.py", "", "context: request, push"),
    ("asyncflask/plan.py", "", "pipeline"),
    ("asyncflask/teardown.py", "", "teardown"),
    ("asyncflask/wrappers.py", "from_scope", "context: request, push"),
    ("asyncflask/responses.py", "content_lines content_type_line", "check and encode headers"),
    ("asyncflask/respond.py", "response_start", "check and encode headers"),
    ("asyncflask/respond.py", "", "make the response"),
    ("asyncflask/responses.py", "", "make the response"),
    ("werkzeug/wrappers/response.py", "", "make the response"),
    ("asyncflask/dispatch.py", "finalize_request finalize", "make the response"),
    ("asyncflask/dispatch.py", "has_session save_session", "session"),
    ("asyncflask/dispatch.py", "preprocess_request process_response", "hooks"),
    ("asyncflask/dispatch.py", "finish do_teardown_request do_teardown_appcontext", "teardown"),
    ("asyncflask/dispatch.py", "", "pipeline"),
    ("asyncflask/wrappers.py", "", "request data, when read"),
)


class Sampler:
    """Counts in which stage the main thread is."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._known: dict[Any, str | None] = {}

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        while frame is not None:
            code = frame.f_code
            if code not in self._known:
                self._known[code] = stage_of(code.co_filename, code.co_name)
            if (stage := self._known[code]) is not None:
                self.counts[stage] += 1
                return
            frame = frame.f_back
        self.counts["other"] += 1


def stage_of(file: str, name: str) -> str | None:
    for part, names, stage in RULES:
        if part in file and (not names or name in names.split()):
            return stage
    return None


def child(key: str, total: int) -> dict[str, float]:
    """µs per request by stage, of one workload in this process."""
    workload = BY_KEY[key]
    app = load("asyncflask", workload)
    config = uvicorn.Config(
        app, port=0, loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )
    server = uvicorn.Server(config)
    sampler = Sampler()
    taken = [0.0]

    def drive() -> None:
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        command = [sys.executable, str(Path(__file__).with_name("load.py")), "wait", str(port)]
        command += [workload.requests[0].path, str(CONNECTIONS)]
        subprocess.run([*command, "1000"], check=True, stdout=subprocess.DEVNULL)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)
        began = time.process_time()
        subprocess.run([*command, str(total)], check=True, stdout=subprocess.DEVNULL)
        taken[0] = time.process_time() - began
        signal.setitimer(signal.ITIMER_PROF, 0)
        server.should_exit = True

    signal.signal(signal.SIGPROF, sampler)  # before the thread: only this one may
    thread = threading.Thread(target=drive)
    thread.start()
    server.run()
    thread.join()
    samples = sampler.counts.total()
    return {
        stage: taken[0] / total * 1e6 * count / samples for stage, count in sampler.counts.items()
    }


def measure(keys: Iterable[str], total: int) -> dict[str, dict[str, float]]:
    """By workload and stage; each workload in a process of its own."""
    found = {}
    for key in keys:
        command = [sys.executable, __file__, "--child", key, "--requests", str(total)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        found[key] = json.loads(output)
    return found


def rst(found: dict[str, dict[str, float]], total: int) -> str:
    lines = [".. list-table::", "   :header-rows: 1", "", "   * - µs per request"]
    lines += [f"     - {BY_KEY[key].title}" for key in found]
    for stage in STAGES:
        if any(stage in stages for stages in found.values()):
            lines.append(f"   * - {stage}")
            for stages in found.values():
                lines.append(f"     - {stages.get(stage, 0.0):.1f}")
    lines.append("   * - **all**")
    lines += [f"     - {sum(stages.values()):.1f}" for stages in found.values()]
    date, python = time.strftime("%Y-%m-%d"), sys.version.partition(" ")[0]
    lines += [
        "",
        f"Processor time of the server, on {date}, Python {python}, uvicorn {uvicorn.__version__};"
        f" {total:,} requests each, over {CONNECTIONS} connections.",
        "",
    ]
    return "\n".join(lines)


def text(found: dict[str, dict[str, float]]) -> str:
    lines = [f"{'µs per request':<32}" + "".join(f"{key:>18}" for key in found)]
    for stage in STAGES:
        if any(stage in stages for stages in found.values()):
            cells = (f"{stages.get(stage, 0.0):>18.1f}" for stages in found.values())
            lines.append(f"{stage:<32}" + "".join(cells))
    sums = (f"{sum(stages.values()):>18.1f}" for stages in found.values())
    return "\n".join([*lines, f"{'all':<32}" + "".join(sums)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=WORKLOADS, metavar="WORKLOAD")
    parser.add_argument("--requests", type=int, default=30_000, help="of each (30,000)")
    parser.add_argument("--rst", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print(json.dumps(child(options.child, options.requests)))
        return
    found = measure(options.only, options.requests)
    print(text(found))
    if options.rst is not None:
        options.rst.write_text(rst(found, options.requests))


if __name__ == "__main__":
    main()
