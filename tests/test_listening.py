"""`listening.py`: inherited sockets. With processes: `test_serving.py`."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack

import pytest
import uvicorn

from asyncflask.listening import HANDED_ON, bind, variable_for


def config(port: int = 0, host: str = "127.0.0.1") -> uvicorn.Config:
    return uvicorn.Config("unused:app", host=host, port=port, log_config=None)


def handed_on(monkeypatch: pytest.MonkeyPatch, sock: socket.socket, port: int = 0) -> int:
    """Put into the environment what a child would find there: a socket of its own."""
    number = os.dup(sock.fileno())
    with socket.socket(fileno=number) as copy:
        monkeypatch.setenv(HANDED_ON, variable_for(config(port), [copy])[HANDED_ON])
        return copy.detach()


def bound() -> socket.socket:
    [sock] = bind(config()) or []
    return sock


def test_sockets_that_were_handed_on_are_used_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with bound() as sock, ExitStack() as stack:
        number = handed_on(monkeypatch, sock)
        [same] = map(stack.enter_context, bind(config()) or [])
        assert (same.fileno(), same.getsockname()) == (number, sock.getsockname())
        assert not same.get_inheritable()
        [other] = map(stack.enter_context, bind(config()) or [])
        assert other.getsockname() != sock.getsockname()


def test_sockets_of_another_address_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with bound() as sock:
        port = sock.getsockname()[1]
        handed_on(monkeypatch, sock, port)
        [other] = bind(config()) or []
        with other:
            assert other.getsockname()[1] != port


@pytest.mark.parametrize("value", ["127.0.0.1 0 ", "127.0.0.1 0 987654", ""])
def test_nothing_was_handed_on(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(HANDED_ON, value)
    [sock] = bind(config()) or []
    with sock:
        assert sock.getsockname()[1] > 0
