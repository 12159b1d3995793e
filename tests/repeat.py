"""Run the tests many times while the machine is busy, to find those that depend on time.

    python tests/repeat.py 20 --load 10 [arguments of pytest]

*--load*: so many processes compute beside the tests. Prints a line for each run, with its seconds
and the tests that failed, and ends with 1 if any did. The output of failed runs is kept in files.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUSY = "while True: sum(range(100_000))"


@contextlib.contextmanager
def load(processes: int) -> Iterator[None]:
    running = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def run(number: int, folder: Path, arguments: list[str]) -> bool:
    log = folder / f"run-{number}.log"
    began = time.monotonic()
    with log.open("wb") as file:
        code = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        ).returncode
    seconds = time.monotonic() - began
    output = log.read_text("utf-8", "replace")
    last = (output.splitlines() or ["no output"])[-1]
    print(f"run {number}: {seconds:.0f} s, {last}", flush=True)
    if code == 0:
        log.unlink()
        return True
    for line in re.findall(r"^(?:FAILED|ERROR) .*", output, re.MULTILINE):
        print(f"    {line[:150]}", flush=True)
    print(f"    all of it: {log}", flush=True)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("times", type=int)
    parser.add_argument("--load", type=int, default=0, metavar="PROCESSES")
    options, arguments = parser.parse_known_args()
    folder = Path(tempfile.mkdtemp(prefix="asyncflask-repeat-"))
    with load(options.load):
        passed = sum(run(number + 1, folder, arguments) for number in range(options.times))
    print(f"{passed} of {options.times} runs passed")
    return 0 if passed == options.times else 1


if __name__ == "__main__":
    sys.exit(main())
