"""Fetching and running the test suites of other projects, for `conformance/run.py` and
`ecosystem/run.py`. These decide which suite runs, how, and what its results must be."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).resolve().parent

SUITE_SECONDS: Final = 300
"""The time limit of a process, so that a hang ends."""

TEST_SECONDS: Final = 60
"""The time after which pytest prints the stacks of a single test."""


SERVED: Final = "over a socket"
"""Part of the plugin `served`'s summary if it carried requests over a socket."""


class Result(NamedTuple):
    outcome: str
    """``passed``, ``failed`` or ``skipped``; ``started`` if the process ended during the test."""
    details: str


Results = dict[str, Result]
"""Results by pytest's test id."""


class Run(NamedTuple):
    results: Results
    status: int
    """Pytest's exit status."""
    output: str
    """Everything it printed."""

    def count(self, outcome: str) -> int:
        return sum(result.outcome == outcome for result in self.results.values())

    @property
    def complete(self) -> bool:
        """`True` if the suite ran to its end. Exit status 1 alone does not say so: Python also
        ends with it if pytest does not reach the first test."""
        return self.count("passed") + self.count("failed") > 0 and self.status in (0, 1)


def fetch(release: str, sha256: str | None, cache: Path) -> Path:
    """Return the archive of *release* (``name-version``), downloaded by pip unless it is in
    *cache*.

    :raises SystemExit: if its checksum is not *sha256*. Without one, only pip has checked it.
    """
    archive = cache / f"{release}.tar.gz"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        requirement = "==".join(release.rsplit("-", 1))
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(cache)]
        run([*pip, "--no-deps", "--no-binary", ":all:", requirement])
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if sha256 is not None and found != sha256:
        sys.exit(f"{archive} has the SHA-256 {found}, and not {sha256}. Delete it and try again.")
    return archive


def ways_of(suite: Run) -> str:
    """Return the plugin `served`'s summary of how it carried the requests of *suite*."""
    lines = suite.output.splitlines()
    return next((line for line in lines if line.startswith("Requests of the test client")), "")


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = SUITE_SECONDS,
) -> str:
    """Run *command* and return its output.

    :raises SystemExit: if it fails, with the output.
    """
    status, output = _finish(command, cwd, env, seconds)
    if status:
        sys.exit(f"{output}\n{' '.join(command)}: exit status {status}")
    return output


def run_pytest(
    python: str | Path,
    arguments: Sequence[str],
    *,
    cwd: Path,
    record: Path,
    path: Sequence[Path] = (),
    variables: Mapping[str, str] | None = None,
    seconds: float = SUITE_SECONDS,
) -> Run:
    """Run pytest with *arguments*, with the interpreter *python*, in *cwd*, for at most
    *seconds*. *record*: the file for the results; *path*: folders to add to Python's path;
    *variables*: for the environment."""
    record.unlink(missing_ok=True)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    inherited = [env["PYTHONPATH"]] if env.get("PYTHONPATH") else []
    env |= {
        "SUITE_RECORD": str(record),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # only the plugins that the suite requests
        "PYTHONPATH": os.pathsep.join([*map(str, path), str(HERE / "plugins"), *inherited]),
        **(variables or {}),
    }
    command = [str(python), "-m", "pytest", "-p", "suite_record", "-q"]
    command += ["-o", f"faulthandler_timeout={TEST_SECONDS}", *arguments]
    status, output = _finish(command, cwd, env, seconds)
    return Run(_read_record(record), status, output)


def _finish(
    command: Sequence[str], cwd: Path | None, env: Mapping[str, str] | None, seconds: float
) -> tuple[int, str]:
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # a process group, to be ended as a whole
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        output, _ = process.communicate()
        output += f"\nEnded after {seconds} seconds.\n"
    except BaseException:
        _end(process)
        raise
    return process.returncode, output


def _end(process: subprocess.Popen[str]) -> None:
    """Kill *process* and its children."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:  # Windows
        process.kill()


def _read_record(record: Path) -> Results:
    """Return the results that the plugin wrote to the file *record*."""
    results: Results = {}
    if record.exists():
        for line in record.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            results[entry["test"]] = Result(entry["outcome"], entry["details"])
    return results
