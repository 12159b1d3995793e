"""Streams end with their client, delay nobody, and do not fill the memory."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from asyncflask.asgi.body import READ_AHEAD_BYTES
from contract.apps.streams import PLACES, ROWS, row
from contract.raw import PARSERS, Connection, Diary, Parser, get, serve, until
from support.servers import Server

KINDS = [
    "sync",
    "async",
    "sync-from-async",
    "sync-context",
    "async-context",
    "iterable",
    "starlette",
    "own",
]
_numbers = count()


class Site:
    def __init__(self, server: Server, diary: Diary) -> None:
        self.server = server
        self.diary = diary
        self.id = ""

    def url(self, path: str) -> str:
        self.id = f"s{next(_numbers)}"
        return f"{path}{'&' if '?' in path else '?'}id={self.id}"

    def ended(self) -> None:
        """Once, on the side and thread where it began."""
        self.diary.wait(self.id, "ended")
        began, ended = self.diary.of(self.id)
        assert ended == began.replace("began", "ended")


@pytest.fixture(scope="module", params=PARSERS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    parser: Parser = request.param
    diary = Diary(tmp_path_factory.mktemp("diary") / "diary")
    with serve("streams:app", parser, diary=diary) as server:
        yield Site(server, diary)


@pytest.mark.parametrize("kind", KINDS)
def test_ends_with_its_client(site: Site, kind: str) -> None:
    with Connection(site.server) as connection:
        connection.request(site.url(f"/{kind}"))
        connection.read_until(b"tick\n")
    site.ended()


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("size", [10, 600_000])
def test_ends_with_a_client_whose_body_nobody_read(site: Site, kind: str, size: int) -> None:
    with Connection(site.server) as connection:
        connection.request(site.url(f"/{kind}"), "POST", b"x" * size)
        connection.read_until(b"tick\n")
    site.ended()


@pytest.mark.parametrize("kind", ["sync", "async", "async-context", "starlette"])
def test_that_never_waits(site: Site, kind: str) -> None:
    """Nothing holds this stream up, for its client takes all at once; others are answered
    nevertheless, and it ends (starlette#1775)."""
    with Connection(site.server) as connection:
        connection.request(site.url(f"/{kind}?pause=0"))
        left = threading.Event()

        def read() -> None:
            while not left.is_set():
                connection._reader.read1(1 << 20)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for _ in range(3):
                assert get(site.server, "/produced/nobody").body == b"0"
        finally:
            left.set()
            reader.join()
    site.ended()
    assert get(site.server, "/produced/nobody").body == b"0"


@pytest.mark.limit("READ_AHEAD_BYTES")
def test_body_that_nobody_reads(site: Site) -> None:
    """Its client has to wait, while it gets the stream."""
    memory = resident(site.server.pid)
    with Connection(site.server, small_buffers=True) as connection:
        connection.request(site.url("/sync"), "POST", b"", "Content-Length: 100000000")
        connection.send(b"x" * 70_000)
        connection.read_until(b"tick\n")
        taken = 70_000
        connection.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            while taken < 100_000_000:
                taken += connection.socket.send(b"x" * 65_536)
        assert READ_AHEAD_BYTES < taken < 30_000_000
        assert resident(site.server.pid) - memory < 32_000_000
        connection.read_until(b"tick\n")
    site.ended()


@pytest.mark.limit("AHEAD_BYTES")
@pytest.mark.parametrize("kind", ["sync", "async", "sync-context", "async-context", "starlette"])
def test_slow_reader(site: Site, kind: str) -> None:
    """The stream waits for its client: what is on the way is bounded by the sockets' buffers."""
    memory = resident(site.server.pid)
    with Connection(site.server, small_buffers=True) as connection:
        connection.request(site.url(f"/{kind}?pause=0&large"))
        connection.read_until(b"xxx")
        assert 0 < until_full(site.server, site.id) < 16_000_000
        assert resident(site.server.pid) - memory < 32_000_000
    site.ended()


def until_full(server: Server, name: str) -> int:
    """How much the stream has made when it makes no more: its client does not read, and what is
    between the two is full."""
    seen, times = -1, 0
    while times < 10:
        now = int(get(server, f"/produced/{name}").body)
        times = times + 1 if now == seen else 0
        seen = now
        time.sleep(0.02)
    return seen


def resident(pid: int) -> int:
    """The memory of a process, in bytes."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("no /proc here")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_with_context(site: Site, kind: str) -> None:
    url = site.url(f"/context/{kind}")
    assert get(site.server, url).body.decode() == site.id * 3


@pytest.mark.parametrize("kind", ["sync", "sync-context", "template", "async", "file"])
def test_rows_are_there_once_and_in_order(site: Site, kind: str) -> None:
    assert get(site.server, f"/rows/{kind}").body.decode() == "".join(map(row, range(ROWS)))


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_large_chunks(site: Site, kind: str) -> None:
    body = get(site.server, f"/megabytes/{kind}").body
    assert body == b"".join(bytes([65 + number]) * 1_000_000 for number in range(8))


@pytest.mark.limit("WORKER_THREADS")
def test_clients_that_do_not_read_hold_no_place(site: Site) -> None:
    """Of `WORKER_THREADS`: there are fewer than such clients here, and a stream is answered."""
    with ExitStack() as stack:
        for _ in range(PLACES + 1):
            connection = stack.enter_context(Connection(site.server, small_buffers=True))
            connection.request(site.url("/sync?pause=0&large"))
            connection.read_until(b"xxx")
        assert get(site.server, "/megabytes/sync").status == 200


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_error_closes_the_connection(site: Site, kind: str) -> None:
    """The client can tell: the body has no end."""
    with Connection(site.server) as connection:
        connection.request(f"/error/{kind}")
        with pytest.raises(http.client.IncompleteRead) as caught:
            connection.reply()
        assert caught.value.partial == b"begun"
    until(lambda: "LookupError: on purpose" in site.server.output)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("own", "iterable")])
@pytest.mark.parametrize("how", ["HEAD", "204"])
def test_without_a_body_it_does_not_run(site: Site, kind: str, how: str) -> None:
    path = f"/{kind}" if how == "HEAD" else "/gone-content"
    method = "HEAD" if how == "HEAD" else "GET"
    with Connection(site.server) as connection:
        connection.request(site.url(path), method)
        assert connection.reply(method).body == b""
        connection.request("/produced/nobody")  # the connection is in order
        assert connection.reply().body == b"0"
    assert site.diary.of(site.id) == []


def test_head_closes_what_has_a_close(site: Site) -> None:
    get(site.server, site.url("/iterable"), "HEAD")
    site.diary.wait(site.id, "ended on thread")
    assert len(site.diary.of(site.id)) == 1


def test_of_a_known_length(site: Site) -> None:
    reply = get(site.server, "/sized")
    assert (reply.body, reply.headers["Content-Length"]) == (b"1234", "4")
    assert "Transfer-Encoding" not in reply.headers
