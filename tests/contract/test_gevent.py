"""gevent: a server's threads are greenlets, while the event loop has a real thread.
`test_wsgi_server.py` shows that everything works there; here, many requests run at once in one
thread, each waiting for the others."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from contract.raw import SECONDS, TESTS, Connection, Diary, Reply, get
from contract.test_wsgi_server import GEVENT, gunicorn
from support.servers import Process

MANY = range(10)


class Site:
    def __init__(self, server: Process, diary: Diary) -> None:
        self.server = server
        self.diary = diary

    def get(self, target: str, *args: Any) -> Reply:
        reply = get(self.server, target, *args)
        assert reply.status == 200, (reply, self.server.output)
        return reply


@pytest.fixture(scope="module", params=GEVENT)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    diary = Diary(tmp_path_factory.mktemp("diary") / "diary")
    with gunicorn("greenlets:app", diary, *GEVENT[request.param]) as server:
        yield Site(server, diary)
        assert "Traceback" not in server.output


def many(call: Any) -> list[Reply]:
    with ThreadPoolExecutor(len(MANY)) as pool:
        return list(pool.map(call, MANY))


def test_sync(site: Site) -> None:
    replies = many(lambda number: site.get(f"/sync?id={number}"))
    seen = [json.loads(reply.body) for reply in replies]
    assert seen == [{"id": str(n), "local": str(n), "same": True} for n in MANY]
    for number in MANY:
        site.diary.wait(str(number), "torn down")


def test_body(site: Site) -> None:
    replies = many(lambda number: site.get("/body", "POST", b"x" * 100_000 * (number + 1)))
    assert [int(reply.body) for reply in replies] == [100_000 * (n + 1) for n in MANY]


def test_async(site: Site) -> None:
    replies = many(lambda number: site.get(f"/async?id={number}"))
    assert [int(reply.body) for reply in replies] == list(MANY)


def test_stream(site: Site) -> None:
    replies = many(lambda number: site.get(f"/stream?id=stream{number}"))
    assert [reply.body for reply in replies] == [b"first second"] * len(MANY)
    for number in MANY:
        site.diary.wait(f"stream{number}", "torn down")


def test_nested(site: Site) -> None:
    replies = many(lambda number: site.get("/nested"))
    assert [reply.body for reply in replies] == [b'{"same":true}\n'] * len(MANY)


def test_slow_body(site: Site) -> None:
    """One client that does not send holds nobody up."""
    with Connection(site.server) as slow:
        slow.request("/size", "POST", b"", "Content-Length: 5")
        slow.send(b"hel")
        many(lambda number: site.get("/nested"))
        slow.send(b"lo")
        assert slow.reply("POST").body == b"5"


def test_threads(site: Site) -> None:
    assert site.get("/threads").body == b'{"anyio":3,"asyncio":3,"names":true}\n'


def test_background_task(site: Site) -> None:
    site.get("/background?id=task")
    site.diary.wait("task", "done")


def test_connection(site: Site) -> None:
    assert site.get("/connection").body == b"HELLO\n"


FIRST = "from gevent import monkey; monkey.patch_all()"


@pytest.mark.parametrize("order", ["patched first", "imported first", "used first"])
def test_in_one_process(order: str, tmp_path: Path) -> None:
    """A test client in greenlets, as Locust has it."""
    code = f"""
        {FIRST if order == "patched first" else ""}
        from asyncflask import Flask, request
        app = Flask("app")

        @app.post("/sync")
        def sync():
            gevent.sleep(0)
            return request.get_data()

        @app.post("/async")
        async def async_():
            import asyncio
            await asyncio.sleep(0)
            return request.get_data()

        def ask(number):
            data = str(number)
            for _ in range(3):
                for path in "/sync", "/async":
                    assert app.test_client().post(path, data=data).text == data

        import gevent
        if {order == "used first"}:
            ask(0)
        {FIRST}
        ask(0)
        jobs = [gevent.spawn(ask, number) for number in range(10)]
        gevent.joinall(jobs, raise_error=True)
        print("done")
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    result = subprocess.run(
        command, cwd=TESTS, capture_output=True, text=True, timeout=SECONDS * 4
    )
    assert (result.stdout, result.returncode) == ("done\n", 0), result.stderr
    # A thread that was begun before gevent patched cannot end in order, says `threading`.
    assert result.stderr == "" or order == "used first"


def test_greenlet_that_is_killed(tmp_path: Path) -> None:
    """Its request is cancelled, and torn down in it."""
    code = f"""
        {FIRST}
        import asyncio, gevent, gevent.event
        from asyncflask import Flask
        app = Flask("app")
        waiting = gevent.event.Event()
        seen = []

        @app.before_request
        def begin():
            seen.append(gevent.getcurrent())
            waiting.set()

        @app.get("/")
        async def for_ever():
            await asyncio.Event().wait()

        @app.teardown_request
        def torn_down(error):
            gevent.sleep(0)
            seen.append(gevent.getcurrent())

        greenlet = gevent.spawn(lambda: app.test_client().get("/"))
        waiting.wait()
        greenlet.kill()
        assert seen == [greenlet, greenlet], seen
        print("done")
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    result = subprocess.run(
        command, cwd=TESTS, capture_output=True, text=True, timeout=SECONDS * 4
    )
    assert (result.stdout, result.stderr, result.returncode) == ("done\n", "", 0)
