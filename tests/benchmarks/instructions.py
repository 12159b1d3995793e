"""Instructions per request of two versions of asyncflask: `instructions.py [BEFORE [AFTER]]`.

For whoever changes the path that every request takes. A version is a commit, or a folder with a
checkout; by default the last commit, and the working directory. The app is called in a process of
its own (`inprocess.py`), without a server, under valgrind's callgrind, which is switched on when
the app is warm. Two runs differ by less than one in a hundred, whatever else the machine does.

Without valgrind, ``--bytecodes`` counts the steps of the interpreter instead, on all threads; and
``--quick`` measures processor time, the least of several rounds in which the versions take turns.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from workloads import BY_KEY

HERE = Path(__file__).parent
DEFAULT = (
    *("text-async", "text-sync", "params", "json", "stack-async", "stack-sync"),
    *(key for key in BY_KEY if key.startswith("hooks-")),
)
COUNTED = {"wrk": 200, "websocket": 2000}
"""Requests or messages under callgrind, which makes each take fifty times as long."""
STEPPED = 200
TIMED = 400
ROUNDS = 5


def main() -> None:
    options = parse_options()
    measure, unit = UNITS[options.unit]
    if measure is instructions_of and shutil.which("callgrind_control") is None:
        raise SystemExit("This needs valgrind: apt install valgrind. Or use --bytecodes.")
    with ExitStack() as stack:
        columns: dict[str, tuple[str, Path | None]] = {}
        for version in dict.fromkeys((options.before, options.after)):
            columns[version] = ("asyncflask", stack.enter_context(checkout(version)))
        for peer in options.peers:
            columns[peer] = (peer, None)
        print(f"{unit + ' per request':<26}" + "".join(f"{name[-20:]:>22}" for name in columns))
        # Counting is not disturbed by a neighbour, timing is.
        timed = measure is time_of
        pool = ThreadPoolExecutor(1 if timed else options.jobs)
        stack.callback(pool.shutdown, cancel_futures=True)
        jobs = {
            workload: [
                [pool.submit(measure, *column, workload) for column in columns.values()]
                for _ in range(ROUNDS if timed else 1)
            ]
            for workload in options.only
        }
        for workload, rounds in jobs.items():
            figures = [[job.result() for job in futures] for futures in rounds]
            least = [min(column) for column in zip(*figures, strict=True)]
            print(f"{workload:<26}" + cells(least), flush=True)


def parse_options() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", nargs="?", default="HEAD", help="commit or folder (HEAD)")
    parser.add_argument("after", nargs="?", default=".", help="commit or folder (.)")
    parser.set_defaults(unit="instructions")
    for option, unit in (("--quick", "time"), ("--bytecodes", "bytecodes")):
        parser.add_argument(
            option, dest="unit", action="store_const", const=unit, help=f"{unit}, not instructions"
        )
    parser.add_argument(
        "--only",
        nargs="+",
        default=DEFAULT,
        metavar="WORKLOAD",
        choices=[key for key, load in BY_KEY.items() if load.kind in COUNTED],
        help=f"by default {' '.join(DEFAULT)}; also others of run.py, but those that wait",
    )
    parser.add_argument(
        "--peers", nargs="+", default=[], help="further columns: bare starlette quart ..."
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time")
    return parser.parse_args()


@contextmanager
def checkout(version: str) -> Iterator[Path]:
    """A copy of the version's package in a folder of its own, so that work may go on meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        if Path(version).is_dir():
            shutil.copytree(Path(version, "src"), tree / "src")
        else:
            archive = ["git", "archive", "--output", str(tree / "src.tar"), version, "src"]
            top = subprocess.check_output(["git", "rev-parse", "--show-toplevel"], text=True)
            subprocess.run(archive, check=True, cwd=top.strip())
            shutil.unpack_archive(tree / "src.tar", tree)
        yield checked(tree)


def checked(tree: Path) -> Path:
    """That it is the asyncflask in *tree* which gets imported."""
    process = start("asyncflask", tree, DEFAULT[0], "where")
    file = process.communicate()[0].strip()
    if process.returncode or not Path(file).is_relative_to(tree):
        raise SystemExit(f"{tree} cannot be measured; what gets imported is {file!r}.")
    return tree


def cells(figures: list[float]) -> str:
    shown = [f"{figure:,.0f}" if figure >= 1_000 else f"{figure:,.1f}" for figure in figures]
    ratios = ["", *(f" ({figure / figures[0]:.3f})" for figure in figures[1:])]
    return "".join(f"{text + ratio:>22}" for text, ratio in zip(shown, ratios, strict=True))


def time_of(peer: str, tree: Path | None, workload: str) -> float:
    return float(start(peer, tree, workload, "time", str(TIMED)).communicate()[0])


def bytecodes_of(peer: str, tree: Path | None, workload: str) -> float:
    return float(start(peer, tree, workload, "bytecodes", str(STEPPED)).communicate()[0])


def instructions_of(peer: str, tree: Path | None, workload: str) -> float:
    counted = COUNTED[BY_KEY[workload].kind]
    with tempfile.TemporaryFile("w+") as log:
        prefix = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]
        prefix += ["--callgrind-out-file=/dev/null"]
        process = start(peer, tree, workload, "count", str(counted), prefix=prefix, stderr=log)
        assert process.stdin is not None and process.stdout is not None
        for line, switch in (("warm", "on"), ("done", "off")):
            if process.stdout.readline().strip() == line:
                control = ["callgrind_control", f"--instr={switch}", str(process.pid)]
                subprocess.run(control, check=True, capture_output=True)
                process.stdin.write("\n")
                process.stdin.flush()
        process.communicate()
        log.seek(0)
        output = log.read()
    found = re.search(r"Collected\s*:\s*(\d+)", output)
    if process.returncode or found is None:
        raise SystemExit(f"{workload} of {peer} cannot be counted:\n{output}")
    return int(found[1]) / counted


def start(
    peer: str,
    tree: Path | None,
    *args: str,
    prefix: list[str] | None = None,
    stderr: IO[str] | None = None,
) -> subprocess.Popen[str]:
    """`inprocess.py` with *args*, and with the asyncflask in *tree*."""
    env = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    if tree is not None:
        env["PYTHONPATH"] = str(tree / "src")
    return subprocess.Popen(
        [*(prefix or []), sys.executable, str(HERE / "inprocess.py"), peer, *args],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


UNITS: dict[str, tuple[Callable[[str, Path | None, str], float], str]] = {
    "time": (time_of, "µs"),
    "bytecodes": (bytecodes_of, "bytecodes"),
    "instructions": (instructions_of, "instructions"),
}


if __name__ == "__main__":
    main()
