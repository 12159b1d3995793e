"""Serving an app with uvicorn, for `app.run()` and the `run` command: options, shutdown, and a
new process whenever the code changes.

Knows processes, signals and uvicorn; knows no requests. In production, run a server yourself:
`uvicorn module:app --workers 4`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import typing as t
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from ssl import SSLContext

import uvicorn
import watchfiles
from click import echo
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp
from werkzeug.serving import generate_adhoc_ssl_context, is_running_from_reloader

SSLSetting: t.TypeAlias = SSLContext | tuple[str, str | None] | t.Literal["adhoc"] | None
"""A context, the files of a certificate and its key, or a certificate made up on the spot."""

SHUTDOWN_TIMEOUT: t.Final = 10
"""Seconds that requests have to end in, where the app's `SHUTDOWN_TIMEOUT` does not say."""

KILL_AFTER: t.Final = 5
"""Seconds beyond the shutdown's own limit, for `after_serving`, before a child is killed."""

_RUN_SIMPLE_NAMES: t.Final = {
    "use_reloader": "reload",
    "use_debugger": "debugger",
    "ssl_context": "ssl",
    "processes": "workers",
}
_RUN_SIMPLE_WITHOUT_EFFECT: t.Final = frozenset(
    ("threaded", "use_evalex", "reloader_interval", "reloader_type", "passthrough_errors")
)


