"""Every server, and all that it is put to: ``python tests/matrix/run.py``.

For each server in `servers.toml`, from a virtual environment of its own in ``build/matrix``, the
cases of `cases.py` and the stops of `stops.py`. Exit status 0: whatever fails is listed in
`servers.toml`, with the reason, and whatever is listed there fails.

With ``--record`` the table in ``docs/servers-table.rst`` is written.

With ``--quick`` the servers that are marked are put to the cases and one stop.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from contract.raw import Diary
from matrix.cases import Case, Subject, asgi, forwarding, http, prefixed, title, until
from matrix.stops import AT_WORK, STALLED, STUCK, WITHOUT_THREADS, Seen, Stop, StopCase
from support.servers import Process, python_path
from support.suites import run

T = TypeVar("T")

HERE: Final = Path(__file__).resolve().parent
TESTS: Final = HERE.parent
REPOSITORY: Final = TESTS.parent
VENV: Final = REPOSITORY / "build" / "matrix" / "venv"
PROGRAMS: Final = VENV / "bin"
TABLE: Final = REPOSITORY / "docs" / "servers-table.rst"

JOBS: Final = 2
"""How many servers are at work at once."""

CASES_AT_ONCE: Final = 6
"""How many cases a server is put to at once."""

Results = dict[str, str]
"""By the name of a case, what went wrong; nothing if it passed."""


class Server(NamedTuple):
    """A table of `servers.toml`."""

    name: str
    title: str
    requirements: list[str]
    line: str
    arguments: str
    interface: str = "asgi"
    prefix: str = ""
    processes: int = 1
    buffers: bool = False
    quick: bool = False
    cannot: Mapping[str, str] = {}

    @property
    def is_asgi(self) -> bool:
        return self.interface == "asgi"

    @property
    def has_lifespan(self) -> bool:
        return self.is_asgi and "SIGTERM: hooks run once and in order" not in self.cannot

    @property
    def version(self) -> str:
        return self.requirements[0].partition("==")[2]

    def command(self, *, prefix: bool) -> list[str]:
        program, *words = shlex.split(self.line.replace("module:app", "matrix.app:app"))
        arguments = shlex.split(f"{self.arguments} {self.prefix if prefix else ''}")
        at = len(words) - (":" in words[-1])  # the app's name stays last
        return [str(PROGRAMS / program), *words[:at], *arguments, *words[at:]]


def read_servers() -> list[Server]:
    tables = tomllib.loads((HERE / "servers.toml").read_text(encoding="utf-8"))
    return [Server(name, **table) for name, table in tables.items()]


def cases_of(server: Server) -> set[str]:
    """The names of all that *server* is put to."""
    starts = starts_of(server, quick=False)
    cases = {title(case) for start in starts for case in start.cases}
    return cases | {title(look) for start in starts for look in start.looks}


class Start(NamedTuple):
    """What one process of a server is for: cases, and then a stop."""

    cases: list[Case]
    stop: Stop
    looks: list[StopCase]
    prefix: bool = False


def starts_of(server: Server, *, quick: bool = False) -> list[Start]:
    cases = [*http.all, *forwarding.all]
    if server.is_asgi:
        cases += asgi.all
    plan = [(cases, AT_WORK, False)]
    if not quick:
        plan.append((prefixed.all if server.prefix else [], STALLED, bool(server.prefix)))
        plan += [([], STUCK, False)] if server.has_lifespan else []
        plan.append(([], WITHOUT_THREADS, False))
    starts = []
    for cases, stop, prefix in plan:
        looks = [*stop.cases, *(stop.asgi if server.is_asgi else ())]
        if looks:
            starts.append(Start(cases, stop, looks, prefix))
    return starts


# -- running ----------------------------------------------------------------------------------


def install(servers: list[Server]) -> list[Server]:
    """Make the virtual environment for *servers*, unless it is there; gives those of them that can
    be installed."""
    wanted = sorted({text for server in servers for text in server.requirements})
    stamp = VENV / "requirements.json"
    if stamp.exists() and set(wanted) <= set(json.loads(stamp.read_text())):
        return servers
    shutil.rmtree(VENV, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(VENV)])
    pip = [str(PROGRAMS / "python"), "-m", "pip", "install", "--quiet", "--prefer-binary"]
    with suppress(SystemExit):
        run([*pip, "--editable", str(REPOSITORY), *wanted])
        stamp.write_text(json.dumps(wanted))
        return servers
    run([*pip, "--editable", str(REPOSITORY)])
    there = []
    for server in servers:
        try:
            run([*pip, *server.requirements])
        except SystemExit as error:
            print(f"{server.title} cannot be installed, and is left out:\n{error}")
        else:
            there.append(server)
    return there


@contextmanager
def started(server: Server, *, prefix: bool) -> Iterator[Subject]:
    with tempfile.TemporaryDirectory() as folder:
        diary = Diary(Path(folder) / "diary")
        env = {
            **python_path(REPOSITORY / "src", TESTS),
            **diary.env,
            "FLASK_APP": "matrix.app",
        }
        process = Process(server.command(prefix=prefix), env=env, cwd=folder)
        subject = Subject(process, diary, server.buffers)
        process.start()
        try:
            if server.has_lifespan:  # a signal may be lost on a worker that is about to start
                until(lambda: len(starts_in(diary)) == server.processes, "a start of all workers")
            yield subject
        finally:
            process.stop()  # so that its workers end too, if a scenario broke off
            process.close()


def starts_in(diary: Diary) -> list[str]:
    """The processes in which the app has started."""
    lines = diary.path.read_text().splitlines()
    return [line for line in lines if line.startswith("app-") and line.endswith(" before")]


def run_server(server: Server, *, quick: bool) -> tuple[Results, dict[str, Seen]]:
    results: Results = {}
    stops: dict[str, Seen] = {}
    for start in starts_of(server, quick=quick):
        with started(server, prefix=start.prefix) as subject:
            with ThreadPoolExecutor(CASES_AT_ONCE) as pool:
                tried = [pool.submit(error_of, case, subject) for case in start.cases]
                errors = (future.result() for future in tried)
                results |= dict(zip(map(title, start.cases), errors, strict=True))
            name = start.stop.scenario.__name__
            try:
                seen = stops[name] = start.stop.scenario(subject, server.is_asgi)
            except Exception as error:
                found = f"{type(error).__name__}: {error}\n{subject.process.output}"
                results |= dict.fromkeys(map(title, start.looks), found)
                continue
        for look in start.looks:
            found = error_of(look, seen)
            log = "\n".join(seen.output.splitlines()[-60:])
            results[title(look)] = f"{found}\n{log}" if found else ""
    return results, stops


def error_of(case: Callable[[T], None], argument: T) -> str:
    try:
        case(argument)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


# -- what is made of it -----------------------------------------------------------------------


def problems(server: Server, results: Results) -> Iterator[str]:
    """What is not as `servers.toml` says."""
    for name, error in results.items():
        if error and name not in server.cannot:
            yield f"FAILED {server.name}: {name}\n{error}\n"
        elif not error and name in server.cannot:
            yield f"PASSES NOW {server.name}: {name}"


def summary(server: Server, results: Results, stops: dict[str, Seen]) -> str:
    passed = sum(not error for error in results.values())
    seconds = ", ".join(
        f"{name.replace('_', ' ')}: {seen.status} in {seen.seconds:.1f} s"
        for name, seen in stops.items()
    )
    return f"{server.title}: {passed} of {len(results)} cases pass; {seconds}"


def rst(rows: list[list[str]]) -> str:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        marks = ["   * -", *["     -"] * (len(row) - 1)]
        lines += [f"{mark} {cell}".rstrip() for mark, cell in zip(marks, row, strict=True)]
    return "\n".join(lines) + "\n"


def row_of(server: Server, results: Results) -> list[str]:
    passed = sum(not error for error in results.values())
    remarks = " ".join(dict.fromkeys(server.cannot.values()))
    return [server.title, server.version, f"{passed} of {len(results)}", remarks]


HEADINGS: Final = ["Server", "Version", "Cases passed", "What it cannot do"]


def main() -> int:
    servers = read_servers()
    names = [server.name for server in servers]
    parser = argparse.ArgumentParser(description="Put every server to the same cases.")
    parser.add_argument("--only", metavar="NAME", choices=names, nargs="+", help="these alone")
    parser.add_argument("--quick", action="store_true", help="those marked, with one stop each")
    parser.add_argument("--record", action="store_true", help="write the table of the docs")
    options = parser.parse_args()
    if options.record and (options.only or options.quick):
        parser.error("--record is for all servers and cases")

    chosen = [server for server in servers if server.name in (options.only or names)]
    if options.quick:
        chosen = [server for server in chosen if server.quick]
    chosen = install(chosen)
    began = time.monotonic()
    found: list[str] = []
    rows = [HEADINGS]
    with ThreadPoolExecutor(JOBS) as pool:
        tried = [pool.submit(run_server, server, quick=options.quick) for server in chosen]
        for server, future in zip(chosen, tried, strict=True):
            results, stops = future.result()
            print(summary(server, results, stops), flush=True)
            rows.append(row_of(server, results))
            found += problems(server, results)
    if options.record:
        TABLE.write_text(rst(rows), encoding="utf-8")
    for problem in found:
        print(problem)
    print(f"{len(chosen)} servers in {time.monotonic() - began:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
