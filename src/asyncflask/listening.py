"""A server's sockets: bound before the app runs, and passed from the reloader to the processes
that serve. Serving is in `serving.py`."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from typing import Final

import uvicorn

HANDED_ON: Final = "ASYNCFLASK_LISTENING"
"""The environment variable that describes inherited sockets: host, port, file descriptors."""


def bind(config: uvicorn.Config) -> list[socket.socket] | None:
    """Return sockets that listen at the host and port, before anything of the app runs; `None`
    if options name another place. If an address is unavailable, print why and exit."""
    if config.uds is not None or config.fd is not None:
        return None
    if (handed_on := _handed_on(config)) is not None:
        return handed_on
    with ExitStack() as stack:
        try:
            sockets = _listening(config, stack)
        except OSError as error:
            print(_why_not(config, error), file=sys.stderr)
            sys.exit(1)
        stack.pop_all()
        return sockets


def _listening(config: uvicorn.Config, stack: ExitStack) -> list[socket.socket]:
    sockets = []
    port = config.port
    for family, kind, protocol, _, address in socket.getaddrinfo(
        config.host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        try:
            sock = stack.enter_context(socket.socket(family, kind, protocol))
        except OSError:  # IPv6 addresses resolve, but are not supported
            continue
        if os.name == "posix":  # elsewhere two servers could share the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address[0], port, *address[2:]))
        sock.listen(config.backlog)
        sock.set_inheritable(True)
        port = sock.getsockname()[1]  # the same for all sockets, if any port was requested
        sockets.append(sock)
    if not sockets:
        raise OSError(f"no address for {config.host!r}")
    return sockets


def _why_not(config: uvicorn.Config, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {config.port} is in use by another program. Stop it, or choose another port:"
            f" 'asyncflask run --port {config.port + 1}', 'app.run(port={config.port + 1})'."
            + (
                " On macOS, it may be 'AirPlay Receiver' in the system settings."
                if sys.platform == "darwin" and config.port == 5000
                else ""
            )
        )
    reason = error.strerror or str(error)
    advice = " Ports below 1024 need privileges." if error.errno == errno.EACCES else ""
    return f"The server cannot listen on {config.host}:{config.port}: {reason}.{advice}"


def log_address(config: uvicorn.Config, sockets: list[socket.socket]) -> None:
    host = f"[{config.host}]" if ":" in config.host else config.host
    logging.getLogger("uvicorn.error").info(
        "Uvicorn running on %s://%s:%d (Press CTRL+C to quit)",
        "https" if config.is_ssl else "http",
        host,
        sockets[0].getsockname()[1],
    )


# -- from one process to another --------------------------------------------------------------


def variable_for(config: uvicorn.Config, sockets: Iterable[socket.socket]) -> dict[str, str]:
    """Return the environment variable for a process that inherits *sockets*."""
    numbers = ",".join(str(sock.fileno()) for sock in sockets)
    return {HANDED_ON: f"{config.host} {config.port} {numbers}"}


def _handed_on(config: uvicorn.Config) -> list[socket.socket] | None:
    """Return the inherited sockets. `None` if there are none, or if the code now says to listen
    elsewhere."""
    host, _, rest = os.environ.pop(HANDED_ON, "").partition(" ")
    port, _, numbers = rest.partition(" ")
    try:
        sockets = [
            socket.socket(fileno=int(number)) for number in filter(None, numbers.split(","))
        ]
    except OSError:  # the variable was inherited without the sockets
        return None
    if (host, port) == (config.host, str(config.port)):
        for sock in sockets:
            sock.set_inheritable(False)
            sock.listen(config.backlog)
        return sockets or None
    for sock in sockets:
        with suppress(OSError):  # nobody will answer clients that connect there
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
    return None
