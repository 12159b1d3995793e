"""Whole applications of others, unmodified, under Flask and under this package:
``python tests/ecosystem/applications.py``.

As `run.py` does for extensions, with its machinery: an environment of its own for each, the tests
of its source release, and ours in `apps`, which serve it by real servers and use it from outside.

Exit status 0: whatever passes under Flask passes under asyncflask too, and so do the tests that
are for asyncflask's servers alone. Dash is opened in Chromium, which has to be installed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ecosystem.run import IN_PROCESS, Package, headings, rst, run_package, table

TUTORIAL: Final = "examples/tutorial"

APPLICATIONS: Final = {
    "flaskr": Package(  # Flask's tutorial, in its source release
        "Flask",
        "3.1.3",
        release="flask-3.1.3",
        sha256="0ef0e52b8a9cd932855379197dd8f94047b359ca0a78695144304cb45f87c9eb",
        settings=f"{TUTORIAL}/pyproject.toml",
        requirements=("gunicorn",),
        arguments=("-o", "pythonpath=.", f"{TUTORIAL}/tests"),
    ),
    "httpbin": Package(
        "httpbin",
        "0.10.4",
        release="httpbin-0.10.4",
        sha256="6023a5a2e8fb8e91abdd6d34d1f1f455092f97d567c25600e1b48ee1178aa738",
        requirements=("flasgger", "gunicorn"),
    ),
    "Dash": Package("dash", "4.4.1", requirements=("gunicorn", "playwright")),
    "moto": Package("moto", "5.2.5", requirements=("moto[server]", "boto3")),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Run applications of others, and their tests.")
    parser.add_argument("--only", choices=APPLICATIONS, help="this application alone")
    parser.add_argument("--rst", metavar="FILE", type=Path, help="write the table for the docs")
    options = parser.parse_args()

    rows: list[list[str]] = [["Application", *headings(IN_PROCESS)[1:]]]
    found: list[str] = []
    for name, package in APPLICATIONS.items():
        if options.only in (None, name):
            row = run_package(package)
            rows.append([name, *row.cells()[1:]])
            print("  ".join(rows[-1]), file=sys.stderr, flush=True)
            found += row.problems({})
            for test, result in row.second.results.items():
                if result.outcome == "failed" and test not in row.first.results:
                    found.append(f"FAILED {name} {test}\n{result.details}\n")
    if options.rst:
        options.rst.write_text(rst(rows) + "\n", encoding="utf-8")
    for problem in found:
        print(problem)
    print(table(rows))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
