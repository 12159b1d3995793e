"""examples/dashboard on a real server."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from asyncflask.asgi.events import EventParser, ServerSentEvent
from support.servers import Server

DASHBOARD = Path(__file__).parents[2] / "examples" / "dashboard"
SECONDS = 45
IDLE_PERCENT = 3
"""More of a processor than the dashboard needs for itself."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("app:app", app_dir=DASHBOARD) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=SECONDS) as client:
        yield client


def events(
    client: httpx.Client, after: str | None = None
) -> Generator[ServerSentEvent, None, None]:
    headers = {} if after is None else {b"Last-Event-ID": after.encode()}  # UTF-8
    with client.stream("GET", "/samples", headers=headers) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        parser = EventParser()
        for chunk in response.iter_bytes():
            yield from parser.feed(chunk)


def samples(event: ServerSentEvent) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(event.data)
    assert str(found[-1]["at"]) == event.id
    return found


def test_page(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    for name in ("dashboard.css", "dashboard.js", "icon.svg"):
        assert f"/static/{name}" in page.text
        assert client.get(f"/static/{name}").status_code == 200


def test_samples(client: httpx.Client) -> None:
    stream = events(client)
    samples(next(stream))  # what was measured before anybody came
    found: list[dict[str, Any]] = []
    while len(found) < 3:
        found += samples(next(stream))
    stream.close()
    assert [sample["at"] for sample in found] == sorted({sample["at"] for sample in found})
    assert found[-1].keys() == {"at", "cpu", "memory", "requests", "lag", "watching"}
    assert found[-1]["memory"] > 1_000_000
    assert found[-1]["watching"] >= 1
    assert all(sample["cpu"] >= 0 and sample["lag"] >= 0 for sample in found)


def test_history_and_resumption(client: httpx.Client) -> None:
    stream = events(client)
    first = next(stream)
    second = next(stream)
    stream.close()
    assert samples(second)[0]["at"] > samples(first)[-1]["at"]
    again = events(client, first.id if isinstance(first.id, str) else None)
    assert samples(next(again))[0] == samples(second)[0]
    again.close()
    for nonsense in ("", "x", "-1", "²", "9" * 5000):
        stream = events(client, nonsense)
        assert samples(next(stream))[: len(samples(first))] == samples(first)
        stream.close()


def test_many_pages_and_their_end(server: Server, client: httpx.Client) -> None:
    def watching(at_least: int, at_most: int) -> None:
        stream = events(client)
        seen = [samples(next(stream))[-1]["watching"]]
        while not at_least <= seen[-1] <= at_most:
            seen.append(samples(next(stream))[-1]["watching"])
            assert len(seen) < 2 * SECONDS, seen
        stream.close()

    with ExitStack() as stack:
        streams = []  # one that nobody holds is closed
        for _ in range(50):
            other = stack.enter_context(httpx.Client(base_url=server.url, timeout=SECONDS))
            streams.append(events(other))
            next(streams[-1])
            stack.callback(streams[-1].close)
        watching(51, 100)
        assert client.get("/ping").status_code == 204
    watching(1, 5)


def test_work_shows(server: Server, client: httpx.Client) -> None:
    stream = events(client)
    next(stream)
    with httpx.Client(base_url=server.url, timeout=SECONDS) as other:
        assert other.post("/work").status_code == 204
        for _ in range(20):
            other.get("/ping")
    found: list[dict[str, Any]] = []
    while max((sample["cpu"] for sample in found), default=0) <= IDLE_PERCENT or not any(
        sample["requests"] for sample in found
    ):
        found += samples(next(stream))
        assert len(found) < 2 * SECONDS
    stream.close()
