"""Seeded fuzzers against Flask and Werkzeug: ``python tests/fuzz/run.py``.

Each fuzzer is a module with `fuzzer()`, a context manager that gives a function: it takes a
`Random` and raises `AssertionError` where a case goes wrong. A case depends on the seed and its
number alone; what fails is printed with the command that repeats it.

Exit status 0: no case went wrong.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import time
import traceback
import warnings
from itertools import count
from pathlib import Path
from random import Random
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

NAMES: Final = ("raw", "routing", "sessions", "forms", "sockets", "packets")
MOST_FAILURES: Final = 5


def run(name: str, options: argparse.Namespace) -> int:
    """Give the number of cases that failed."""
    numbers = count() if options.case is None else range(options.case, options.case + 1)
    failures = cases = 0
    began = time.monotonic()
    with importlib.import_module(f"fuzz.{name}").fuzzer() as case:
        for number in numbers:
            if cases >= options.cases or time.monotonic() - began > options.seconds:
                break
            cases += 1
            try:
                case(Random(f"{options.seed} {name} {number}"))
            except Exception as error:
                failures += 1
                print(f"\npython tests/fuzz/run.py --seed {options.seed} --case {number} {name}")
                if isinstance(error, AssertionError):
                    print(error)
                else:
                    traceback.print_exc(file=sys.stdout)
                if failures == MOST_FAILURES:
                    break
    seconds = time.monotonic() - began
    print(f"{name}: {cases:,} cases in {seconds:,.0f} s, {failures} failed", flush=True)
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare with Flask what chance makes up.")
    parser.add_argument("names", nargs="*", default=NAMES, help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seed", type=int, default=None, help="default: another for each run")
    parser.add_argument("--seconds", type=float, default=None, help="for each (default: 10)")
    parser.add_argument("--cases", type=int, default=None, help="for each, in place of a time")
    parser.add_argument("--case", type=int, help="only the case with this number")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such fuzzer: {', '.join(unknown)}")
    if options.seed is None:
        options.seed = Random().randrange(1_000_000)
    if options.seconds is None:
        options.seconds = 10.0 if options.cases is None and options.case is None else float("inf")
    if options.cases is None:
        options.cases = sys.maxsize
    logging.lastResort = None  # what is logged, fuzzers look at themselves
    warnings.simplefilter("ignore", UserWarning)  # of Werkzeug, for hosts that are not the app's
    print(f"--seed {options.seed}", flush=True)
    return 1 if sum([run(name, options) for name in options.names]) else 0


if __name__ == "__main__":
    sys.exit(main())
