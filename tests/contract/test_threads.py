"""Clients that hold threads take no more than `MAX_THREADS`, and nothing for longer than they
stay."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from contract.raw import PARSERS, Connection, Diary, Parser, get, serve


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.limit("MAX_THREADS")
def test_threads_are_limited_and_come_back(parser: Parser, tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    with serve("few_threads:app", parser, diary=diary) as server, ExitStack() as stack:
        for _ in range(3):
            slow = [stack.enter_context(Connection(server)) for _ in range(3)]
            for number, connection in enumerate(slow):
                connection.request(f"/body?id={number}", "POST", b"", "Content-Length: 5")
                diary.wait(str(number), "reads")
            for number in range(5):
                assert get(server, f"/sync?id=refused{number}").status == 503
                diary.wait(f"refused{number}", "torn down")
            assert get(server, "/async").body == b"async"
            for connection in slow[1:]:
                connection.send(b"hello")
                assert connection.reply("POST").body == b"5"
            assert get(server, "/sync").body == b"sync"
            slow[0].close()
            diary.wait("0", "torn down")
            diary.path.write_text("")
