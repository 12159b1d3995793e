"""A pytest plugin under which Flask's own test suite runs against this package.

Here is all that stands between the two: the name `flask`, and what that suite expects around it.
Nothing here may make a wrong answer right: what differs from Flask on purpose is a line of
`expected_failures.toml`.
"""

from __future__ import annotations

from typing import Any, Final

import _pytest.monkeypatch
import pytest
import werkzeug.serving

import asyncflask

asyncflask.install_as_flask()

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
_patch.setattr("asyncflask.serving.serve", _serve)
