"""Flask-Caching round sync and async views."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from flask_caching import Cache


@pytest.fixture
def door(app, open_door):
    app.config["CACHE_TYPE"] = "SimpleCache"
    cache = Cache(app)
    count = itertools.count(1)

    @app.get("/plain")
    @cache.cached(timeout=60, query_string=True, response_hit_indication=True)
    def plain():
        return str(next(count))

    @app.get("/async")
    @cache.cached(timeout=60, query_string=True, response_hit_indication=True)
    async def asynchronous():
        await asyncio.sleep(0)
        return str(next(count))

    @cache.memoize()
    def number(name):
        return next(count)

    @app.get("/memoized/<name>")
    async def memoized(name):
        await asyncio.sleep(0)
        return str(number(name))

    @app.get("/clear")
    async def clear():
        cache.clear()
        return "cleared"

    return open_door(app)


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_cached(door, path):
    first = door(path)
    assert (first.text, "hit_cache" in first.headers) == ("1", False)
    second = door(path)
    assert (second.text, second.headers["hit_cache"]) == ("1", "True")
    assert door(f"{path}?other=1").text == "2"
    door("/clear")
    assert door(path).text == "3"


def test_memoized(door):
    assert [door(f"/memoized/{name}").text for name in "aaba"] == ["1", "1", "2", "1"]


def test_served(site):
    assert [site.get("/called").text for _ in range(3)] == ["1", "1", "1"]


def test_served_with_a_pool(site):
    site.visit_pool("/pool?a", visits=1)
    first = site.get("/pool?a").text
    assert [site.get("/pool?a").text, site.get("/pool?b").text] == [first, str(int(first) + 1)]
