"""Test clients: Flask's test client, and a runner for commands. The client for async tests is
in `async_testing.py`, which needs httpx."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from copy import copy
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

import werkzeug.test
from click.testing import CliRunner, Result
from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Request as BaseRequest

from .asgi.client import EventSource, HeaderLines, WebSocketSession
from .asgi.client import WebSocketDenied as WebSocketDenied
from .asgi.environ import STATE, Environ
from .asgi.lifespan import started
from .asgi.loops import off_loop
from .asgi.wsgi import CLOSE_AT_ONCE
from .cli import ScriptInfo
from .sessions import SessionMixin

if TYPE_CHECKING:
    from .app import Flask


@cache
def _user_agent() -> str:
    # Cached: the version is looked up in all package folders.
    return f"Werkzeug/{importlib.metadata.version('werkzeug')}"


class EnvironBuilder(werkzeug.test.EnvironBuilder):
    """Werkzeug's builder of WSGI environs, with defaults from the app's `SERVER_NAME`,
    `APPLICATION_ROOT` and `PREFERRED_URL_SCHEME`."""

    def __init__(
        self,
        app: Flask,
        path: str = "/",
        base_url: str | None = None,
        subdomain: str | None = None,
        url_scheme: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        assert base_url is None or not (subdomain or url_scheme), (
            "Either 'base_url', or 'subdomain' and 'url_scheme'."
        )
        if base_url is None:
            host = app.config.get("SERVER_NAME") or "localhost"
            if subdomain:
                host = f"{subdomain}.{host}"
            scheme = url_scheme or app.config["PREFERRED_URL_SCHEME"]
            url = urlsplit(path)
            root = app.config["APPLICATION_ROOT"].lstrip("/")
            base_url = f"{url.scheme or scheme}://{url.netloc or host}/{root}"
            path = f"{url.path}?{url.query}" if url.query else url.path
        self.app = app
        super().__init__(path, base_url, *args, **kwargs)

    def json_dumps(self, obj: object, **kwargs: Any) -> str:
        """Serialize *obj* with the app's JSON provider."""
        text: str = self.app.json.dumps(obj, **kwargs)
        return text


