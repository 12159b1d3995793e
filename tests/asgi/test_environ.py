"""Scopes as environs, environs as scopes."""

from __future__ import annotations

import io
from typing import Any

import pytest
from werkzeug.test import EnvironBuilder

from asyncflask.asgi.body import Body
from asyncflask.asgi.environ import FileWrapper, environ_from_scope, environ_of, scope_from_environ
from asyncflask.asgi.scope import ORIGIN
from asyncflask.asgi.threads import run_in_worker
from support.asgi import Peer, chunks, http_scope


def new_environ(**scope: Any) -> dict[str, Any]:
    made = http_scope(**scope)
    return environ_from_scope(made, Body(made, Peer().receive))


class TestEnviron:
    def test_whole(self) -> None:
        environ = new_environ(
            path="/a b?q=ä".replace("ä", "%C3%A4"),
            method="POST",
            headers=[
                ("host", "example.org"),
                ("content-type", "text/plain"),
                ("content-length", "3"),
                ("x-name", "välue"),
            ],
            raw_path=b"/a%20b",
        )
        expected = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/a b",
            "QUERY_STRING": "q=%C3%A4",
            "REQUEST_URI": "/a%20b?q=%C3%A4",
            "RAW_URI": "/a%20b?q=%C3%A4",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_PORT": "50000",
            "CONTENT_TYPE": "text/plain",
            "CONTENT_LENGTH": "3",
            "HTTP_HOST": "example.org",
            "HTTP_X_NAME": "välue",
            "wsgi.url_scheme": "http",
        }
        assert {key: environ[key] for key in expected} == expected

    @pytest.mark.parametrize(
        ("scope", "key", "value"),
        [
            ({"path": "/ä"}, "PATH_INFO", "/Ã¤"),  # PEP 3333: bytes as Latin-1
            ({"path": "/ä", "raw_path": None}, "REQUEST_URI", "/%C3%A4"),
            ({"path": "/r/a", "root_path": "/r"}, "SCRIPT_NAME", "/r"),
            ({"path": "/r/a", "root_path": "/r"}, "PATH_INFO", "/a"),
            ({"scheme": "https"}, "wsgi.url_scheme", "https"),
            ({"scheme": "wss"}, "wsgi.url_scheme", "https"),
            ({"scheme": "ws"}, "wsgi.url_scheme", "http"),
            ({"server": None}, "SERVER_NAME", "localhost"),
            ({"server": None}, "SERVER_PORT", "80"),
            ({"server": ("/run/socket", None), "scheme": "https"}, "SERVER_PORT", "443"),
            ({"http_version": "2"}, "SERVER_PROTOCOL", "HTTP/2"),
            ({"headers": [("cookie", "a=1"), ("cookie", "b=2")]}, "HTTP_COOKIE", "a=1; b=2"),
            ({"headers": [("accept", "a"), ("accept", "b")]}, "HTTP_ACCEPT", "a,b"),
        ],
    )
    def test_values(self, scope: dict[str, Any], key: str, value: str) -> None:
        # SCRIPT_NAME may be given with a raw path that the server did not tell.
        if scope.get("path", "").isascii():
            scope.setdefault("raw_path", b"/")
        else:
            scope.setdefault("raw_path", None)
        assert new_environ(**scope)[key] == value

    def test_header_with_an_underscore_is_left_out(self) -> None:
        environ = new_environ(headers=[("x_user", "admin"), ("content_length", "1")])
        assert "HTTP_X_USER" not in environ
        assert "CONTENT_LENGTH" not in environ

    def test_client_that_is_not_known(self) -> None:
        assert "REMOTE_ADDR" not in new_environ(client=None)

    async def test_input(self) -> None:
        scope = http_scope(method="POST", headers=[("content-length", "7")])
        environ = environ_from_scope(scope, Body(scope, Peer(chunks(b"one", b"\ntwo")).receive))
        assert await run_in_worker(environ["wsgi.input"].readlines) == [b"one\n", b"two"]


