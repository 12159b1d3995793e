"""The commands that serve an app, for our tests of whole applications: Flask's own server in the
reference run, and each way to serve one under asyncflask."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import flask
from servers import Process

UNDER_FLASK = flask.Flask.__module__.partition(".")[0] == "flask"
SITE = str(Path(__file__).parents[1] / "site")

COMMAND = "command"  # the framework's own, which both runs have
WAYS = [COMMAND, *([] if UNDER_FLASK else ["httptools", "h11", "gunicorn"])]


@contextmanager
def served(
    way: str,
    target: str,
    folder: Path | None = None,
    launcher: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """The app *target*, ``module:name`` or ``module:factory()``, served in one of `WAYS`; the
    module may be in *folder*. *launcher* is a command that starts another one, *variables* are
    put in the environment."""
    module, _, name = target.partition(":")
    at = ["--host", "127.0.0.1", "--port", "{port}"]
    python_path = os.environ["PYTHONPATH"].split(os.pathsep)
    if way == COMMAND and UNDER_FLASK:
        command = ["-m", "flask", "--app", target, "run", *at]
    elif way == COMMAND:
        command = ["-m", "asyncflask", "--as-flask", "--app", target, "run", *at]
        python_path.remove(SITE)  # the option does it
    elif way == "gunicorn":
        command = ["-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--threads", "8", target]
    else:
        factory = ["--factory"] if name.endswith("()") else []
        command = ["-m", "uvicorn", *factory, f"{module}:{name.removesuffix('()')}", *at]
        command += ["--http", way, "--timeout-graceful-shutdown", "15"]
    if folder is not None:
        python_path.insert(0, str(folder))
    env = {"PYTHONPATH": os.pathsep.join(python_path), **(variables or {})}
    server = Process([*launcher, sys.executable, *command], env=env)
    if not UNDER_FLASK:
        with server:
            yield server
        return
    try:
        server.start()
        yield server
    finally:  # Flask's server does not end in order by SIGTERM
        server.stop()
        server.close()
