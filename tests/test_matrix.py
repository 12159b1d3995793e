"""The list of servers for `matrix/run.py`, and its table in the documentation. The command
itself takes an environment of its own and half a minute."""

from __future__ import annotations

import pytest

from matrix.run import TABLE, Server, cases_of, problems, read_servers

SERVERS = {server.name: server for server in read_servers()}
DEPLOYING = TABLE.with_name("deploying.rst").read_text("utf-8")


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
class TestServer:
    def test_fails_what_there_is(self, server: Server) -> None:
        assert server.cannot.keys() <= cases_of(server)

    def test_is_in_the_table(self, server: Server) -> None:
        table = TABLE.read_text("utf-8")
        count = len(cases_of(server))
        assert (
            f"   * - {server.title}\n     - {server.version}\n"
            f"     - {count - len(server.cannot)} of {count}\n" in table
        )
        for remark in server.cannot.values():
            assert remark in table

    def test_has_its_line_in_the_documentation(self, server: Server) -> None:
        assert server.line in " ".join(DEPLOYING.split())


def test_problems() -> None:
    server = SERVERS["granian"]._replace(cannot={"a": "why", "b": "why"})
    found = list(problems(server, {"a": "Error", "b": "", "c": "Error", "d": ""}))
    assert found == ["PASSES NOW granian: b", "FAILED granian: c\nError\n"]