def from_run_simple(options: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Options for `serve`, from those that Flask's `app.run` hands to Werkzeug's `run_simple`.
    Left out: `threaded` (sync code always has threads) and details of Werkzeug's own server."""
    return {
        _RUN_SIMPLE_NAMES.get(name, name): value
        for name, value in options.items()
        if name not in _RUN_SIMPLE_WITHOUT_EFFECT
    }


def serve(
    target: ASGIApp,
    host: str = "127.0.0.1",
    port: int = 5000,
    *,
    reload: bool = False,
    debugger: bool = False,
    extra_files: Iterable[str | os.PathLike[str]] | None = None,
    exclude_patterns: Iterable[str] | None = None,
    ssl: SSLSetting = None,
    workers: int | None = None,
    **options: t.Any,
) -> None:
    """Serve *target*, an ASGI app, until SIGINT or SIGTERM.

    :param reload: serve from a child process, and start that anew when a `*.py` file changes,
        in the working directory or under the app's root path. This very command is run again,
        in the child with `WERKZEUG_RUN_MAIN=true` in its environment.
    :param debugger: answer an exception that leaves the app with its traceback.
    :param extra_files: more files to watch, or folders of `*.py` files.
    :param exclude_patterns: files whose path matches one (`fnmatch`) are not watched.
    :param ssl: serve HTTPS. Default: HTTP.
    :param workers: 1, or not given. For more processes see above.
    :param options: for `uvicorn.Config`. Default: `timeout_graceful_shutdown` is the config's
        `SHUTDOWN_TIMEOUT`, or 10 seconds.
    :raises RuntimeError: where this cannot serve: on a running event loop; more than one
        worker; the reloader outside of the main thread.
    :raises SystemExit: with 0 after SIGTERM, with uvicorn's status if it cannot start.
    """
    if workers is not None and workers > 1:
        raise RuntimeError(
            "One process serves here. For more, each must import the app itself: run"
            f" 'uvicorn module:app --workers {workers}' on the command line."
        )
    shutdown_timeout = getattr(target, "config", {}).get("SHUTDOWN_TIMEOUT", SHUTDOWN_TIMEOUT)
    options.setdefault("timeout_graceful_shutdown", shutdown_timeout)

    if reload and not is_running_from_reloader():
        watched = _Watched(
            {os.getcwd(), os.path.abspath(getattr(target, "root_path", "."))},
            {os.path.abspath(path) for path in extra_files or ()},
            tuple(exclude_patterns or ()),
        )
        limit = options["timeout_graceful_shutdown"]
        _serve_from_child(watched, None if limit is None else limit + KILL_AFTER)
        return

    app = ServerErrorMiddleware(target, debug=True) if debugger else target
    # The interface is given, for uvicorn's guess fails with apps that have both, WSGI and ASGI.
    _run(uvicorn.Config(app, host, port, interface="asgi3", **_ssl_options(ssl), **options))


def _run(config: uvicorn.Config) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError(
            "An event loop is running in this thread, and the server needs its own. In"
            " 'async def' code write: await uvicorn.Server(uvicorn.Config(app)).serve()"
        )

    server = uvicorn.Server(config)
    with _exit_on_sigterm():
        try:
            server.run()
        except KeyboardInterrupt:  # uvicorn repeats the signal after the shutdown is complete
            return
    if not server.started:
        sys.exit(3)  # as uvicorn's own command does


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Have SIGTERM end the process with status 0. uvicorn shuts down first and then repeats the
    signal, whose default is to kill the process."""
    if threading.current_thread() is not threading.main_thread():  # no signals here
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _ssl_options(setting: SSLSetting) -> dict[str, t.Any]:
    if setting is None:
        return {}
    if isinstance(setting, tuple):
        return {"ssl_certfile": setting[0], "ssl_keyfile": setting[1]}
    context = generate_adhoc_ssl_context() if setting == "adhoc" else setting
    return {"ssl_context_factory": lambda _config, _default: context}


# -- the reloader ---------------------------------------------------------------------------


class _Watched(watchfiles.DefaultFilter):
    """Which files to watch, and which changes of them count. Not: what editors, version control
    and virtual environments leave behind."""

    def __init__(self, folders: set[str], extra: set[str], exclude: tuple[str, ...]) -> None:
        super().__init__()
        self.folders = folders
        self.extra = extra
        self.exclude = exclude

    def paths(self) -> list[str]:
        """What there is of it, without what is inside of something else of it."""
        paths = sorted(path for path in self.folders | self.extra if os.path.exists(path))
        return [path for path in paths if not any(_is_inside(path, other) for other in paths)]

    def __call__(self, change: watchfiles.Change, path: str) -> bool:
        if any(fnmatch(path, pattern) for pattern in self.exclude):
            return False
        return path in self.extra or (path.endswith(".py") and super().__call__(change, path))


def _is_inside(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))


def _serve_from_child(watched: _Watched, timeout: float | None) -> None:
    """Run this command in a child, and again whenever a watched file changes, until SIGINT or
    SIGTERM.

    A child that ended by itself, with a syntax error for one, is started again at the next
    change. Not `watchfiles.run_process`: that ends the child by SIGINT, of which Ctrl-C has sent
    it one already, and at the second one uvicorn leaves without running `after_serving`.
    """
    stop = threading.Event()
    with _on_stop_signal(stop.set):
        child = _start_child()
        try:
            # Each round watches anew: an editor that replaces a file takes the watch with it.
            while next(
                watchfiles.watch(*watched.paths(), watch_filter=watched, stop_event=stop), None
            ):
                echo(" * Restarting")
                _end_child(child, timeout)
                if stop.is_set():
                    break
                child = _start_child()
        finally:
            _end_child(child, timeout)


@contextmanager
def _on_stop_signal(stop: Callable[[], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "The reloader handles signals, which only the main thread can. Run the server there,"
            " or write app.run(use_reloader=False)."
        )
    handled = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop()) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start_child() -> subprocess.Popen[bytes]:
    # `orig_argv` is the command as it was given: a script, `-m package`, a console script, and
    # the interpreter's own options.
    command = [sys.executable, *sys.orig_argv[1:]]
    return subprocess.Popen(command, env={**os.environ, "WERKZEUG_RUN_MAIN": "true"})


def _end_child(child: subprocess.Popen[bytes], timeout: float | None) -> None:
    child.terminate()  # does nothing if it has ended
    try:
        child.wait(timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
