"""Slow clients hold few threads, at most `MAX_THREADS`, and nothing for longer than they stay."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from contract.raw import PARSERS, Connection, Diary, Parser, get, serve, until


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.limit("MAX_THREADS")
def test_threads_are_limited_and_come_back(parser: Parser, tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    with serve("few_threads:app", parser, diary=diary) as server, ExitStack() as stack:
        for _ in range(3):
            slow = [stack.enter_context(Connection(server)) for _ in range(3)]
            for number, connection in enumerate(slow):
                connection.request(f"/body?id={number}", "POST", b"", "Content-Length: 70000")
                connection.send(b"x" * 69_995)
                diary.wait(str(number), "reads")
            for number in range(5):
                refused = get(server, f"/sync?id=refused{number}")
                assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
                diary.wait(f"refused{number}", "torn down")
            assert get(server, "/async").body == b"async"
            for connection in slow[1:]:
                connection.send(b"hello")
                assert connection.reply("POST").body == b"70000"
            assert get(server, "/sync").body == b"sync"
            slow[0].close()
            diary.wait("0", "torn down")
            diary.path.write_text("")
        assert "No thread for sync code: All 3 threads of this process" in server.output


MULTIPART = (
    b'--B\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    + b"x" * 1_900_000
    + b"\r\n--B--\r\n"
)
BODIES = [
    ("/body/sync", b"x" * 65_536, ()),
    ("/body/async", b"x" * 2_000_000, ()),
    ("/form/async", MULTIPART, ("Content-Type: multipart/form-data; boundary=B",)),
]


@pytest.mark.limit("SMALL_BODY_BYTES")
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(("path", "body", "lines"), BODIES, ids=["sync", "async", "form"])
@pytest.mark.parametrize("parser", PARSERS)
def test_slow_bodies_hold_no_threads(
    parser: Parser, path: str, body: bytes, lines: tuple[str, ...], chunked: bool
) -> None:
    with serve("few_threads:app", parser) as server, ExitStack() as stack:
        slow = [stack.enter_context(Connection(server)) for _ in range(10)]
        begin, end = body[:-20], body[-20:]
        if chunked:
            lines = (*lines, "Transfer-Encoding: chunked")
            begin = b"%x\r\n%b\r\n" % (len(begin), begin)
            end = b"%x\r\n%b\r\n0\r\n\r\n" % (len(end), end)
        else:
            lines = (*lines, f"Content-Length: {len(body)}")
        for connection in slow:
            connection.request(path, "POST", b"", *lines)
            connection.send(begin)
        until(lambda: get(server, "/begun").body == b"10")
        assert get(server, "/sync").body == b"sync"
        for connection in slow:
            connection.send(end)
        for connection in slow:
            assert connection.reply("POST").status == 200
        assert "No thread" not in server.output


@pytest.mark.parametrize("parser", PARSERS)
def test_clients_that_do_not_read_a_file_hold_no_threads(parser: Parser) -> None:
    with serve("few_threads:app", parser) as server, ExitStack() as stack:
        slow = [stack.enter_context(Connection(server, small_buffers=True)) for _ in range(10)]
        for number, connection in enumerate(slow):
            lines = ["Range: bytes=1-"] if number % 2 else []
            connection.request("/file", "GET", b"", *lines)
            connection.read_until(b"\0\0\0")
        assert get(server, "/sync").body == b"sync"
        assert len(slow[0].read_until(b"end of the file")) > 19_000_000


@pytest.mark.parametrize("parser", PARSERS)
def test_clients_that_do_not_read_a_sync_stream_hold_threads(parser: Parser) -> None:
    """Its steps are to run on one thread."""
    with serve("few_threads:app", parser) as server:
        with ExitStack() as stack:
            for _ in range(3):
                connection = stack.enter_context(Connection(server, small_buffers=True))
                connection.request("/stream")
                connection.read_until(b"xxx")
            refused = get(server, "/sync")
            assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
            assert get(server, "/async").body == b"async"
        until(lambda: get(server, "/sync").status == 200)


@pytest.mark.parametrize("parser", PARSERS)
def test_refused_by_the_operating_system(parser: Parser, tmp_path: Path) -> None:
    """More often than there are `WORKER_THREADS`; then all is as before. The server's end comes
    while it refuses them again."""
    diary = Diary(tmp_path / "diary")
    with serve("refused_threads:app", parser, diary=diary) as server, ExitStack() as stack:
        assert get(server, "/refuse/1").status == 200
        for number in range(70):
            reply = get(server, f"/sync?id=refused{number}")
            assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
            assert diary.of(f"refused{number}") == ["torn down /sync"]
        assert get(server, "/async/1").body == b"1"
        get(server, "/refuse/0")
        assert get(server, "/sync").body == b"sync"
        slow = [stack.enter_context(Connection(server, small_buffers=True)) for _ in range(5)]
        for connection in slow:
            connection.request("/stream")
            connection.read_until(b"xxx")
        get(server, "/refuse/1")
        slow.pop().close()
        until(lambda: get(server, "/sync").status == 200)  # on the thread of that one
        assert (
            "The operating system refused to start another thread: can't start new thread"
            in server.output
        )