class FlaskClient(Client):
    """A test client with Flask's API; `app.test_client()` creates it. ::

        client = app.test_client()
        response = client.post("/notes", json={"text": "Hello"})
        assert response.status_code == 201

    The app runs as it does under ASGI, except that sync functions run on the thread of the test.

    Within a `with` block, the request context of the last request stays active, so that you can
    inspect `request` and `session`. With *lifespan*, the block also starts and stops the app, as a
    server would.
    """

    application: Flask

    def __init__(self, *args: Any, lifespan: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lifespan_state: dict[str, Any] | None = None
        """The app's lifespan state, once it was started; becomes each request's
        `request.state`."""
        self._lifespan = lifespan
        self._started = ExitStack()
        self.preserve_context = False
        self._new_contexts: list[AbstractContextManager[object]] = []
        self._context_stack = ExitStack()
        self.environ_base: dict[str, Any] = {
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_USER_AGENT": _user_agent(),
        }

    @contextmanager
    def session_transaction(self, *args: Any, **kwargs: Any) -> Iterator[SessionMixin]:
        """Open the client's session to read or change it in a `with` block; it is saved at the
        end. ::

            with client.session_transaction() as session:
                session["user_id"] = 7

        The arguments are those of `Flask.test_request_context`. Raises `TypeError` if the client
        was created with `use_cookies=False`.
        """
        if self._cookies is None:
            raise TypeError("Cookies are disabled. Create a client with 'use_cookies=True'.")
        app = self.application
        ctx = app.test_request_context(*args, **kwargs)
        self._add_cookies_to_wsgi(ctx.request.environ)
        interface = app.session_interface
        with ctx:
            session = app.ensure_sync(interface.open_session)(app, ctx.request)
        if session is None:
            raise RuntimeError("Session backend did not open a session.")
        yield session
        if interface.is_null_session(session):
            return
        response = app.response_class()
        with ctx:
            app.ensure_sync(interface.save_session)(app, session, response)
        self._update_cookies_from_response(
            ctx.request.host.partition(":")[0],
            ctx.request.path,
            response.headers.getlist("Set-Cookie"),
        )

    def websocket_connect(
        self,
        url: str,
        *,
        base_url: str = "http://localhost",
        headers: HeaderLines = (),
        subprotocols: Iterable[str] = (),
        state: dict[str, Any] | None = None,
    ) -> WebSocketSession:
        """Connect to a WebSocket of the app, for `with`. The client's cookies are sent.

        :param state: replaces the `request.state` from the app's lifespan.
        """
        lines, keep_cookies = self._with_cookies(url, headers)
        return WebSocketSession(
            self.application,
            url,
            base_url=base_url,
            headers=lines,
            subprotocols=subprotocols,
            state=self.lifespan_state if state is None else state,
            on_accept=keep_cookies,
        )

    def event_source(
        self,
        url: str,
        *,
        base_url: str = "http://localhost",
        headers: HeaderLines = (),
        last_event_id: str | None = None,
        state: dict[str, Any] | None = None,
    ) -> EventSource:
        """Read an event stream, for `with`. The client's cookies are sent.

        :param state: replaces the `request.state` from the app's lifespan.
        """
        lines, keep_cookies = self._with_cookies(url, headers)
        return EventSource(
            self.application,
            url,
            base_url=base_url,
            headers=lines,
            last_event_id=last_event_id,
            state=self.lifespan_state if state is None else state,
            on_answer=keep_cookies,
        )

    def _with_cookies(
        self, url: str, headers: HeaderLines
    ) -> tuple[list[tuple[str, str]], Callable[[list[tuple[str, str]]], None]]:
        """Return the headers for a connection to *url*, and a function that stores the
        response's cookies."""
        environ = EnvironBuilder(self.application, url).get_environ()
        if self._cookies is not None:
            self._add_cookies_to_wsgi(environ)
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        if "HTTP_COOKIE" in environ:
            pairs.append(("cookie", environ["HTTP_COOKIE"]))
        pairs.append(("host", environ["HTTP_HOST"]))

        def keep_cookies(answer: list[tuple[str, str]]) -> None:
            if self._cookies is not None:
                cookies = [value for name, value in answer if name == "set-cookie"]
                host = environ["HTTP_HOST"].partition(":")[0]
                self._update_cookies_from_response(host, environ["PATH_INFO"], cookies)

        return pairs, keep_cookies

    def _copy_environ(self, other: Mapping[str, Any]) -> Environ:
        environ = {**self.environ_base, **other, CLOSE_AT_ONCE: True}
        if self.lifespan_state is not None:
            environ[STATE] = self.lifespan_state
        if self.preserve_context:
            environ["werkzeug.debug.preserve_context"] = self._new_contexts.append
        return environ

    def _request(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BaseRequest:
        """Return the request for the arguments of `open`."""
        first = args[0] if args else None
        if isinstance(first, werkzeug.test.EnvironBuilder):
            builder = copy(first)
            builder.environ_base = self._copy_environ(builder.environ_base or {})
            return builder.get_request()
        if isinstance(first, dict):
            return EnvironBuilder.from_environ(
                first, app=self.application, environ_base=self._copy_environ({})
            ).get_request()
        if isinstance(first, BaseRequest):
            request = copy(first)
            request.environ = self._copy_environ(request.environ)
            return request
        return self._request_from_builder_args(args, kwargs)

    def _request_from_builder_args(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> BaseRequest:
        kwargs["environ_base"] = self._copy_environ(kwargs.get("environ_base", {}))
        builder = EnvironBuilder(self.application, *args, **kwargs)
        try:
            return builder.get_request()
        finally:
            builder.close()

    def open(
        self,
        *args: Any,
        buffered: bool = False,
        follow_redirects: bool = False,
        **kwargs: Any,
    ) -> TestResponse:
        """Make a request; `get`, `post` and so on call this. The arguments are those of
        `EnvironBuilder`, or a builder, an environ or a request.

        :param buffered: read the whole response body and close the response. Default: `False`.
        :param follow_redirects: follow redirects. Default: `False`.
        """
        request = self._request(args, kwargs)
        # The contexts of the previous request stay until the next one begins.
        self._context_stack.close()
        with off_loop():  # WSGI middleware may block it too
            response = super().open(request, buffered=buffered, follow_redirects=follow_redirects)
        response.json_module = cast(Any, self.application.json)
        while self._new_contexts:
            self._context_stack.enter_context(self._new_contexts.pop(0))
        return response

    def __enter__(self) -> Self:
        if self.preserve_context:
            raise RuntimeError("Cannot nest client invocations")
        if self._lifespan:
            self.lifespan_state = self._started.enter_context(started(self.application))
        self.preserve_context = True
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.preserve_context = False
        try:
            self._context_stack.close()
        finally:
            if self._lifespan:
                self.lifespan_state = None
                self._started.close()


class FlaskCliRunner(CliRunner):
    """A runner for the app's commands in tests; `app.test_cli_runner()` creates it. ::

        result = app.test_cli_runner().invoke(args=["create-user", "ada"])
        assert "created" in result.output

    With *lifespan*, the app is started before each command and stopped after it.
    """

    def __init__(self, app: Flask, *, lifespan: bool = False, **kwargs: Any) -> None:
        self.app = app
        self._lifespan = lifespan
        super().__init__(**kwargs)

    def invoke(self, cli: Any = None, args: Any = None, **kwargs: Any) -> Result:  # type: ignore[override]
        """Run a command and return its `click.testing.Result`.

        :param cli: the command. Default: the app's group, which finds the command by its name in
            *args*.
        :param args: the arguments, as a list or a string.
        """
        if cli is None:
            cli = self.app.cli
        if "obj" not in kwargs:
            create_app: Callable[[], Flask] = lambda: self.app  # noqa: E731
            kwargs["obj"] = ScriptInfo(create_app=create_app)
        with started(self.app) if self._lifespan else nullcontext() as state:
            if isinstance(kwargs["obj"], ScriptInfo):
                kwargs["obj"].lifespan_state = state
            return super().invoke(cli, args, **kwargs)
