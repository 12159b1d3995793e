"""A request made on another request's thread, by the test client or within WSGI middleware,
uses that thread and does not give it away: two requests never share a thread."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from contract.raw import APPS, PARSERS, TESTS, Parser, get
from support.servers import Server


@pytest.fixture(
    params=[(parser, wrapped) for parser in PARSERS for wrapped in ("", "wrapped")],
    ids=lambda param: "-".join(filter(None, param)),
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    parser: Parser
    parser, wrapped = request.param
    target, env = f"{APPS}.lent_threads:app", {"WRAPPED": wrapped}
    with Server(target, app_dir=TESTS, http=parser, env=env) as server:
        yield server
        assert "Traceback" not in server.output


@pytest.mark.parametrize("path", ["/outer", "/inner", "/after"])
def test_no_two_requests_on_one_thread(server: Server, path: str) -> None:
    for _ in range(3):  # each would put the thread among those without work once too often
        reply = get(server, path)
        assert reply.status == 200
        if path == "/outer":
            outer, inner = json.loads(reply.body)
            assert outer == inner
    # Each waits for the other, so both are under way; on one thread they would wait in vain.
    with ThreadPoolExecutor(2) as clients:
        replies = list(clients.map(lambda number: get(server, f"/meet?number={number}"), "12"))
    assert [reply.status for reply in replies] == [200, 200]
    assert [json.loads(reply.body) for reply in replies] == [["1", "1"], ["2", "2"]]
