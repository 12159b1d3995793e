"""Flask-Limiter round sync and async views."""

from __future__ import annotations

import asyncio

import pytest
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address


@pytest.fixture
def door(app, open_door):
    limiter = Limiter(
        get_remote_address,
        app=app,
        default_limits=["5 per hour"],
        storage_uri="memory://",
        headers_enabled=True,
    )

    @app.get("/plain")
    @limiter.limit("1 per hour")
    def plain():
        return "plain"

    @app.get("/async")
    @limiter.limit("1 per hour")
    async def asynchronous():
        await asyncio.sleep(0)
        return "async"

    @app.get("/default")
    async def default():
        await asyncio.sleep(0)
        return "default"

    @app.get("/inside")
    async def inside():
        with limiter.limit("2 per hour"):
            await asyncio.sleep(0)
            return "inside"

    @app.get("/exempt")
    @limiter.exempt
    async def exempt():
        return "exempt"

    return open_door(app)


@pytest.mark.parametrize(
    ("path", "limit"), [("/plain", 1), ("/async", 1), ("/default", 5), ("/inside", 2)]
)
def test_limit(door, path, limit):
    answers = [door(path) for _ in range(limit + 1)]
    assert [answer.status for answer in answers] == [200] * limit + [429]
    if path != "/inside":
        left = [answer.headers["X-RateLimit-Remaining"] for answer in answers[:-1]]
        assert left == [str(number) for number in reversed(range(limit))]


def test_exempt(door):
    assert {door("/exempt").status for _ in range(8)} == {200}


def test_served(site):
    statuses = [answer.status_code for answer in site.at_once(*["/limited"] * 8)]
    assert sorted(statuses) == [200] * 3 + [429] * 5


def test_served_with_a_pool(site):
    site.visit_pool("/pool", visits=20)
    assert site.get("/pool").status_code == 429
