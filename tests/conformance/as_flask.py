"""A pytest plugin under which Flask's own test suite runs against this package.

Here is all that stands between the two: the name `flask`, what that suite expects around it, and
a record of each result for `run.py`. Nothing here may make a wrong answer right: what differs
from Flask on purpose is a line of `expected_failures.toml`.
"""

from __future__ import annotations

import json
import os
from typing import Any, Final

import _pytest.monkeypatch
import pytest
import werkzeug.serving

import asyncflask

asyncflask.install_as_flask()

# -- what the suite expects -----------------------------------------------------------------

# pytest 9 has it under another name.
vars(_pytest.monkeypatch).setdefault("notset", getattr(_pytest.monkeypatch, "NOTSET", None))

_real_run_simple: Final = werkzeug.serving.run_simple


def _serve(
    target: Any, host: str, port: int, *, reload: bool, debugger: bool, **options: Any
) -> None:
    """What `app.run` calls to serve, as a call of Werkzeug's `run_simple`: the suite puts a mock
    in that place, to see what `run` passes on. Otherwise each of those tests would start a
    server, or its reloader the whole suite in a child. The server has tests of its own, in
    `tests/test_serving.py`.
    """
    run_simple = werkzeug.serving.run_simple  # looked up now, when the test has replaced it
    if run_simple is _real_run_simple:
        raise RuntimeError("A test is about to start a server.")
    run_simple(
        host, port, target, threaded=True, use_reloader=reload, use_debugger=debugger, **options
    )


_patch: Final = pytest.MonkeyPatch()  # for good: this process runs nothing else
_patch.setattr("asyncflask.app.serve", _serve)
_patch.setattr("asyncflask.cli.serve", _serve)

# -- the record -----------------------------------------------------------------------------

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
    config.pluginmanager.register(_Record(os.environ["CONFORMANCE_RECORD"]))
