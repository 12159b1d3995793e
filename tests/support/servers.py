"""Real servers for tests: one process each, on its own port, with its output kept. Only starts,
waits and stops; to talk to them, tests use httpx or websockets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

HOST = "127.0.0.1"
START_SECONDS = 90.0  # including the import of the app on a busy machine
STOP_SECONDS = 45.0  # more than any grace period in a test, on a busy machine


def python_path(*folders: str | Path) -> dict[str, str]:
    """Return an environment in which Python searches *folders* first."""
    inherited = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    return {"PYTHONPATH": os.pathsep.join([*map(str, folders), *inherited])}


class Process:
    """A server in a process of its own, for the duration of a ``with`` block.

    Leaving the block sends SIGTERM, and raises :exc:`AssertionError` unless the server shuts
    down in order with exit code 0. If anything goes wrong, the server's output is printed, so
    that pytest shows it with the failure.

    :param command: the command to start it, with ``{port}`` for the port.
    :param env: additional environment variables for the process.
    :param cwd: the working directory of the process. Default: the caller's.
    :param port: the port. Default: a free one, which is right unless the test restarts a
        server.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        port: int = 0,
    ) -> None:
        self._command = list(command)
        self._env = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
        self._env |= env or {}
        self._cwd = cwd
        self._port = port
        self._stack = ExitStack()  # what is open while the server runs
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        if not self._port:
            raise RuntimeError("The server has no port yet: use it in a 'with' block.")
        return self._port

    @property
    def url(self) -> str:
        """The server's URL, without a trailing slash."""
        return f"http://{HOST}:{self.port}"

    @property
    def ws_url(self) -> str:
        """The server's URL for WebSocket clients."""
        return f"ws://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("The server has no process yet: use it in a 'with' block.")
        return self._process.pid

    @property
    def output(self) -> str:
        """What the server has printed so far, standard output and error together."""
        # Read with pread: the process writes through a copy of the same descriptor.
        return os.pread(self._log.fileno(), 1 << 24, 0).decode(errors="replace")

    def start(self) -> None:
        """Start the process and return once it accepts connections.

        :raises RuntimeError: if it ends before that, or takes longer than `START_SECONDS`.
        """
        # The port stays bound here (but not listened on) while the server runs. On Linux, the
        # server can bind it as well, as both set SO_REUSEADDR, and nobody else gets it.
        reserved = self._stack.enter_context(socket.socket())
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind((HOST, self._port))
        self._port = reserved.getsockname()[1]
        if sys.platform != "linux":  # other systems refuse the second bind; a small race remains
            reserved.close()
        self._log = self._stack.enter_context(tempfile.TemporaryFile())
        self._process = subprocess.Popen(
            [part.replace("{port}", str(self._port)) for part in self._command],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=self._env,
            cwd=self._cwd,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._accepts():
            code = self._process.poll()
            if code is not None:
                raise RuntimeError(f"The server ended with {code}:\n{self.output}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"No answer after {START_SECONDS} s:\n{self.output}")
            time.sleep(0.02)

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit code; again on a second call.

        After shutting down, uvicorn raises the signal that stopped it once more, against
        itself. Ending by that signal *after* its last log line is therefore orderly and counts
        as 0; without that line, the signal is returned. A process that does not end is killed,
        which gives -6, and its output shows where it was.
        """
        process = self._process
        if process is None:
            raise RuntimeError("The server was never started: use it in a 'with' block.")
        if process.poll() is None:
            process.send_signal(signum)
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # makes `faulthandler` print all stacks
            return process.wait()
        in_order = f"Finished server process [{process.pid}]" in self.output
        return 0 if code == -signum and in_order else code

    def close(self) -> None:
        """Release all resources. A process that is still running is killed."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._stack.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            code = self.stop()
            if code != 0 or not isinstance(exc, SystemExit | None):
                print(f"--- {' '.join(self._command)}\n{self.output}--- exit code {code}")
            if exc is None:
                assert code == 0, f"The server ended with {code}:\n{self.output}"
        finally:
            self.close()

    def _accepts(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True


class Server(Process):
    """``uvicorn <target>``, used like `Process`.

    :param target: ``module:attribute``, as on uvicorn's command line.
    :param app_dir: the folder of ``module``. Default: the working directory.
    :param args: additional command-line options, such as ``["--factory"]``.
    :param http: uvicorn's HTTP parser. Default: httptools if it is installed.
    :param prefix: a prefix for the command, such as ``["taskset", "-c", "0"]``.
    """

    def __init__(
        self,
        target: str = "app:app",
        *,
        app_dir: str | Path | None = None,
        args: Sequence[str] = (),
        http: Literal["auto", "h11", "httptools"] = "auto",
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        port: int = 0,
    ) -> None:
        command = [*prefix, sys.executable, "-m", "uvicorn", target, "--http", http]
        if app_dir is not None:
            command += ["--app-dir", str(app_dir)]
        command += ["--host", HOST, "--port", "{port}", *args]
        super().__init__(command, env=env, cwd=cwd, port=port)
