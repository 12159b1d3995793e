"""Responses: make one from a view's return value, check it and send it. `dispatch.py` decides
when."""

from __future__ import annotations

import io
from collections.abc import AsyncIterable, Iterable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

from starlette.types import Message, Send
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse
from werkzeug.wsgi import FileWrapper as WerkzeugFileWrapper
from werkzeug.wsgi import _RangeWrapper as RangeWrapper

from .asgi.body import Body
from .asgi.conversation import Conversation
from .asgi.environ import FileWrapper
from .asgi.head import checked_start_message, encode_and_name, start_message
from .asgi.response import ENDING, SelfSent, send_response
from .asgi.servers import is_closed
from .asgi.stalls import patient
from .asgi.stepping import InContext
from .asgi.streams import Blocks
from .asgi.threads import Driver
from .ctx import RequestContext, _cv_request, current_request_ctx
from .debughelpers import wrong_return_value
from .json.provider import DefaultJSONProvider
from .responses import AsyncBody, content_lines, from_starlette, is_starlettes
from .teardown import is_bound_to_thread
from .wrappers import Response

if TYPE_CHECKING:
    from .app import Flask


def make_response(app: Flask, ctx: RequestContext | None, rv: Any) -> Any:
    """Make the response from a view's return value (Flask: `Flask.make_response`). Works
    outside of a request if the value does not need one."""
    kind = type(rv)
    if kind is str or kind is bytes:
        return app.response_class(rv)
    if kind is dict or kind is list:
        return app.json.response(rv)
    status = headers = None
    if isinstance(rv, tuple):
        if len(rv) == 3:
            rv, status, headers = rv
        elif len(rv) == 2:
            if isinstance(rv[1], (Headers, dict, tuple, list)):
                rv, headers = rv
            else:
                rv, status = rv
        else:
            raise TypeError(wrong_return_value(rv, ctx or _cv_request.get(None)))
    if rv is None:
        raise TypeError(wrong_return_value(rv, ctx or current_request_ctx()))
    response_class = app.response_class
    if not isinstance(rv, response_class):
        if isinstance(rv, (str, bytes, bytearray)) or _is_stream(rv):
            rv = response_class(rv, status=status, headers=headers)
            status = headers = None
        elif isinstance(rv, (dict, list)):
            rv = app.json.response(rv)
        elif type(rv) is Ready:
            rv = response_class(rv.content, rv.status, mimetype=rv.mimetype)
        elif is_starlettes(rv):
            rv = from_starlette(response_class, rv)
        elif isinstance(rv, BaseResponse) or callable(rv):
            environ = (ctx or current_request_ctx()).request.environ
            if isinstance(rv, HTTPException):
                rv = rv.get_response(environ)
            try:
                rv = response_class.force_type(rv, environ)
            except TypeError as exc:
                message = wrong_return_value(rv, ctx or _cv_request.get(None))
                raise TypeError(f"{exc}\n{message}").with_traceback(exc.__traceback__) from None
        else:
            if isinstance(rv, CoroutineType):
                rv.close()  # the error below replaces Python's warning
            raise TypeError(wrong_return_value(rv, ctx or _cv_request.get(None)))
    if status is not None:
        if isinstance(status, (str, bytes, bytearray)):
            rv.status = status
        else:
            rv.status_code = status
    if headers:
        rv.headers.update(headers)
    return rv


def _is_stream(rv: object) -> bool:
    return hasattr(rv, "__next__") or isinstance(rv, AsyncIterable)


Complete = tuple[Message, bytes]
"""The message that starts a response, and all of its content."""


class Ready:
    """Content that is ready to be sent. A view that returns it needs no response object, unless
    a hook uses it."""

    __slots__ = ("content", "mimetype", "status")

    def __init__(self, content: bytes, mimetype: str, status: int) -> None:
        self.content = content
        self.mimetype = mimetype
        self.status = status

    def complete(self, method: str) -> Complete:
        """See `complete`."""
        lines = content_lines(self.mimetype, len(self.content))
        start = {"type": "http.response.start", "status": self.status, "headers": lines}
        return start, self.content if method != "HEAD" else b""


