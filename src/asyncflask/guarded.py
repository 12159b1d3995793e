"""ASGI apps mounted behind the app's hooks: routes lead to them, and they answer in place of a
view, within the request's contexts.

A request that a hook rejects never reaches the mounted app. Its response is sent as it is,
except that headers from `after_request` functions and the session's cookie are added.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from werkzeug.datastructures import Headers
from werkzeug.exceptions import NotFound

from .asgi.scope import ORIGIN
from .converse import accept_headers
from .ctx import RequestContext, current_request_ctx

if TYPE_CHECKING:
    from .app import Flask


Line = tuple[bytes, bytes]

_ADDED: Final = frozenset({b"link", b"server-timing", b"set-cookie", b"vary"})
"""Headers from hooks that add to the mounted app's instead of replacing them."""

_OF_THE_CONTENT: Final = frozenset({b"content-length", b"etag"})
"""Headers that hooks compute from the content, which they do not have here."""


def mount(app: Flask, path: str, inner: ASGIApp, name: str | None) -> None:
    """Add the routes for *inner*, mounted at *path*."""
    mounted = Mount(path, inner, name=name)
    endpoint = (name or f"mount:{mounted.path}").replace(".", "_")  # a dot would name a blueprint
    for rest in "", "<path:path>":
        for websocket in False, True:
            rule = app.url_rule_class(
                f"{mounted.path}/{rest}", endpoint=endpoint, websocket=websocket
            )
            vars(rule).update(stream=True)  # the body is for the inner app
            app.url_map.add(rule)
    app.view_functions[endpoint] = partial(_view, mounted)
    app._guarded = [*app._guarded, inner]


async def _view(mounted: Mount, path: str = "") -> Any:
    ctx = current_request_ctx()
    scope = _scope_for(mounted, ctx)
    if ctx.websocket is None:
        return _response(mounted, scope, ctx)
    receive, send = ctx.websocket.hand_over()
    await mounted.handle(scope, receive, _with_session(ctx, send))
    return None


def _scope_for(mounted: Mount, ctx: RequestContext) -> Scope:
    scope = {key: value for key, value in ctx.scope.items() if key not in (ORIGIN, "router")}
    match, child = mounted.matches(scope)
    if match is Match.NONE:  # a second leading slash, which Werkzeug ignores, or a line break
        raise NotFound
    return {**scope, **child, "app_root_path": child["root_path"]}


def _response(mounted: Mount, scope: Scope, ctx: RequestContext) -> Any:
    """Return a response that the inner app will send. Hooks may add headers; the inner app's
    headers are not known yet."""
    response: Any = ctx.app.response_class(direct_passthrough=True)
    response.headers = Headers()
    response.asgi_headers = frozenset()
    response.asgi_response = Inner(mounted, scope, ctx, _body_of(ctx))
    ctx.unplanned = True
    return response


def _body_of(ctx: RequestContext) -> AsyncIterator[bytes]:
    """Return the body for the inner app. What a hook read with `get_data` is kept and can be
    read again; a form's body is gone once parsed."""
    request = ctx.request
    kept: bytes | None = getattr(request, "_cached_data", None)
    if kept:
        return _single(kept)
    if "form" not in vars(request):
        return aiter(request.stream)
    if not request.asgi_body.arrived:
        return _single(b"")
    raise RuntimeError(
        f"A hook read the form of a request to {request.path!r}, so the mounted app cannot read"
        " the body. To keep it for both, write 'request.get_data()' before 'request.form' in"
        f" the hook, or skip requests with the endpoint {request.endpoint!r}."
    )


async def _single(content: bytes) -> AsyncIterator[bytes]:
    if content:
        yield content


class Inner:
    """The inner app, in the role of a Starlette response."""

    status_code = 200
    """The status that hooks see. If they set another, it replaces the inner app's."""

    holds_context = True
    """Keeps the contexts until everything is sent. Read when no hook can replace the response
    any more."""

    ends_with_client = False
    """The inner app is told that its client left, instead of being cancelled."""

    def __init__(
        self, mounted: Mount, scope: Scope, ctx: RequestContext, body: AsyncIterator[bytes]
    ) -> None:
        self._mounted = mounted
        self._scope = scope
        self._ctx = ctx
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ctx = self._ctx
        try:
            received = _Body(self._body, receive)
            await self._mounted.handle(self._scope, received, _with_session(ctx, send))
        finally:
            ctx.holds -= 1

    def merge(self, sent: Iterable[Line], ours: Iterable[Line]) -> list[Line]:
        """Return the headers the inner app has *sent*, combined with *ours*, the hooks'."""
        ours = [line for line in ours if line[0] not in _OF_THE_CONTENT]
        replaced = {name for name, _ in ours} - _ADDED
        kept = [line for line in sent if line[0].lower() not in replaced]
        # If the inner app changed the session's cookie again, its version wins.
        cookies = {_cookie(value) for name, value in kept if name.lower() == b"set-cookie"}
        added = [
            line for line in ours if line[0] != b"set-cookie" or _cookie(line[1]) not in cookies
        ]
        return [*kept, *added]


def _cookie(line: bytes) -> tuple[bytes, ...]:
    """Return what identifies a cookie (RFC 6265 section 5.3): name, domain, path."""
    pair, *attributes = (part.strip() for part in line.split(b";"))
    within = (part.lower() for part in attributes)
    name, _, _ = pair.partition(b"=")
    return name, *sorted(part for part in within if part.startswith((b"domain=", b"path=")))


class _Body:
    """A `receive` that returns the request's body. *gone* returns the last message."""

    def __init__(self, chunks: AsyncIterator[bytes], gone: Receive) -> None:
        self._chunks: AsyncIterator[bytes] | None = chunks
        self._gone = gone

    async def __call__(self) -> Message:
        if self._chunks is None:
            return await self._gone()
        try:
            return {"type": "http.request", "body": await anext(self._chunks), "more_body": True}
        except StopAsyncIteration:
            self._chunks = None
            return {"type": "http.request", "body": b"", "more_body": False}


def _with_session(ctx: RequestContext, send: Send) -> Send:
    """Wrap *send* to add the cookie of a session that the inner app changed."""
    if ctx.websocket is None and ctx.opened_session is not None:
        ctx.opened_session.modified = False  # changes by hooks are already saved

    async def sent(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            session = ctx.opened_session
            if session is not None and session.modified:
                lines = await accept_headers(ctx.app, ctx)
                message = {**message, "headers": [*message.get("headers", ()), *lines]}
        await send(message)

    return sent
