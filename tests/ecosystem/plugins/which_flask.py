"""Ends a run whose `flask` is not the one it is meant for: Python goes on after an error in
`sitecustomize`, and Flask's results would pass for asyncflask's."""

from __future__ import annotations

import importlib
import os

import pytest


def pytest_configure() -> None:
    wanted = os.environ["ECOSYSTEM_FLASK"]
    found = importlib.import_module("flask").__name__
    if found != wanted:
        raise pytest.UsageError(f"'import flask' gives {found}, and not {wanted}.")
