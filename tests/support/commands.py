"""click's test runner, the same for all of its releases."""

from __future__ import annotations

import inspect
from typing import Any

from click.testing import CliRunner as ClicksRunner


class CliRunner(ClicksRunner):
    """Keeps what goes to standard error apart, as click's own does since 8.2."""

    def __init__(self, **options: Any) -> None:
        if "mix_stderr" in inspect.signature(ClicksRunner).parameters:
            options["mix_stderr"] = False
        super().__init__(**options)
