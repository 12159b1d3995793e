"""Serving an app with uvicorn, for `app.run()` and the `run` command: options, shutdown,
several processes, and restarting when code changes. In production, run a server yourself:
`uvicorn module:app --workers 4`."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import traceback
import typing as t
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from multiprocessing import parent_process
from ssl import SSLContext
from types import FrameType

import uvicorn
import watchfiles
from click import ClickException, echo
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import STARTUP_FAILURE
from uvicorn.importer import ImportFromStringError
from uvicorn.supervisors import Multiprocess
from werkzeug.serving import generate_adhoc_ssl_context, is_running_from_reloader

from .alias import install_as_flask, is_installed_as_flask
from .asgi.threads import abandon_blocked
from .listening import bind, log_address, variable_for
from .livereload import PATH as LIVERELOAD_PATH
from .livereload import LiveReload

T = t.TypeVar("T")

SSLSetting: t.TypeAlias = SSLContext | tuple[str, str | None] | t.Literal["adhoc"] | None
"""An SSL context, the files of a certificate and its key, or "adhoc" to generate a certificate."""

SHUTDOWN_TIMEOUT: t.Final = 10
"""Seconds that requests have to end, unless the app's `SHUTDOWN_TIMEOUT` sets it."""

CLEAN_UP_SECONDS: t.Final = 2
"""Additional seconds before uvicorn cancels requests, for cleaning up what the app cancelled."""

FIRST_REQUEST_SECONDS: t.Final = 0.2
"""Seconds that a client that connected before the shutdown has to send its request."""

KILL_AFTER: t.Final = 5
"""Seconds after the shutdown's limit, for `after_serving`, before a child process is killed."""

_RUN_SIMPLE_NAMES: t.Final = {
    "use_reloader": "reload",
    "use_debugger": "debugger",
    "use_evalex": "evalex",
    "ssl_context": "ssl",
    "processes": "workers",
}
_RUN_SIMPLE_WITHOUT_EFFECT: t.Final = frozenset(
    ("threaded", "reloader_interval", "reloader_type", "passthrough_errors")
)


class CannotServe(RuntimeError):
    """The options contradict each other, or cannot be used on this machine."""


def from_run_simple(options: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Convert the options that Flask's `app.run` passes to Werkzeug's `run_simple` to those of
    `serve`. Drops `threaded` (sync code always has threads) and details of Werkzeug's server."""
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
    evalex: bool = True,
    livereload: bool | None = None,
    extra_files: Iterable[str | os.PathLike[str]] | None = None,
    exclude_patterns: Iterable[str] | None = None,
    ssl: SSLSetting = None,
    workers: int | None = None,
    load: Callable[[], t.Any] | None = None,
    **options: t.Any,
) -> None:
    """Serve the ASGI app *target* until SIGINT or SIGTERM.

    :param reload: serve from a child process, and restart it when a `*.py` file changes in the
        working directory or under the app's root path. The child runs the same command, with
        `WERKZEUG_RUN_MAIN=true` in its environment.
    :param debugger: answer unhandled exceptions with Werkzeug's interactive debugger; with
        several workers, with a traceback.
    :param evalex: `False` for a debugger without consoles. Default: `True`.
    :param livereload: reload HTML pages when code, templates or static files change. Default:
        with *reload*.
    :param extra_files: more files to watch, or folders of `*.py` files.
    :param exclude_patterns: `fnmatch` patterns of files not to watch.
    :param ssl: serve HTTPS. Default: HTTP.
    :param workers: the number of processes. Default: 1.
    :param load: a picklable function that returns the app in another process. Required with
        more than one worker.
    :param options: passed to `uvicorn.Config`. Default of `timeout_graceful_shutdown`: the
        `SHUTDOWN_TIMEOUT` setting, or 10 seconds, plus two.
    :raises CannotServe: (a `RuntimeError`) if an option has no meaning here, a certificate or
        protocol cannot be loaded, an event loop is running, or the reloader is not in the main
        thread.
    :raises SystemExit: with 0 after SIGTERM, with 1 if the port is in use, with uvicorn's
        status if it cannot start.
    """
    workers = workers or 1
    patterns = tuple(exclude_patterns or ())
    _check_no_loop()
    options = _uvicorn_options(target, host, port, ssl, options)
    if workers > 1:
        loader = _Loader(_checked(load, workers, reload, ssl), debugger, is_installed_as_flask())
        _serve_from_workers(target, loader, workers, options)
        return
    app = _with_debugger(target, host, port, ssl is not None, evalex) if debugger else target
    if reload if livereload is None else livereload:
        app = LiveReload(app, target, patterns)
    config = _config(app, options)
    if app is not target:
        _keep_out_of_the_log(LIVERELOAD_PATH, "?__debugger__=yes")
    if reload and not is_running_from_reloader():
        _serve_with_reloader(config, target, extra_files or (), patterns)
    else:
        _run(config)


