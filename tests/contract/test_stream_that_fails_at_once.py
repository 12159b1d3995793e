"""A stream that raises before its first chunk: nothing was sent yet, so the client gets a 500, as
it does from WSGI servers (PEP 3333: headers go out with the first chunk)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.raw import PARSERS, get, serve
from support.servers import Server


@pytest.fixture(scope="module", params=PARSERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve("teardown:app", request.param) as server:
        yield server


@pytest.mark.xfail(strict=True, reason="the start is sent before the stream's first step")
@pytest.mark.parametrize("stream", ["sync", "async", "sync-context", "async-context"])
def test_status(server: Server, stream: str) -> None:
    reply = get(server, f"/stream/{stream}?ticks=0&fail&id={stream}")
    assert reply.status == 500