def complete(app: Flask, ctx: RequestContext, rv: Any) -> Complete | None:
    """Return the complete response for *rv* without creating a response object. `None` if
    headers other than those of the content may be needed; content that was already made is kept
    in `ctx.ready`."""
    kind = type(rv)
    if kind is str:
        mimetype, content = Response.default_mimetype, rv.encode()
    else:
        provider: Any = app.json
        if kind is not dict and kind is not list:
            return rv.complete(ctx.scope["method"]) if kind is Ready else None
        if getattr(provider.response, "__func__", None) is not DefaultJSONProvider.response:
            return None
        mimetype = provider.mimetype
        content = provider.response_text(provider._prepare_response_obj((rv,), {})).encode()
        # Serializing an object may have read the session.
        if ctx.unplanned or ctx.opened_session is not None:
            ctx.ready = Ready(content, mimetype, 200)
            return None
    return {
        "type": "http.response.start",
        "status": 200,
        "headers": content_lines(mimetype, len(content)),
    }, content if ctx.scope["method"] != "HEAD" else b""


def response_start(response: Any, ctx: RequestContext) -> Message:
    """Return the message that starts *response*. A header that cannot be sent raises
    `ValueError` here, where it can still become a 500."""
    status = response.status_code
    if (
        200 <= status < 600
        and status not in _WITHOUT_BODY
        and type(response).get_wsgi_headers is BaseResponse.get_wsgi_headers
    ):
        if "headers" not in response.__dict__:
            lines = content_lines(*response.mimetype_and_length)
            return checked_start_message(status, lines, response.status)
        headers = response.headers
        # Skip copying all headers if the copy would change nothing.
        if isinstance(headers, Headers) and not 300 <= status < 400:
            try:
                lines, by_name = encode_and_name(status, headers)
            except ValueError:
                pass  # the copy may be valid
            else:
                if b"content-length" in by_name and _CORRECTED.isdisjoint(by_name):
                    message = checked_start_message(status, lines, response.status)
                    message["asyncflask.headers"] = headers
                    return message
    overridden = type(response).get_wsgi_headers is not BaseResponse.get_wsgi_headers
    needed = overridden or response.autocorrect_location_header
    environ = ctx.request.environ if needed else {}
    return start_message(status, response.get_wsgi_headers(environ), response.status)


_WITHOUT_BODY = frozenset({204, 304})
_CORRECTED = frozenset({b"location", b"content-location"})


def content_at_hand(ctx: RequestContext, response: Any) -> bytes | None:
    """Return the content of *response* if it is complete and nothing is left to do, else
    `None`."""
    if (
        not isinstance(response.response, (list, tuple))
        or response.direct_passthrough
        or response._on_close
        or type(response).close is not BaseResponse.close
        or getattr(response, "background", None) is not None
        or getattr(response, "asgi_response", None) is not None
        or response.status_code in ENDING  # may close the connection, see `send_response`
    ):
        return None
    content: Any = content_of(response, ctx)
    return content  # type: ignore[no-any-return]


def content_of(
    response: Any, ctx: RequestContext
) -> bytes | Iterable[bytes] | AsyncIterable[bytes]:
    """Return the content to send: nothing for HEAD and for statuses without a body (RFC 9110
    section 6.4.1)."""
    status = response.status_code
    if ctx.scope.get("method") == "HEAD" or status < 200 or status in _WITHOUT_BODY:
        return b""
    content = response.response
    if isinstance(content, (list, tuple)) and not response.direct_passthrough:
        if (
            len(content) == 1
            and type(content[0]) is bytes
            and type(response).iter_encoded is BaseResponse.iter_encoded
        ):
            return content[0]
        return b"".join(response.iter_encoded())
    if isinstance(content, AsyncBody) or response.direct_passthrough:
        return content  # type: ignore[no-any-return]
    return response.iter_encoded()  # type: ignore[no-any-return]