def _uvicorn_options(
    app: ASGIApp, host: str, port: int, ssl: SSLSetting, options: Mapping[str, t.Any]
) -> dict[str, t.Any]:
    """Return *options* with the address, the certificate and the shutdown timeout."""
    timeout = getattr(app, "config", {}).get("SHUTDOWN_TIMEOUT", SHUTDOWN_TIMEOUT)
    default = {"timeout_graceful_shutdown": timeout + CLEAN_UP_SECONDS}
    return {**default, **options, "host": host, "port": port, **_ssl_options(ssl)}


def _serve_with_reloader(
    config: uvicorn.Config,
    app: ASGIApp,
    extra_files: Iterable[str | os.PathLike[str]],
    exclude_patterns: tuple[str, ...],
) -> None:
    """Serve from a child process. *config* reveals errors in the options before it starts."""
    watched = _Watched(
        {os.getcwd(), os.path.abspath(getattr(app, "root_path", "."))},
        {os.path.abspath(path) for path in extra_files},
        exclude_patterns,
    )
    limit = config.timeout_graceful_shutdown
    # Requests have this long, and then background tasks.
    timeout = None if limit is None else 2 * limit + KILL_AFTER
    _serve_from_child(watched, _Child(config, timeout))


def _config(app: t.Any, options: Mapping[str, t.Any]) -> uvicorn.Config:
    """Create uvicorn's config. Raises `CannotServe` if uvicorn does not find what the options
    name."""
    try:
        # The interface is given, since uvicorn's detection fails with apps that support both
        # WSGI and ASGI; and the workers, since uvicorn would read the environment.
        config = uvicorn.Config(app, interface="asgi3", workers=1, **options)
        config.load()
    except (ImportError, ImportFromStringError, OSError, ValueError) as error:
        raise CannotServe(f"The server could not be set up: {error}") from error
    return config


def _with_debugger(app: ASGIApp, host: str, port: int, https: bool, evalex: bool) -> ASGIApp:
    """Wrap *app* in the debugger, or in a traceback page if Werkzeug's debugger is not one that
    asyncflask supports."""
    try:
        from .debugger import Debugger  # imported late: it changes 'sys.displayhook'
    except ImportError as error:
        logging.getLogger("asyncflask").warning(
            "The interactive debugger is not available: %s", error
        )
        return ServerErrorMiddleware(app, debug=True)
    name = f"[{host}]" if ":" in host else host
    return Debugger(
        app,
        evalex=evalex,
        trusted_hosts=[name],
        address=f"{'https' if https else 'http'}://{name}:{port}",
        serve_failure=is_running_from_reloader(),
    )


