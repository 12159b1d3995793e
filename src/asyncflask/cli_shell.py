"""The command `asyncflask shell`: Python's shell in an app context, with `await`."""

from __future__ import annotations

import ast
import code
import inspect
import os
import sys
import typing as t
from types import CodeType

import click
from werkzeug.utils import import_string

from .asgi.waiting import wait
from .commands import with_appcontext
from .ctx import current_app_ctx


@click.command("shell", short_help="Open a Python shell for the app.")
@with_appcontext
def shell_command() -> None:
    """Open a Python shell in an app context, with the names from the shell context processors."""
    app = current_app_ctx().app
    names: dict[str, t.Any] = {}

    startup = os.environ.get("PYTHONSTARTUP")  # as in Python's shell
    if startup and os.path.isfile(startup):
        with open(startup, "rb") as file:
            exec(compile(file.read(), startup, "exec"), names)
    names.update(app.make_shell_context())

    hook = getattr(sys, "__interactivehook__", None)
    if hook is not None:
        # Imported late: both modules take over the terminal, and not every Python has them.
        readline = import_string("readline", silent=True)
        rlcompleter = import_string("rlcompleter", silent=True)
        if readline is not None and rlcompleter is not None:
            # By default it completes the names of this program.
            readline.set_completer(rlcompleter.Completer(names).complete)
        hook()

    _Shell(names).interact(
        f"Python {sys.version} on {sys.platform}\n"
        f"App: {app.import_name}\n"
        f"Instance: {app.instance_path}\n"
        "'await' works here.",
        exitmsg="",
    )


class _Shell(code.InteractiveConsole):
    """Python's shell, with `await`, `async for` and `async with` at the top level.

    Awaited code runs on the loop that runs coroutines for sync code (`ensure_sync`, async
    commands), so they can share objects that belong to a loop. Everything else runs in this
    thread.
    """

    def __init__(self, names: dict[str, t.Any]) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    def runcode(self, code: CodeType) -> None:
        """Run an input that is complete."""
        if not code.co_flags & inspect.CO_COROUTINE:
            super().runcode(code)
            return
        try:
            wait(eval(code, self.locals))
        except SystemExit:
            raise
        except BaseException as e:
            # Without the frames that wait for the user's.
            tb = e.__traceback__
            while tb is not None and tb.tb_frame.f_code is not code:
                tb = tb.tb_next
            self._show(e.with_traceback(tb))

    def _show(self, error: BaseException) -> None:
        try:
            raise error
        except BaseException:
            self.showtraceback()
