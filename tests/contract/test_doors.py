"""The same requests through the test client, under a WSGI server and under uvicorn give the
same answers, Flask's."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from contract.apps import doors
from contract.raw import APPS, TESTS, get, serve
from support.servers import Process

Ask = Callable[..., Any]
"""Given a target and a body, and header lines; gives the JSON of the answer, or its text."""


def gunicorn(app: str) -> Process:
    command = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:{port}", "--no-control-socket"]
    return Process([*command, "-k", "sync", f"{APPS}.{app}"], cwd=TESTS)


def read(status: int, body: bytes) -> Any:
    text = body.decode()
    if status != 200:
        return status
    return json.loads(text) if text[:1] in "{[0123456789" else text


@pytest.fixture(scope="module", params=["client", "gunicorn", "uvicorn-h11", "uvicorn-httptools"])
def door(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Ask]]:
    with ExitStack() as stack:
        asks: dict[str, Ask] = {}
        for name in ("app", "wrapped"):
            if request.param == "client":
                asks[name] = partial(ask_client, getattr(doors, name))
            else:
                _, _, parser = request.param.partition("-")
                server = serve(f"doors:{name}", parser) if parser else gunicorn(f"doors:{name}")
                asks[name] = partial(ask_server, stack.enter_context(server))
        yield asks.__getitem__


def ask_client(app: Any, target: str, body: bytes = b"", *lines: str) -> Any:
    headers = [line.split(": ") for line in lines]
    method = "POST" if body else "GET"
    with app.test_client().open(target, method=method, data=body, headers=headers) as response:
        return read(response.status_code, response.get_data())


def ask_server(server: Process, target: str, body: bytes = b"", *lines: str) -> Any:
    reply = get(server, target, "POST" if body else "GET", body, *lines)
    return read(reply.status, reply.body)


@pytest.fixture
def ask(door: Callable[[str], Ask]) -> Ask:
    return door("app")


KINDS = pytest.mark.parametrize("kind", ["sync", "async"])
FORM = "Content-Type: multipart/form-data; boundary=B"


def parts(size: int, fields: int = 1) -> bytes:
    head = b'--B\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n'
    name = b'; filename="x"'
    body = head % (b"f", name) + b"y" * size + b"\r\n"
    return (
        body + b"".join(head % (b"n%d" % n, b"") + b"v\r\n" for n in range(fields)) + b"--B--\r\n"
    )


class TestEnviron:
    """What a hook changes in `request.environ`."""

    @KINDS
    @pytest.mark.parametrize("look", ["", "&look"])
    def test_shows_in_headers(self, ask: Ask, kind: str, look: str) -> None:
        target = f"/headers/{kind}?token=t&agent=a&guard{look}"
        lines = ("X-Remote-User: admin", "Authorization: Basic YTpi", "User-Agent: b")
        answer = ask(target, b"", *lines)
        assert answer.pop("host").startswith(("localhost", "127.0.0.1"))
        assert answer == {"authorization": "Bearer t", "agent": "a", "user": None, "listed": False}

    @pytest.mark.parametrize("more", [(), ("X-Twice: 1", "X-Twice: 2")])
    def test_headers_cannot_be_written(self, ask: Ask, more: tuple[str, ...]) -> None:
        assert ask("/change_headers/sync", b"", *more) == "TypeError"


class TestBody:
    """A form's bytes, for who wants these."""

    @KINDS
    @pytest.mark.parametrize("size", [1_000, 1_000_000, 2_000_000])
    def test_is_read_as_it_is(self, ask: Ask, kind: str, size: int) -> None:
        body = parts(size)
        # The form is parsed from what `get_data` keeps.
        assert ask(f"/get_data/{kind}", body, FORM) == [len(body), 1, 1]
        assert ask(f"/stream/{kind}", body, FORM) == len(body)
        assert ask(f"/stream_in_parts/{kind}", body, FORM) == len(body)
        assert ask(f"/data/{kind}", body, FORM) == 0
        assert ask(f"/form/{kind}", body, FORM) == [[size], {"n0": "v"}, 0]

    @KINDS
    def test_urlencoded(self, ask: Ask, kind: str) -> None:
        line = "Content-Type: application/x-www-form-urlencoded"
        body = b"a=" + b"x" * 400_000
        assert ask(f"/get_data/{kind}", body, line) == [len(body), 1, 0]

    @KINDS
    @pytest.mark.parametrize("size", [1_000, 2_000_000])
    def test_too_large_a_form_that_nobody_reads(self, ask: Ask, kind: str, size: int) -> None:
        body = parts(size, fields=1_001)
        assert ask(f"/nothing/{kind}", body, FORM) == "not read"
        assert ask(f"/form/{kind}", body, FORM) == 413


class TestClient:
    """A view that asks its own app."""

    @KINDS
    def test_in_a_view(self, ask: Ask, kind: str) -> None:
        inner = "POST /inner/sync 3 POST /inner/async 3"
        assert ask(f"/ask/{kind}") == f"{inner} for /ask/{kind}"
        assert ask(f"/ask_twice/{kind}") == f"{inner} for /ask/async"


VIEWS = ["sync_view", "async_view", "stream_view", "kept_stream_view", "async_stream_view"]


class TestMiddleware:
    """WSGI middleware round the app."""

    @pytest.mark.parametrize("view", [*VIEWS, "error_view"])
    def test_response_starts_within_the_contexts(
        self, door: Callable[[str], Ask], view: str
    ) -> None:
        ask = door("wrapped")
        ask("/started")
        answer = ask(f"/{view}?parts=ab")
        status = "500" if view == "error_view" else "200"
        assert answer == (
            500 if view == "error_view" else "sync" if view[-9:] == "sync_view" else "ab"
        )
        (seen,) = [line for line in ask("/started") if line[1] != "/started"]
        assert seen == [status, f"/{view}", True, True, 1, "ann", "ann"]
