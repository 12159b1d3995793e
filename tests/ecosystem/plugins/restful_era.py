"""What the tests of Flask-RESTful 0.3.10 expect of their time, for both runs: a name of Flask's,
and nose's tests that yield further tests. Without this, pytest collects hardly any of them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest

signals: Any = importlib.import_module("flask.signals")
signals.signals_available = True  # until Flask 2.3


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> list[pytest.Item] | None:
    if not (name.startswith("test_") and inspect.isgeneratorfunction(obj)):
        return None
    return [
        pytest.Function.from_parent(
            collector, name=f"{name}[{number}]", callobj=_call(check, arguments)
        )
        for number, (check, *arguments) in enumerate(obj())
    ]


def _call(check: Callable[..., object], arguments: list[Any]) -> Callable[[], None]:
    def call() -> None:
        check(*arguments)

    return call
