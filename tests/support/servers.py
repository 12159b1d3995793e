"""Real servers for tests: one process each, on a port of its own, with its output kept.

Lives here: starting, waiting, stopping. Does not live here: anything about a particular app, and
any way to talk to it; tests bring httpx or websockets for that.
"""

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
START_SECONDS = 90.0  # Includes importing the app on a busy machine.
STOP_SECONDS = 45.0  # More than any grace period that a test asks for, on a busy machine.


def python_path(*folders: str | Path) -> dict[str, str]:
    """The environment in which Python finds *folders* first, and then what it finds here."""
    inherited = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    return {"PYTHONPATH": os.pathsep.join([*map(str, folders), *inherited])}


class Process:
    """A server in a process of its own, from ``with`` to the end of its block.

    :param command: how to start it, with ``{port}`` where the port belongs.
    :param env: variables to set for the process, on top of this one's.
    :param cwd: working directory of the process; the caller's by default.
    :param port: by default a free one, which is what a test wants unless it restarts a server.

    Leaving the block sends SIGTERM and raises :exc:`AssertionError` unless the server then shut
    down in order with exit code 0. The server's output is printed when anything goes wrong, so
    that pytest shows it with the failure.
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
        self._stack = ExitStack()  # What is open while the server lives.
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        if not self._port:
            raise RuntimeError("The server has no port yet: use it in a 'with' block.")
        return self._port

    @property
    def url(self) -> str:
        """Where the server answers, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def ws_url(self) -> str:
        """The same address for WebSocket clients."""
        return f"ws://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("The server has no process yet: use it in a 'with' block.")
        return self._process.pid

    @property
    def output(self) -> str:
        """What the server has printed so far, standard output and error together."""
        # A read of its own: the process writes through a copy of the same descriptor.
        return os.pread(self._log.fileno(), 1 << 24, 0).decode(errors="replace")

    def start(self) -> None:
        """Start the process and return once it accepts connections.

        :raises RuntimeError: if it ends before that, or takes longer than `START_SECONDS`.
        """
        # The port stays bound (and not listened on) here for as long as the server lives. Linux
        # lets the server bind it as well, as both set SO_REUSEADDR, and gives it to nobody else.
        reserved = self._stack.enter_context(socket.socket())
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind((HOST, self._port))
        self._port = reserved.getsockname()[1]
        if sys.platform != "linux":  # Others refuse the second bind; a small race remains there.
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

        When all is shut down, uvicorn raises the signal that stopped it once more, against
        itself. An end by that very signal *after* its last line of log is therefore an orderly
        one, and counts as 0; the same signal without that line is returned as it is. A process
        which does not end is killed, which shows as -6, and tells in its output where it was.
        """
        process = self._process
        if process is None:
            raise RuntimeError("The server was never started: use it in a 'with' block.")
        if process.poll() is None:
            process.send_signal(signum)
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # whereupon `faulthandler` prints all stacks
            return process.wait()
        in_order = f"Finished server process [{process.pid}]" in self.output
        return 0 if code == -signum and in_order else code

    def close(self) -> None:
        """Free what this object holds; a process that still runs is killed."""
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
    """``uvicorn <target>``; used like the class above.

    :param target: ``module:attribute``, as on uvicorn's command line.
    :param app_dir: where ``module`` is found; uvicorn's own default is the working directory.
    :param args: further options for the command line, such as ``["--factory"]``.
    :param http: uvicorn's HTTP parser; its default is httptools where that is installed.
    :param prefix: what to put before the command, such as ``["taskset", "-c", "0"]``.
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
