"""click's test runner, with the same behaviour in all releases of click."""

from __future__ import annotations

import inspect
from contextvars import copy_context
from typing import Any

from click.testing import CliRunner as ClicksRunner
from click.testing import Result

BEFORE_8_2 = "mix_stderr" in inspect.signature(ClicksRunner).parameters


class CliRunner(ClicksRunner):
    """Keeps standard error apart, and leaves nothing open after ``--help``, as click's own
    runner does since 8.2."""

    def __init__(self, **options: Any) -> None:
        if BEFORE_8_2:
            options["mix_stderr"] = False
        super().__init__(**options)

    def invoke(self, *args: Any, **options: Any) -> Result:
        if BEFORE_8_2:
            return copy_context().run(super().invoke, *args, **options)
        return super().invoke(*args, **options)
