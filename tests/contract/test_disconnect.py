"""A view runs to its end even if its client leaves, unless configured otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count

import pytest

from contract.raw import PARSERS, Connection, Diary, Parser, get, serve
from support.servers import Server

_numbers = count()


class Site:
    def __init__(self, server: Server, diary: Diary) -> None:
        self.server = server
        self.diary = diary

    def leave(self, path: str, seconds: float, body: bytes | None = None) -> list[str]:
        """Leave as soon as the view has begun; gives what was written down by its end."""
        name = f"d{next(_numbers)}"
        with Connection(self.server) as connection:
            method = "GET" if body is None else "POST"
            connection.request(f"{path}?id={name}&wait={seconds}", method, body or b"")
            self.diary.wait(name, "began")
        self.diary.wait(name, "cancelled" if seconds > 9 else "ended")
        return self.diary.of(name)


@pytest.fixture(scope="module", params=PARSERS)
def parser(request: pytest.FixtureRequest) -> Parser:
    parser: Parser = request.param
    return parser


@pytest.fixture(scope="module")
def site(parser: Parser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    diary = Diary(tmp_path_factory.mktemp("diary") / "diary")
    with serve("disconnect:app", parser, diary=diary) as server:
        yield Site(server, diary)
        assert "Traceback" not in server.output, server.output


@pytest.fixture(scope="module")
def cancelling(parser: Parser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    diary = Diary(tmp_path_factory.mktemp("diary") / "diary")
    with serve("disconnect:cancelling", parser, diary=diary) as server:
        yield Site(server, diary)
        assert "Traceback" not in server.output, server.output


@pytest.mark.parametrize("path", ["/sync", "/async"])
def test_by_default_to_the_end(site: Site, path: str) -> None:
    assert site.leave(path, 0.3) == ["began", "ended"]


BODIES = [None, b"x", b"x" * 600_000]


@pytest.mark.parametrize("body", BODIES, ids=["none", "short", "long"])
def test_route_that_cancels(site: Site, body: bytes | None) -> None:
    assert site.leave("/cancel", 600, body) == ["began", "cancelled"]


@pytest.mark.parametrize("body", BODIES, ids=["none", "short", "long"])
def test_app_that_cancels(cancelling: Site, body: bytes | None) -> None:
    assert cancelling.leave("/async", 600, body) == ["began", "cancelled"]


def test_route_that_does_not(cancelling: Site) -> None:
    assert cancelling.leave("/never", 0.3) == ["began", "ended"]


@pytest.mark.parametrize("path", ["/cancel/sync", "/cancel/thread"])
def test_thread_cannot_be_cancelled(site: Site, path: str) -> None:
    assert site.leave(path, 0.3) == ["began", "ended"]


@pytest.mark.parametrize("path", ["/cancel", "/cancel/sync", "/cancel/thread"])
def test_client_that_stays(site: Site, path: str) -> None:
    name = f"d{next(_numbers)}"
    with Connection(site.server) as connection:
        for _ in range(3):  # the server listens on afterwards
            connection.request(f"{path}?id={name}&wait=0.01")
            assert connection.reply().body == b"done"
    assert site.diary.of(name) == ["began", "ended"] * 3


@pytest.mark.parametrize("body", BODIES, ids=["none", "short", "long"])
def test_asking(site: Site, body: bytes | None) -> None:
    assert site.leave("/ask", 0, body) == ["began", "ended"]


@pytest.mark.parametrize("body", [b"", b"x" * 600_000], ids=["none", "long"])
def test_asking_while_it_stays(site: Site, body: bytes) -> None:
    reply = get(site.server, "/connected", "POST" if body else "GET", body)
    assert json.loads(reply.body) == {"gone": [False] * 3, "length": len(body)}