def _keep_out_of_the_log(*urls: str) -> None:
    """Keep uvicorn from logging requests that are not for the app, by parts of their URLs."""

    def is_wanted(record: logging.LogRecord) -> bool:
        if record.msg in ("connection open", "connection closed"):  # does not say which one
            return False
        values = record.args if isinstance(record.args, tuple) else ()
        return not any(url in str(value) for value in values for url in urls)

    for name in ("uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).addFilter(is_wanted)


def failing_with(error: Exception) -> ASGIApp:
    """Return an app to serve instead of one that cannot be loaded; it fails at startup."""
    traceback = error.__traceback__

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
        raise error.with_traceback(traceback)

    return app


def _check_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise CannotServe(
        "An event loop is running in this thread, but the server starts its own. In 'async"
        " def' code, write: await uvicorn.Server(uvicorn.Config(app)).serve()"
    )


class _Server(uvicorn.Server):
    """Uvicorn's server. Also logs its address if it was given sockets, and does not wait for
    blocking sync code after its time limit."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if sockets is not None:
            log_address(self.config, sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await self._first_requests()
        await super().shutdown(sockets)
        abandon_blocked(only_cancelled=False)

    async def _first_requests(self) -> None:
        """Wait for the requests of clients that have just connected, since uvicorn would reset
        their connections. Those that wait longer, such as a browser's spare connection, may be
        reset."""
        clock = asyncio.get_running_loop().time
        end = clock() + FIRST_REQUEST_SECONDS
        await asyncio.sleep(0)  # lets uvicorn register those accepted last
        connections: t.Any = self.server_state.connections
        while clock() < end and any(getattr(each, "cycle", each) is None for each in connections):
            await asyncio.sleep(0.01)


def _run(config: uvicorn.Config) -> None:
    server = _Server(config)
    sockets = bind(config)
    with _exit_on_sigterm(), _without_socket_file(config):
        try:
            server.run(sockets)
        except KeyboardInterrupt:  # uvicorn repeats the signal after the shutdown is complete
            return
    if not server.started:
        sys.exit(STARTUP_FAILURE)  # as uvicorn's command does


# -- signals --------------------------------------------------------------------------------

Handler: t.TypeAlias = Callable[[int, FrameType | None], t.Any]


def _app_handler(number: int) -> Handler | None:
    """Return the handler that the app, or the program that runs it, has set for a signal, or
    `None`."""
    handler = signal.getsignal(number)
    return handler if callable(handler) and handler is not signal.default_int_handler else None


@contextmanager
def _without_socket_file(config: uvicorn.Config) -> Iterator[None]:
    """Remove the `uds` socket file at the end, as uvicorn's command does."""
    try:
        yield
    finally:
        if config.uds and os.path.exists(config.uds):
            os.remove(config.uds)


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Make SIGTERM end the process with status 0. uvicorn shuts down and then repeats the
    signal, whose default is to kill the process. A handler set by the app is called as well: it
    may have to end threads that Python would wait for."""
    if threading.current_thread() is not threading.main_thread():  # no signals here
        yield
        return
    handler = _app_handler(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        if handler is not None:
            handler(number, frame)
        sys.exit(0)

    before = signal.signal(signal.SIGTERM, end)
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


# -- several processes ----------------------------------------------------------------------


def _checked(
    load: Callable[[], t.Any] | None, workers: int, reload: bool, ssl: SSLSetting
) -> Callable[[], t.Any]:
    """Return *load*. Raises `CannotServe` if several workers cannot be."""
    if load is None:
        raise CannotServe(
            "Only one process can serve here, since others cannot import this app. For more,"
            f" run 'asyncflask --app module run --workers {workers}' on the command line."
        )
    if reload:
        raise CannotServe(
            "The reloader works with one process only. Remove '--reload' or '--workers'."
        )
    if ssl is not None and not isinstance(ssl, tuple):
        raise CannotServe(
            "Several workers can only share a certificate from files. Write '--cert cert.pem"
            " --key key.pem'."
        )
    try:
        pickle.dumps(load)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise CannotServe(
            "Workers create the app themselves, so they must be able to import its factory by"
            f" name from a module: {error}"
        ) from error
    return load


@dataclass
class _Loader:
    """Passed to a worker process, which calls it to get the app."""

    load: Callable[[], t.Any]
    debugger: bool
    as_flask: bool
    handler: Handler | None = None
    """The app's handler for SIGTERM."""

    def __setstate__(self, state: dict[str, t.Any]) -> None:
        # Here, since uvicorn imports modules named in options before it loads the app.
        if state["as_flask"]:
            install_as_flask()
        vars(self).update(state)
        if parent_process() is not None:
            # Before uvicorn sets its handler, which repeats the signal for this one.
            self.handler = _app_handler(signal.SIGTERM)
            signal.signal(signal.SIGTERM, self._end)

    def __call__(self) -> ASGIApp:
        servers = signal.getsignal(signal.SIGTERM)
        app: ASGIApp = load_or_exit(self.load)
        if self.debugger:  # no consoles: the next request may reach another process
            app = ServerErrorMiddleware(app, debug=True)
        if signal.getsignal(signal.SIGTERM) is not servers:
            self.handler = _app_handler(signal.SIGTERM)
            signal.signal(signal.SIGTERM, servers)
        return app

    def _end(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self.handler is not None:
            self.handler(number, frame)
        signal.raise_signal(number)


def load_or_exit(load: Callable[[], T]) -> T:
    """Return the result of *load*. If it fails, print why and exit with the status that keeps
    uvicorn from restarting the worker."""
    try:
        return load()
    except ClickException as error:
        error.show()
    except Exception:
        traceback.print_exc()
    sys.exit(STARTUP_FAILURE)


class _Supervisor(Multiprocess):
    """Uvicorn's supervisor. Remembers the signal that ended it."""

    stopped_by: signal.Signals | None = None

    def handle_int(self) -> None:
        self.stopped_by = signal.SIGINT
        super().handle_int()

    def handle_term(self) -> None:
        self.stopped_by = signal.SIGTERM
        super().handle_term()


def _serve_from_workers(
    app: ASGIApp, loader: _Loader, workers: int, options: Mapping[str, t.Any]
) -> None:
    _config(app, options)  # raises errors in the options before a process starts
    config = uvicorn.Config(loader, factory=True, interface="asgi3", workers=workers, **options)
    handlers = {number: _app_handler(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with ExitStack() as stack:
        stack.enter_context(_without_socket_file(config))
        sockets = bind(config)
        if sockets is None:
            sockets = [config.bind_socket()]
        else:
            log_address(config, sockets)
        for sock in sockets:
            stack.enter_context(sock)
        supervisor = _Supervisor(config, sockets=sockets)
        supervisor.run()
    number = supervisor.stopped_by
    if number is not None and (handler := handlers[number]) is not None:
        handler(number, None)
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        sys.exit(STARTUP_FAILURE)


# -- the reloader ---------------------------------------------------------------------------


class _Watched(watchfiles.DefaultFilter):
    """The files to watch, and the changes that count: not those of editors, version control and
    virtual environments."""

    def __init__(self, folders: set[str], extra: set[str], exclude: tuple[str, ...]) -> None:
        super().__init__()
        self.folders = folders
        self.extra = extra
        self.exclude = exclude

    def paths(self) -> list[str]:
        """Return the existing paths, except those inside others."""
        paths = sorted(path for path in self.folders | self.extra if os.path.exists(path))
        return [path for path in paths if not any(_is_inside(path, other) for other in paths)]

    def __call__(self, change: watchfiles.Change, path: str) -> bool:
        if any(fnmatch(path, pattern) for pattern in self.exclude):
            return False
        return path in self.extra or (path.endswith(".py") and super().__call__(change, path))


def _is_inside(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))


def _serve_from_child(watched: _Watched, child: _Child) -> None:
    """Run this command in a child process, and again whenever a watched file changes, until
    SIGINT or SIGTERM.

    A child that ended by itself, for example with a syntax error, is restarted at the next
    change. Not `watchfiles.run_process`, which ends the child with SIGINT: Ctrl-C has already
    sent one, and at the second one uvicorn exits without running `after_serving`.
    """
    stop = threading.Event()
    with _on_stop_signal(stop.set), child:
        child.start()
        # Watch again in each round: an editor that replaces a file removes its watch.
        while next(
            watchfiles.watch(*watched.paths(), watch_filter=watched, stop_event=stop), None
        ):
            echo(" * Restarting")
            child.end()
            if stop.is_set():
                break
            child.start()


@contextmanager
def _on_stop_signal(stop: Callable[[], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        raise CannotServe(
            "The reloader handles signals, which only works in the main thread. Run the server"
            " there, or write app.run(use_reloader=False)."
        )
    stopped_by: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        stopped_by.append(number)
        stop()

    handled = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: _app_handler(number) for number in handled}
    before = {number: signal.signal(number, note) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stopped_by and (handle := handlers[signal.Signals(stopped_by[0])]) is not None:
        handle(stopped_by[0], None)


class _Child:
    """The process that serves. The sockets stay here when it is replaced, so clients that
    connect meanwhile wait for the next one."""

    def __init__(self, config: uvicorn.Config, timeout: float | None) -> None:
        """*timeout*: seconds before a process that is to end is killed."""
        self._config = config
        self._timeout = timeout
        self._sockets: list[socket.socket] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = False

    def start(self) -> None:
        self._ending = False
        if not self._sockets:
            self._sockets = bind(self._config) or []
        if os.name != "posix":
            # Sockets cannot be inherited: this only checked that the address is available.
            self._close()
        # `orig_argv` is the original command: a script, `-m package`, a console script, and
        # the interpreter's options.
        self._process = subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            env={
                **os.environ,
                "WERKZEUG_RUN_MAIN": "true",
                **variable_for(self._config, self._sockets),
            },
            pass_fds=[sock.fileno() for sock in self._sockets],
        )
        self._waiting = threading.Thread(target=self._wait, args=(self._process,))
        self._waiting.start()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        if not self._ending:  # it failed: clients that connect now must notice
            self._close()

    def end(self) -> None:
        if self._process is None:
            return
        self._ending = True
        self._process.terminate()  # no effect if it has ended
        self._waiting.join(self._timeout)
        self._process.kill()  # no effect if it has ended
        self._waiting.join()

    def _close(self) -> None:
        while self._sockets:
            self._sockets.pop().close()

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()
        self._close()