class TestScope:
    def test_whole(self) -> None:
        environ = EnvironBuilder(
            "/ä b?q=1",
            "https://example.org:8443/mounted",
            method="put",
            headers=[("X-Name", "välue"), ("Content-Type", "text/plain")],
            data=b"abc",
            environ_base={"REMOTE_ADDR": "10.0.0.1", "REMOTE_PORT": "5"},
        ).get_environ()
        scope = scope_from_environ(environ)
        assert sorted(scope.pop("headers")) == [
            (b"content-length", b"3"),
            (b"content-type", b"text/plain"),
            (b"host", b"example.org:8443"),
            (b"x-name", "välue".encode("latin-1")),
        ]
        assert scope.pop(ORIGIN).environ is environ
        del scope["asgi"]
        assert scope == {
            "type": "http",
            "http_version": "1.1",
            "method": "PUT",
            "scheme": "https",
            "path": "/mounted/ä b",
            "raw_path": b"/mounted/%C3%A4%20b",
            "root_path": "/mounted",
            "query_string": b"q=1",
            "server": ("example.org", 8443),
            "client": ("10.0.0.1", 5),
            "extensions": {},
        }

    def test_empty_environ(self) -> None:
        scope = scope_from_environ({})
        assert (scope["method"], scope["path"], scope["server"]) == ("GET", "", ("", None))

    @pytest.mark.parametrize(
        ("script_name", "path_info", "path"),
        [("", "a", "/a"), ("", "", ""), ("/r", "", "/r"), ("/r", "a", "/r/a")],
    )
    def test_path_without_slash(self, script_name: str, path_info: str, path: str) -> None:
        environ = {"SCRIPT_NAME": script_name, "PATH_INFO": path_info}
        assert scope_from_environ(environ)["path"] == path

    def test_path_without_slash_of_a_server(self) -> None:
        environ = {"PATH_INFO": "*", "asyncflask.scope": http_scope("*")}
        assert scope_from_environ(environ)["path"] == "*"

    def test_round_trip(self) -> None:
        scope = http_scope(
            path="/r/ä?q=1",
            raw_path=b"/r/%C3%A4",
            root_path="/r",
            headers=[("x-name", "välue"), ("host", "example.org")],
            scheme="https",
            state={"a": 1},
        )
        back = scope_from_environ(environ_from_scope(scope, Body(scope, Peer().receive)))
        assert sorted(back.pop("headers")) == sorted(scope.pop("headers"))
        different = {key for key in scope if back[key] != scope[key]}
        assert different == {"asgi"}
        assert back["state"] is scope["state"]


class TestOrigin:
    """The environ that a scope was made of, and what ASGI middleware does to the scope."""

    @staticmethod
    def environ(**kwargs: Any) -> dict[str, Any]:
        return dict(EnvironBuilder("/a", headers=[("X-Name", "1")], **kwargs).get_environ())

    def test_is_the_one_that_came_in(self) -> None:
        environ = self.environ()
        environ["own.key"] = "value"
        before = {**environ}
        scope = {**scope_from_environ(environ)}
        assert environ_of(scope, Body(scope, Peer().receive)) is environ
        assert environ.pop("wsgi.input") is not before.pop("wsgi.input")
        assert environ.pop("wsgi.input_terminated") is True
        assert environ == before

    @pytest.mark.parametrize(
        ("changes", "key", "value"),
        [
            ({"headers": [(b"x-other", b"2")]}, "HTTP_X_OTHER", "2"),
            ({"headers": [(b"x-other", b"2")]}, "HTTP_X_NAME", None),
            ({"headers": []}, "CONTENT_TYPE", None),
            ({"headers": []}, "CONTENT_LENGTH", None),
            ({"method": "PUT"}, "REQUEST_METHOD", "PUT"),
            ({"scheme": "https"}, "wsgi.url_scheme", "https"),
            ({"path": "/b"}, "PATH_INFO", "/b"),
            ({"path": "/r/b", "root_path": "/r"}, "SCRIPT_NAME", "/r"),
            ({"query_string": b"q=1"}, "QUERY_STRING", "q=1"),
            ({"client": ("10.0.0.1", 5)}, "REMOTE_ADDR", "10.0.0.1"),
        ],
    )
    def test_what_middleware_changes(
        self, changes: dict[str, Any], key: str, value: str | None
    ) -> None:
        environ = self.environ(method="POST", data=b"abc", content_type="text/plain")
        scope = {**scope_from_environ(environ), **changes}
        assert environ_of(scope, Body(scope, Peer().receive)).get(key) == value
        assert environ["wsgi.version"] == (1, 0)

    def test_no_address(self) -> None:
        assert scope_from_environ(self.environ())["client"] is None


class TestFileWrapper:
    def test_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("asyncflask.asgi.environ.FILE_BYTES", 2)
        wrapper = FileWrapper(file := io.BytesIO(b"abcde"), 8192)
        assert wrapper.seekable()
        assert list(wrapper) == [b"ab", b"cd", b"e"]
        wrapper.seek(1)
        assert wrapper.tell() == 1
        wrapper.close()
        assert file.closed

    def test_object_that_can_only_be_read(self) -> None:
        class Source:
            def read(self, size: int) -> bytes:
                return b""

        wrapper = FileWrapper(Source())
        wrapper.close()
        assert list(wrapper) == []
        assert not wrapper.seekable()
        assert wrapper.tell() is None
