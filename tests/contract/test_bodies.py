"""Any view can read its body or ignore it: sync or async, with or without a decorator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.raw import PARSERS, Connection, Parser, serve
from support.servers import Server

VIEWS = ("reading", "async_reading", "not_reading", "async_not_reading")
BODIES = (b"", b"a=1", b"x" * 70_000)


@pytest.fixture(scope="module", params=PARSERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    parser: Parser = request.param
    with serve("bodies:app", parser) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.mark.parametrize("prefix", ["", "/hooked"])
@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("decorated", ["bare", "wrapped", "ensured"])
def test_body(server: Server, decorated: str, view: str, body: bytes, prefix: str) -> None:
    with Connection(server) as connection:
        connection.request(f"{prefix}/{decorated}/{view}", "POST", body)
        reply = connection.reply("POST")
        assert (reply.status, reply.body) == (200, b"unread" if "not" in view else body)
        connection.request(f"{prefix}/{decorated}/{view}")  # the next one on the connection
        assert connection.reply().status == 200
