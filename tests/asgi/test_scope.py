"""A request's target and host, and the path for routing."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from asyncflask.asgi.scope import malformed, normalised, route_path
from support.asgi import http_scope


@pytest.mark.parametrize(
    ("path", "root_path", "expected"),
    [
        ("/a", "", "/a"),
        ("/mounted/a", "/mounted", "/a"),
        ("/mounted", "/mounted", ""),
        ("/mounted-too", "/mounted", "/mounted-too"),
        ("/a", "/mounted", "/a"),  # a proxy has stripped it
    ],
)
def test_route_path(path: str, root_path: str, expected: str) -> None:
    assert route_path({"path": path, "root_path": root_path}) == expected


@pytest.mark.parametrize(
    ("path", "hosts", "version", "problem"),
    [
        ("/", ["example.org"], "1.1", None),
        ("/", ["example.org:8000"], "1.1", None),
        ("/", ["[::1]:8000"], "1.1", None),
        ("/", ["127.0.0.1"], "2", None),
        ("/", [], "1.0", None),
        ("/", [], "1.1", "no Host"),
        ("/", ["a", "a"], "1.1", "more than one"),
        ("/", [""], "1.1", "malformed"),
        ("/", ["my_app:80"], "1.1", None),
        ("/", ["a "], "1.1", None),
        ("/", ["a b"], "1.1", "malformed"),
        ("/", ["a/b"], "1.1", "malformed"),
        ("@example.org", ["a"], "1.1", "begin with '/'"),
        ("", ["a"], "1.1", "begin with '/'"),
        ("*", ["a"], "1.1", "begin with '/'"),
    ],
)
def test_malformed(path: str, hosts: list[str], version: str, problem: str | None) -> None:
    headers = [(b"host", host.encode()) for host in hosts]
    found = malformed({**http_scope(path, http_version=version), "headers": headers})
    assert (found is None) if problem is None else (problem in (found or ""))


@pytest.mark.parametrize(
    ("path", "root", "expected", "host"),
    [
        ("/a", "", "/a", "localhost"),
        ("http://b/a", "", "/a", "b"),
        ("HTTPS://b:81", "", "/", "b:81"),
        ("http://b//a%2fb", "", "//a/b", "b"),
        ("/roothttp://b/a", "/root", "/root/a", "b"),  # as uvicorn puts them together
        ("/root/a", "/root", "/root/a", "localhost"),
        ("/root", "/root", "/root", "localhost"),
        ("/a", "/root", "/a", "localhost"),
        ("http:///a", "", "/a", ""),  # malformed
        ("ftp://b/a", "", "ftp://b/a", "localhost"),
        ("b:443", "", "b:443", "localhost"),
        ("*", "", "*", "localhost"),
    ],
)
def test_normalised_target(path: str, root: str, expected: str, host: str) -> None:
    scope = {**http_scope(path, root_path=root), "path": unquote(path)}
    found = normalised(scope)
    assert found["path"] == expected
    assert dict(found["headers"])[b"host"].decode() == host
    assert unquote(found["raw_path"].decode()) == expected
    assert (found is scope) is (host == "localhost")
    assert scope["path"] == unquote(path)  # the server's own


@pytest.mark.parametrize(
    ("method", "expected"),
    [("GET", "GET"), ("get", "GET"), ("Post", "POST"), ("head", "GET"), ("M-SEARCH", "M-SEARCH")],
)
def test_normalised_method(method: str, expected: str) -> None:
    assert normalised(http_scope(method=method))["method"] == expected
