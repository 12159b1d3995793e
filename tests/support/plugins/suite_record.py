"""A pytest plugin: a record of each result, for the runners of others' test suites.

It is loaded by its name alone (`-p suite_record`, with this folder on the path), also by a pytest
that has nothing of this package around it. So it imports only pytest. The folder above comes last
on the path: tests may use what is there, and nothing there hides a package of the same name.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))

_RANK: Final = {"passed": 0, "skipped": 1, "failed": 2}


class _Record:
    """Writes one line of JSON for each thing that happens, at once: after a crash or a hang,
    the last line says in which test."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "w", encoding="utf-8", buffering=1)
        self._outcome = "passed"
        self._details: list[str] = []

    def _write(self, test: str, outcome: str, details: str = "") -> None:
        line = {"test": test, "outcome": outcome, "details": details}
        print(json.dumps(line), file=self._file)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write(report.nodeid, "failed", report.longreprtext)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._outcome = "passed"
        self._details.clear()
        self._write(nodeid, "started")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._outcome = max(self._outcome, report.outcome, key=_RANK.__getitem__)
        if not report.passed:
            output = "".join(f"\n--- {name}\n{text}" for name, text in report.sections)
            self._details.append(f"({report.when}) {report.longreprtext}{output}")

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._write(nodeid, self._outcome, "\n".join(self._details))

    def pytest_unconfigure(self) -> None:
        self._file.close()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Record(os.environ["SUITE_RECORD"]))
