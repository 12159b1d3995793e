"""The client for async tests: httpx, connected to the app itself. Needs the extra `test`. The
client for sync tests is `app.test_client()`, in `testing.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self

from starlette.types import ASGIApp, Receive, Scope, Send

from .asgi.client import EventSource, HeaderLines, WebSocketSession
from .asgi.client import WebSocketDenied as WebSocketDenied
from .asgi.lifespan import lifespan
from .asgi.threads import is_async
from .ctx import run_sync
from .sansio.app import App
from .sessions import SessionMixin

try:
    import httpx
except ImportError as error:
    raise ImportError(
        "asyncflask.async_testing needs httpx. Install it with: pip install 'asyncflask[test]'"
    ) from error


class AsyncClient(httpx.AsyncClient):
    """An `httpx.AsyncClient` that calls the app directly, on the test's own loop. ::

        async with AsyncClient(app) as client:
            response = await client.get("/")
            assert response.status_code == 200

    `async with` starts the app (its lifespan) and stops it at the end. A response is returned once
    it has been sent completely; read endless streams with `event_source`.

    :param lifespan: `False` to not start the app. Default: `True`.
    :param kwargs: passed to `httpx.AsyncClient`. Default of `base_url`: ``http://localhost``.
    """

    def __init__(self, app: ASGIApp, *, lifespan: bool = True, **kwargs: Any) -> None:
        self.app = app
        self._lifespan = lifespan
        self.lifespan_state: dict[str, object] = {}
        """The app's lifespan state; becomes each request's `request.state`."""
        self._stack = AsyncExitStack()
        kwargs.setdefault("base_url", "http://localhost")
        super().__init__(transport=httpx.ASGITransport(self._with_state), **kwargs)

    async def _with_state(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = self.lifespan_state.copy()
        await self.app(scope, receive, send)

    def websocket_connect(
        self, url: str, *, headers: HeaderLines = (), subprotocols: Iterable[str] = ()
    ) -> WebSocketSession:
        """Connect to a WebSocket of the app, for `async with`. The client's cookies are sent."""
        request = self.build_request("GET", url)
        return WebSocketSession(
            self.app,
            url,
            base_url=str(self.base_url),
            headers=_with_cookies(request, headers),
            subprotocols=subprotocols,
            state=self.lifespan_state,
            on_accept=partial(self._keep_cookies, request),
        )

    def event_source(
        self, url: str, *, headers: HeaderLines = (), last_event_id: str | None = None
    ) -> EventSource:
        """Read an event stream, for `async with`. The client's cookies are sent."""
        request = self.build_request("GET", url)
        return EventSource(
            self.app,
            url,
            base_url=str(self.base_url),
            headers=_with_cookies(request, headers),
            last_event_id=last_event_id,
            state=self.lifespan_state,
            on_answer=partial(self._keep_cookies, request),
        )

    @asynccontextmanager
    async def session_transaction(
        self, path: str = "/", **kwargs: Any
    ) -> AsyncIterator[SessionMixin]:
        """Open the client's session to read or change it in an `async with` block; it is saved at
        the end. The arguments are those of `Flask.test_request_context`, with the client's
        `base_url`."""
        app = self.app
        if not isinstance(app, App):
            raise TypeError(
                f"Sessions need a Flask app, but this client's app is {app!r:.80}. Create the"
                " client with AsyncClient(app), before you wrap the app in middleware."
            )
        request = self.build_request("GET", path)
        ctx = app.test_request_context(path, base_url=str(self.base_url), **kwargs)
        if "cookie" in request.headers:
            ctx.request.environ["HTTP_COOKIE"] = request.headers["cookie"]
        interface = app.session_interface
        async with ctx:
            session = await _called(interface.open_session, app, ctx.request)
        if session is None:
            raise RuntimeError("Session backend did not open a session.")
        yield session
        if interface.is_null_session(session):
            return
        response = app.response_class()
        async with ctx:
            await _called(interface.save_session, app, session, response)
        self._keep_cookies(
            request, [("set-cookie", v) for v in response.headers.getlist("Set-Cookie")]
        )

    def _keep_cookies(self, request: httpx.Request, headers: list[tuple[str, str]]) -> None:
        self.cookies.extract_cookies(httpx.Response(200, headers=headers, request=request))

    async def __aenter__(self) -> Self:
        if self._lifespan:
            self.lifespan_state = await self._stack.enter_async_context(lifespan(self.app))
        await super().__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await super().__aexit__(exc_type, exc_value, traceback)
        await self._stack.aclose()


def _with_cookies(request: httpx.Request, headers: HeaderLines) -> list[tuple[str, str]]:
    lines = list(headers.items() if isinstance(headers, Mapping) else headers)
    if "cookie" in request.headers:
        lines.append(("cookie", request.headers["cookie"]))
    return lines


async def _called(func: Callable[..., Any], *args: object) -> Any:
    """Call a session interface's method; if it is sync, on a thread, where it may block."""
    return await (func(*args) if is_async(func) else run_sync(func, *args))