async def send_content(
    app: Flask,
    ctx: RequestContext,
    driver: Driver,
    body: Body,
    send: Send,
    response: Any,
    start: Message | None,
) -> None:
    """Send *response*. A Starlette response sends itself, with this response's headers."""
    source = getattr(response, "asgi_response", None)
    if source is None:
        content = content_of(response, ctx)
        if not isinstance(content, bytes) and isinstance(content, SelfSent):
            await content.send_all(driver, send, body, app._conversations, start)
        else:
            if isinstance(content, AsyncBody):
                content = content.chunks()
            elif may_move(ctx, response, content):
                content = Blocks(cast("Iterable[bytes]", content))
            await send_response(driver, send, body, app._conversations, start, content)
        return
    now = {(k.title().encode("latin-1"), v.encode("latin-1")) for k, v in response.headers}
    before = {(k.encode("latin-1"), v.encode("latin-1")) for k, v in response.asgi_headers}
    changed = {name.lower() for name, _ in now ^ before}
    lines = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in response.headers]
    ours = [line for line in lines if line[0] in changed]
    merge = getattr(source, "merge", None)

    async def send_changed(message: Message) -> None:
        if message["type"] == "http.response.start":
            if merge is None:
                kept = [line for line in message["headers"] if line[0].lower() not in changed]
                message = {**message, "headers": [*kept, *ours]}
            else:
                message = {**message, "headers": merge(message.get("headers", ()), ours)}
            if response.status_code != source.status_code:
                message["status"] = response.status_code
        elif ctx.scope["method"] == "HEAD" and "body" in message:
            message = {**message, "body": b""}
        await send(message)

    await driver.to_loop()
    watched = getattr(source, "ends_with_client", True)
    async with Conversation(app._conversations, body.gone_unread, watched=watched):
        await source(ctx.request.scope, body.as_receive, send_changed)


def may_move(ctx: RequestContext, response: Any, content: Any) -> bool:
    """Return `True` if *content* is a file that no user code depends on, so any thread may read
    it."""
    if ctx.holds or response._on_close or type(response).close is not BaseResponse.close:
        return False
    if isinstance(content, RangeWrapper):
        content = content.iterable
    return isinstance(content, FileWrapper | WerkzeugFileWrapper) and isinstance(
        content.file, io.BufferedReader | io.BytesIO
    )


async def start_wsgi(
    ctx: RequestContext, send: Send, response: object, start: Message | None
) -> Message | None:
    """Start a response before the teardown, since WSGI middleware may use the request then. A
    Starlette response starts itself. Return the message that is still to be sent, if any."""
    if start is None or getattr(response, "asgi_response", None) is not None:
        return start
    driver = ctx.driver
    assert driver is not None
    await driver.to_loop()
    await driver.outside(send)(start)
    return None


async def send_rest(
    app: Flask, ctx: RequestContext, send: Send, response: Any, start: Message | None
) -> None:
    """Send the rest of a response and run what follows it. An error when closing is logged; the
    client has its response, so the connection stays open."""
    driver = ctx.driver
    assert driver is not None
    body = ctx.request.asgi_body
    outside: InContext[None]
    if ctx.origin is None:
        outside = patient(send, driver.outer.copy(), ctx.receive, body, app)
    else:
        outside = driver.outside(send)
    if isinstance(response.response, AsyncBody) and not is_bound_to_thread(ctx):
        await driver.to_loop()
        driver.spare_thread()
    try:
        await send_content(app, ctx, driver, body, outside, response, start)
    except Exception as error:
        # Trouble with the client's body is not an error of the app. See also `is_closed`.
        of_client = error is body.error and ctx.origin is None
        if not (of_client or is_closed(send)):
            raise
    finally:
        try:
            await close(response, driver)
        except Exception:
            if ctx.origin is not None or propagates(app):  # WSGI and tests see the error
                raise
            app.logger.exception("The response to %s could not be closed.", ctx.request.path)
        finally:
            for begin in ctx.background:
                begin()
    if (background := getattr(response, "background", None)) is not None:
        await ctx.call(background)


async def close(response: Any, driver: Driver) -> None:
    """Close the sources of *response*, on the thread or loop that ran them."""
    content = response.response
    if isinstance(content, AsyncBody):
        await driver.to_loop()
        await content.aclose()
    if (
        response._on_close
        or hasattr(content, "close")
        or type(response).close is not BaseResponse.close
    ):
        await driver.call(response.close)
    await driver.to_loop()


def propagates(app: Flask) -> bool:
    """Return `True` if exceptions are raised to the server or the test instead of becoming a
    500."""
    propagate: bool | None = app.config["PROPAGATE_EXCEPTIONS"]
    return (app.testing or app.debug) if propagate is None else propagate
