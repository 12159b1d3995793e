"""The page "Benchmarks" and its figures: chart and tables are made of the data beside them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"

COMPARE = f"""
import json, pathlib, sys
sys.path[:0] = [{str(TESTS / "benchmarks")!r}]
import run
docs = pathlib.Path({str(DOCS)!r})
document = json.loads((docs / "benchmarks.json").read_text("utf-8"))
for name, content in run.files_of(document).items():
    if (docs / name).read_text("utf-8") != content:
        print(name)
"""


def test_chart_and_tables_are_of_the_data() -> None:
    # Otherwise: python tests/benchmarks/run.py --from docs/benchmarks.json --docs
    # Apart from the tests' process, as modules of the benchmarks have names of all kinds.
    done = subprocess.run(
        [sys.executable, "-c", COMPARE], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
