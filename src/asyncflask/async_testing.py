"""The client for async tests: httpx, on the app itself. Needs the extra `test`.

The client for sync tests is `app.test_client()`, in `testing.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from starlette.types import ASGIApp, Receive, Scope, Send

from .asgi.client import EventSource, WebSocketSession
from .asgi.client import WebSocketDenied as WebSocketDenied
from .asgi.lifespan import lifespan

try:
    import httpx
except ImportError as error:
    raise ImportError(
        "asyncflask.async_testing needs httpx. Install it with: pip install 'asyncflask[test]'"
    ) from error


class AsyncClient(httpx.AsyncClient):
    """An `httpx.AsyncClient` whose requests the app answers on this very loop.

    ``async with AsyncClient(app) as client:`` starts the app (its lifespan) and stops it at the
    end; without `async with` it is not started. The arguments are httpx's, with a `base_url` of
    ``http://localhost``; cookies are kept between requests. A response is there when all of it
    has been sent; a stream without end is read by `event_source`, or from a real server.
    """

    def __init__(self, app: ASGIApp, **kwargs: Any) -> None:
        self.app = app
        self.lifespan_state: dict[str, object] = {}
        """What the app's lifespan gave; each request's `request.state`."""
        self._stack = AsyncExitStack()
        kwargs.setdefault("base_url", "http://localhost")
        super().__init__(transport=httpx.ASGITransport(self._with_state), **kwargs)

    async def _with_state(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = self.lifespan_state.copy()
        await self.app(scope, receive, send)

    def websocket_connect(self, url: str, **kwargs: Any) -> WebSocketSession:
        """A WebSocket to the app, with the client's cookies, for `async with`. The keyword
        arguments are those of `asgi.client.WebSocketSession`."""
        kwargs["on_accept"] = self._set_up(url, kwargs)
        return WebSocketSession(self.app, url, **kwargs)

    def event_source(self, url: str, **kwargs: Any) -> EventSource:
        """Read an event stream, with the client's cookies, for `async with`. The keyword
        arguments are those of `asgi.client.EventSource`."""
        kwargs["on_answer"] = self._set_up(url, kwargs)
        return EventSource(self.app, url, **kwargs)

    def _set_up(self, url: str, kwargs: dict[str, Any]) -> Callable[[list[tuple[str, str]]], None]:
        """Complete the arguments for a connection to *url*. Gives what keeps the cookies of its
        answer."""
        request = self.build_request("GET", url)
        headers = kwargs.get("headers", {})
        pairs = list(headers.items() if hasattr(headers, "items") else headers)
        if "cookie" in request.headers:
            pairs.append(("cookie", request.headers["cookie"]))

        def keep_cookies(answer: list[tuple[str, str]]) -> None:
            self.cookies.extract_cookies(httpx.Response(101, headers=answer, request=request))

        kwargs |= {
            "base_url": str(self.base_url),
            "headers": pairs,
            "state": self.lifespan_state,
        }
        return keep_cookies

    async def __aenter__(self) -> Self:
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
