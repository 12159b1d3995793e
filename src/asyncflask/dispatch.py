"""A request, from its arrival to its end: the steps, in the order in which they happen.

`serve_http` and `serve_websocket` are the two flows; both go through the same steps. Each step
is written once, as a coroutine function, and reaches user code through `call` alone (see
`asgi/threads.py`). The public methods of `Flask` with the steps' names run them for plain code;
a method that an extension or a subclass replaced is called in the step's place.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from functools import partial
from inspect import CO_COROUTINE
from itertools import chain
from operator import attrgetter, itemgetter
from types import CoroutineType, FunctionType
from typing import Any, NamedTuple

from starlette.types import Message, Receive, Scope, Send
from werkzeug.datastructures import Headers
from werkzeug.exceptions import (
    BadRequest,
    BadRequestKeyError,
    ClientDisconnected,
    Forbidden,
    HTTPException,
    InternalServerError,
)
from werkzeug.routing import RoutingException
from werkzeug.wrappers import Response as BaseResponse

from .asgi.conversation import Conversation, Conversations
from .asgi.environ_socket import EnvironSocket, handshake_environ
from .asgi.events import send_events
from .asgi.http import (
    Body,
    announced,
    checked_start_message,
    encode_and_name,
    good_hosts,
    malformed,
    send_response,
    start_message,
)
from .asgi.threads import Call, Driver, as_coroutine, call_here, is_async, rest_of
from .asgi.websocket import (
    INTERNAL_ERROR,
    NORMAL,
    SERVICE_RESTART,
    WebSocket,
    WebSocketOptions,
    origin_allowed,
)
from .asgi.wsgi import environ_from_scope, route_path, serve, update_environ
from .ctx import AppContext, RequestContext, _cv_app, _cv_request, current_request_ctx
from .debughelpers import add_advice
from .events import AsyncEvents, PlainEvents
from .json.provider import DefaultJSONProvider
from .sessions import SecureCookieSessionInterface
from .signals import (
    appcontext_pushed,
    appcontext_tearing_down,
    emit,
    got_request_exception,
    request_finished,
    request_started,
    request_tearing_down,
)
from .wrappers import (
    AsyncBody,
    Request,
    Response,
    content_type_lines,
    from_starlette,
    is_starlettes,
    plain_lines,
)

Step = Callable[..., Awaitable[Any]]

_nothing: Any = object()

# -- the two flows ----------------------------------------------------------------------------


async def serve_simple(app: Any, ctx: RequestContext, send: Send, quiet: tuple[Any, ...]) -> None:
    """`serve_http` for a request that came in through ASGI to an app of which no step is replaced:
    the same stages, if none but the view has anything to call, written out, since each call costs
    a fiftieth of such a request. What turns out to be more than that goes on there.

    *quiet*: what is empty now, and has to be when the view has run (`Flask._judge`)."""
    lines = ctx._lines
    if (
        lines is None
        or lines.get(b"host") not in good_hosts
        or _settings_of(app) != _SIMPLE_SETTINGS
        or _config_of(app.config) != _SIMPLE_CONFIG
    ):
        await serve_http(app, ctx, send)
        return
    if not app._got_first_request:
        app._got_first_request = True
    app_ctx = AppContext(app)
    app_token, token = _set_app(app_ctx), _set_request(ctx)
    app_ctx._cv_tokens.append(app_token)
    ctx._cv_tokens.append((token, app_ctx))
    view = None
    waits = False
    try:
        scope = ctx._scope
        method = scope["method"]
        path = route_path(scope) if scope["root_path"] else scope["path"]
        ctx._found = found = app.url_map.find(path, method, False)
        if found is not None:
            rule, values = found
            view = app.view_functions[rule.endpoint]
            if method != "GET" or b"content-length" in lines or b"transfer-encoding" in lines:
                waits = body_to_come(ctx)
            if method == "OPTIONS" or rule.cancel_on_disconnect:
                view = None
    except Exception:  # it will be raised again, where it belongs
        view = None
    if view is None:
        await serve_http(app, ctx, send)
        return
    try:
        if (
            type(view) is FunctionType
            and view.__code__.co_flags & CO_COROUTINE
            and ctx._driver is None
        ):  # all that `_call` would do
            if waits and (rest := receive_body(ctx)) is not None:
                await rest
            rv = await (view(**values) if values else view())
        else:
            if waits:
                expect_body(ctx)
            rv = await ctx._call(view, **values)
    except Exception as exc:
        await serve_http(app, ctx, send, None, exc)
        return
    except BaseException as exc:
        try:
            await finish(app, ctx, exc)
        finally:
            end_body(ctx)
        raise
    if ctx._driver is not None:
        ctx._driver.prepare = None
    content: tuple[str | None, bytes] | None = None
    try:
        if not (
            any(quiet)
            or ctx._after_request_functions
            or ctx._opened_session is not None
            or (b"cookie" in lines and has_session(app, ctx))
            or ctx._holds
            or ctx._background
            or not (len(ctx._cv_tokens) == len(app_ctx._cv_tokens) == 1)
            or _get_request(None) is not ctx
            or _get_app(None) is not app_ctx
        ):
            if type(rv) is str:
                content = Response.default_mimetype, rv.encode()
            else:
                content = content_alone(app, rv)
            if content is not None:
                mimetype, whole = content
                if mimetype in content_type_lines:
                    length = b"content-length", b"%d" % len(whole)
                    headers = [content_type_lines[mimetype], length]
                else:
                    headers = plain_lines(mimetype, len(whole))
    except Exception as exc:
        await serve_http(app, ctx, send, rv, None, exc)
        return
    if content is None:
        await serve_http(app, ctx, send, rv)
        return
    if ctx._made:
        method = ctx.request.method
        ctx.request.close()
        end_body(ctx)
    ctx._cv_tokens.clear()
    app_ctx._cv_tokens.clear()
    _reset_request(token)
    _reset_app(app_token)
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    ctx._whole = start, whole if method != "HEAD" else b""


# Taken off here, not in each request.
_set_app, _get_app, _reset_app = _cv_app.set, _cv_app.get, _cv_app.reset
_set_request, _get_request, _reset_request = (
    _cv_request.set,
    _cv_request.get,
    _cv_request.reset,
)

# Anybody may set them, in a class too.
_settings_of = attrgetter(
    "url_map.host_matching",
    "subdomain_matching",
    "session_interface.__class__",
    "response_class",
    "request_class._lazy",
    "request_class.trusted_hosts",
)
_SIMPLE_SETTINGS = (False, False, SecureCookieSessionInterface, Response, True, None)
_config_of = itemgetter("TRUSTED_HOSTS", "CANCEL_ON_DISCONNECT")
_SIMPLE_CONFIG = (None, False)


async def serve_http(
    app: Any,
    ctx: RequestContext,
    send: Send,
    rv: Any = _nothing,
    failure: Exception | None = None,
    unsent: Exception | None = None,
) -> None:
    """Answer one request. A response that is there as a whole is left in `ctx._whole`, its start
    and its content, all else done: it is for the caller to send, in the context of the server.

    *rv*, *failure*: what the view gave or raised, if it was called already. *unsent*: why there
    can be no response of *rv*."""
    environ = ctx._scope.get("asyncflask.environ")
    call = ctx._call
    error: BaseException | None = None
    content: tuple[str | None, bytes] | None = None
    start: Message
    whole: bytes | None = None
    try:
        try:
            if unsent is not None:
                raise unsent
            if failure is None and rv is _nothing:
                await arrive(app, ctx, call)
            if not ctx._own:
                response = await ctx._steps.full_dispatch_request(app, ctx, call)
            else:
                if failure is not None:
                    rv = await answer_to_error(app, ctx, call, failure)
                elif rv is _nothing:
                    rv = await answer(app, ctx, call)
                if not is_seen(app, ctx):
                    content = content_alone(app, rv)
                if content is None:
                    response = await finalize_request(app, ctx, call, rv)
            if content is None:
                start = response_start(response, ctx.request)
            else:
                headers = plain_lines(content[0], len(content[1]))
                start = {"type": "http.response.start", "status": 200, "headers": headers}
                method = ctx.request.method if ctx._made else ctx._scope["method"]
                whole = b"" if method == "HEAD" else content[1]
        except Exception as exc:
            error = exc
            response, start = await respond_to_error(app, ctx, call, exc)
        except BaseException as exc:
            error = exc
            raise
        finally:
            if not ctx._holds:
                if environ is not None:
                    await keep_for_test_client(ctx, environ, ctx.request._body)
                if ctx._cv_tokens and (ctx._is_missed() or not ctx._leave()):
                    await finish(app, ctx, error)
        if whole is None or ctx._holds or ctx._background:
            if whole is not None and content is not None:
                response = Response(content[1], mimetype=content[0])
            whole = whole_content(ctx, response)
        if whole is not None:
            ctx._whole = start, whole
            return
        driver = ctx.driver
        assert driver is not None
        send = driver.outside(send)
        request = ctx.request
        try:
            await send_content(app, ctx, driver, request._body, send, response, start)
        finally:
            await close(response, driver)
            for begin in ctx._background:
                begin()
        if (background := getattr(response, "background", None)) is not None:
            await call(background)
    finally:
        if ctx._cv_tokens:  # a stream held the context
            await finish(app, ctx, sys.exception())
        end_body(ctx)


async def serve_request(
    app: Any, driver: Driver, scope: Scope, receive: Receive, send: Send
) -> tuple[Message, bytes] | None:
    """`serve_http`, for a request of any app. Gives the response, if it is there as a whole."""
    if "asyncflask.environ" in scope:
        ctx = _context_of_environ(app, driver, scope, receive)
    else:
        ctx = make_context(app, driver, scope, receive)
    await serve_http(app, ctx, send)
    whole: tuple[Message, bytes] | None = ctx._whole
    return whole


async def serve_by_wsgi(
    app: Any, driver: Driver, scope: Scope, receive: Receive, send: Send
) -> None:
    """Have WSGI middleware answer, round the app."""
    body = Body(scope, driver.outside(receive))
    environ = environ_from_scope(scope, body)
    send = driver.outside(send)
    await serve(driver, app._wsgi_middleware(), environ, send, body, app._conversations)


async def serve_websocket(
    app: Any, driver: Driver, scope: Scope, receive: Receive, send: Send
) -> None:
    """Hold one WebSocket conversation."""
    sock = EnvironSocket(driver.loop)
    scope["asyncflask.handshake"] = handshake_environ(scope, sock)
    ctx = make_context(app, driver, scope, receive)
    look_at(app, ctx)
    websocket = WebSocket(scope, receive, send, driver, partial(accept_headers, app, ctx))
    sock.websocket = websocket
    websocket.json_module = app.json
    ctx.websocket = websocket
    response: Any = None
    start: Message | None = None
    error: BaseException | None = None
    conversations: Conversations = app._conversations

    def told() -> None:
        conversations.lingering.add(websocket)
        websocket.start_closing(SERVICE_RESTART)

    conversation = Conversation(conversations, websocket.gone, told, watched=False)
    websocket.watch = conversation.watch
    try:
        async with conversation:
            try:
                await ctx._push(driver.call, app.app_context())
                websocket.configure(websocket_options(app, ctx))
                if may_open(app, ctx):
                    response = await ctx._steps.full_dispatch_request(app, ctx, driver.call)
                    error = ctx._error
                else:
                    response = Forbidden("This page may not open a WebSocket here.").get_response()
                if response is not None:
                    start = response_start(response, ctx.request)
            except Exception as exc:
                error = exc
                response, start = await respond_to_error(app, ctx, driver.call, exc)
            finally:
                await driver.to_loop()
    except BaseException as exc:
        error = exc
        raise
    finally:
        conversations.lingering.add(websocket)
        try:
            await driver.to_loop()
            if conversation.ended == "shutdown":
                websocket.abort()
            if start is not None and not websocket.accepted and not websocket.closed:
                await deny(websocket, ctx, driver, response, start)
            elif websocket.accepted or not isinstance(error, Exception):
                await websocket._close(NORMAL if error is None else INTERNAL_ERROR)
            await save_late_session(app, ctx)
        finally:
            websocket.linger(partial(conversations.lingering.discard, websocket))
            if ctx._cv_tokens:
                await finish(app, ctx, error)
            await driver.to_loop()


def may_open(app: Any, ctx: RequestContext) -> bool:
    """Whether the page that opens a WebSocket may. Not a step: nothing can leave it out."""
    allowed = getattr(ctx.request.url_rule, "allowed_origins", None)
    if allowed is None:
        allowed = app.config["WEBSOCKET_ALLOWED_ORIGINS"]
    if origin_allowed(ctx.request.scope, allowed):
        return True
    origin = ctx.request.headers.get("Origin")
    app.logger.debug(
        "A WebSocket was refused to a page of %r, which is neither the app's own Origin nor in"
        " WEBSOCKET_ALLOWED_ORIGINS or the route's 'allowed_origins'.",
        origin,
    )
    return False


def websocket_options(app: Any, ctx: RequestContext) -> WebSocketOptions:
    """What the app's config says, and the route."""
    given = getattr(ctx.request.url_rule, "websocket_options", {})
    values = {
        name: given[name] if name in given else app.config[f"WEBSOCKET_{name.upper()}"]
        for name in WebSocketOptions.__slots__
    }
    return WebSocketOptions(**values)


async def deny(
    websocket: WebSocket, ctx: RequestContext, driver: Driver, response: Any, start: Message
) -> None:
    """Refuse a handshake with *response*, whole."""
    try:
        content = content_of(response, ctx.request)
        if isinstance(content, AsyncIterable):
            content = b"".join([chunk async for chunk in content])
        elif not isinstance(content, bytes):
            content = await driver.call(b"".join, content)
        await driver.to_loop()
        await websocket.deny(start, content)
    finally:
        await close(response, driver)


# -- arrival ----------------------------------------------------------------------------------


def make_context(app: Any, driver: Driver, scope: Scope, receive: Receive) -> RequestContext:
    """The context of what arrived; not pushed yet."""
    ctx: RequestContext = app._request_context_class(app, None)
    headers = scope["headers"]
    by_name = dict(headers)
    ctx._scope = scope
    ctx._receive = receive
    ctx._lines = by_name if len(by_name) == len(headers) else None
    ctx.driver = driver
    ctx._outer = driver.outer
    return ctx


async def arrive(app: Any, ctx: RequestContext, call: Call) -> None:
    """Push the contexts, unless they are, and find the rule."""
    scope, lines = ctx._scope, ctx._lines
    if "asyncflask.environ" in scope:
        await ctx._push(call)
    elif ctx._cv_tokens:
        ctx._find_rule()
    else:
        look_at(app, ctx)
        if appcontext_pushed.receivers or (
            type(app.session_interface) is not SecureCookieSessionInterface
        ):
            await ctx._push(call, app.app_context())
        else:
            ctx._enter(app.app_context())
    if (
        scope["method"] != "GET"
        or lines is None
        or b"content-length" in lines
        or b"transfer-encoding" in lines
    ):
        expect_body(ctx)


def look_at(app: Any, ctx: RequestContext) -> None:
    """Note what is wrong with what arrived, if anything."""
    lines = ctx._lines
    if lines is None or lines.get(b"host") not in good_hosts:
        _note_problem(ctx, ctx._scope)
    if not app.request_class._lazy:
        ctx.request  # noqa: B018


def _context_of_environ(
    app: Any, driver: Driver, scope: Scope, receive: Receive
) -> RequestContext:
    environ = scope["asyncflask.environ"]
    body = Body(scope, driver.outside(receive))
    update_environ(environ, scope, body)
    request = app.request_class(environ)
    request._scope, request._body = scope, body
    environ["wsgi.input"] = body.file()
    environ["wsgi.input_terminated"] = True
    request.json_module = app.json
    ctx: RequestContext = app._request_context_class(app, None, request)
    ctx._scope = scope
    ctx.driver = driver
    _note_problem(ctx, scope)
    return ctx


def _note_problem(ctx: RequestContext, scope: Scope) -> None:
    if (problem := malformed(scope)) is not None:
        ctx.request.routing_exception = BadRequest(problem)


async def keep_for_test_client(ctx: RequestContext, environ: Any, body: Body) -> None:
    """Hand the contexts to a test client that asked for them; it pushes them again. What the
    view did not read of the body, the test still may."""
    keep = environ and environ.get("werkzeug.debug.preserve_context")
    if keep and ctx._cv_tokens and ctx.driver is not None:
        await ctx.driver.to_loop()
        await body.keep(ctx.driver)
        keep(_cv_app.get())
        keep(ctx)


def expect_body(ctx: RequestContext) -> None:
    """Have the body received, if there is one, before the first asynchronous function."""
    if body_to_come(ctx):
        driver = ctx.driver
        assert driver is not None
        driver.prepare = partial(receive_body, ctx)


def body_to_come(ctx: RequestContext) -> bool:
    """Whether there is a body that has not been received."""
    request, lines = ctx.request, ctx._lines
    if lines is not None and not request._used and b"content-length" in lines:
        return lines[b"content-length"] != b"0"
    return request._has_body and not request._body.complete


def receive_body(ctx: RequestContext) -> Awaitable[None] | None:
    """Have the body there before asynchronous code runs, which could not wait when it reads.
    Gives what is left to be awaited, unless all of it has come with the first message."""
    request = ctx.request
    if getattr(request.url_rule, "stream", False):
        return None
    limit = request.max_content_length
    if (
        not request._used
        and request._outer is not None
        and (limit is None or announced(ctx._scope, ctx._lines)[0] <= limit)
    ):
        # As `Body.begin`; most often there need be no `Body` then.
        context = request._outer.copy()
        coro = context.run(request._receive)
        if type(coro) is not CoroutineType:
            coro = as_coroutine(coro)
        try:
            yielded = context.run(coro.send, None)
        except StopIteration as stop:
            message = stop.value
            content = message.get("body")
            if (
                type(content) is bytes
                and not message.get("more_body")
                and content
                and (limit is None or len(content) <= limit)
            ):
                request._content = content
                return None
            body = request._body
            body.take(message)
            rest = None
        else:
            body = request._body
            rest = body.received_from(rest_of(coro, context, yielded))
        body.limit(limit)
    else:
        body = request._body
        body.limit(limit)
        rest = None if body.complete else body.begin()
    if rest is None and body.complete:
        if body.error is not None:
            raise body.error
        return None
    return _receive_rest(ctx, body, rest)


async def _receive_rest(ctx: RequestContext, body: Body, rest: Awaitable[None] | None) -> None:
    """A large form is parsed as it arrives, on the request's thread: its files go to disk."""
    if rest is not None:
        await rest
    await body.receive_ahead()
    if body.complete:
        return
    request, driver = ctx.request, ctx.driver
    assert driver is not None
    if request.mimetype in ("multipart/form-data", "application/x-www-form-urlencoded"):
        await driver.run_sync(request._load_form_data)
    else:
        await body.spool(driver)


def no_more_body(ctx: RequestContext) -> None:
    """What the view did not read is not received for the asynchronous hooks after it: it may be
    too large, or never come."""
    if ctx._driver is not None:
        ctx._driver.prepare = None


# -- the pipeline's steps ---------------------------------------------------------------------


async def full_dispatch_request(app: Any, ctx: RequestContext, call: Call) -> Any:
    """Hooks, view, error handlers: gives the response; for a WebSocket that was accepted
    `None`."""
    rv = await answer(app, ctx, call)
    websocket = ctx.websocket
    if websocket is not None and (rv is None or websocket.accepted or websocket.closed):
        return None
    return await ctx._steps.finalize_request(app, ctx, call, rv)


async def answer(app: Any, ctx: RequestContext, call: Call) -> Any:
    """What hooks, view or error handlers gave."""
    if not app._got_first_request:
        app._got_first_request = True
    websocket, own = ctx.websocket, ctx._own
    rv: Any = None
    try:
        if request_started.receivers:
            await emit(request_started, app, call)
        if app.before_request_funcs or app.url_value_preprocessors or not own:
            rv = await ctx._steps.preprocess_request(app, ctx, call)
        if rv is None:
            step = (dispatch_request if own else ctx._steps.dispatch_request)(app, ctx, call)
            rv = await (step if websocket is None else converse(ctx, call, step))
    except Exception as exc:
        if websocket is not None:
            if websocket.is_own_end(exc):
                return None
            ctx._error = exc
        return await answer_to_error(app, ctx, call, exc)
    no_more_body(ctx)
    return rv


async def answer_to_error(app: Any, ctx: RequestContext, call: Call, error: Exception) -> Any:
    """What an error handler gave for what a hook or the view raised."""
    no_more_body(ctx)
    return await ctx._steps.handle_user_exception(app, ctx, call, error)


def is_seen(app: Any, ctx: RequestContext) -> bool:
    """Whether anything is to see the response before it is sent."""
    return bool(
        app.after_request_funcs
        or ctx._after_request_functions
        or request_finished.receivers
        or app.response_class is not Response
        or has_session(app, ctx)
    )


def content_alone(app: Any, rv: Any) -> tuple[str | None, bytes] | None:
    """The mimetype and content of *rv*, if its response would have no headers but its own."""
    kind = type(rv)
    if kind is str:
        return Response.default_mimetype, rv.encode()
    provider = app.json
    if (kind is dict or kind is list) and (
        getattr(provider.response, "__func__", None) is DefaultJSONProvider.response
    ):
        text = provider._text(provider._prepare_response_obj((rv,), {}))
        return provider.mimetype, text.encode()
    return None


async def preprocess_request(app: Any, ctx: RequestContext, call: Call) -> Any:
    """Run the URL value preprocessors, then the `before_request` functions until one gives a
    value."""
    request = ctx.request
    preprocessors, hooks = app.url_value_preprocessors, app.before_request_funcs
    names = (None, *reversed(request.blueprints))
    if preprocessors:
        for name in names:
            if name in preprocessors:
                for func in preprocessors[name]:
                    await call(func, request.endpoint, request.view_args)
    if hooks:
        for name in names:
            if name in hooks:
                for func in hooks[name]:
                    rv = await call(func)
                    if rv is not None:
                        return rv
    return None


def dispatch_request(app: Any, ctx: RequestContext, call: Call) -> Awaitable[Any]:
    """Call the view of the matched rule. Raises the routing exception if there is none."""
    found = ctx._found
    if found is None:
        request = ctx.request
        if request.routing_exception is not None:
            app.raise_routing_exception(request)
        found = request.url_rule, request.view_args or {}
        method = request.method
    else:
        method = ctx._scope["method"]
    rule, values = found
    if method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
        return call_here(app.make_default_options_response)
    view = app.view_functions[rule.endpoint]
    if ctx.websocket is not None:
        if call is not call_here and is_async(view) and ctx.driver is not None:
            return _call_in_task(ctx.driver, view, values)
        return call(view, **values)
    cancel = getattr(rule, "cancel_on_disconnect", None)
    if cancel is None:
        cancel = app.config["CANCEL_ON_DISCONNECT"]
    if cancel and call is not call_here and ctx.driver is not None:
        return _call_until_disconnect(ctx, ctx.driver, view, values)
    return call(view, **values) if values else call(view)


async def _call_in_task(driver: Driver, view: Any, values: dict[str, Any]) -> Any:
    # Each message wakes the handler of a WebSocket alone, not all that called it.
    await driver.ready_for_async()
    return await driver.task(view(**values))


async def _call_until_disconnect(
    ctx: RequestContext, driver: Driver, view: Any, values: dict[str, Any]
) -> Any:
    # Not among the app's conversations: a request that is being answered outlives a shutdown.
    await driver.ready_for_async()
    async with Conversation(Conversations(), ctx.request._body.gone):
        try:
            return await driver.call(view, **values)
        finally:
            await driver.to_loop()
    raise ClientDisconnected()


async def converse(ctx: RequestContext, call: Call, step: Awaitable[Any]) -> Any:
    """The value of a WebSocket's handler: a response that refuses the connection. One that used
    the socket of the environ has answered by that, whatever it returns."""
    sock: EnvironSocket = ctx.websocket.scope["asyncflask.handshake"]["werkzeug.socket"]
    try:
        rv = await step
    finally:
        answered = await call(sock.end)
    if answered:
        return None
    ctx.websocket.check_returned(rv, ctx.request.endpoint)
    return rv


async def handle_http_exception(
    app: Any, ctx: RequestContext, call: Call, error: HTTPException
) -> Any:
    """What the handler for *error* gives; without one the error, which is a response too."""
    if error.code is None or isinstance(error, RoutingException):
        return error
    handler = app._find_error_handler(error, ctx.request.blueprints)
    return error if handler is None else await call(handler, error)


async def handle_user_exception(
    app: Any, ctx: RequestContext, call: Call, error: Exception
) -> Any:
    """What the handler for *error* gives; without one it is raised again."""
    if isinstance(error, BadRequestKeyError) and (
        app.debug or app.config["TRAP_BAD_REQUEST_ERRORS"]
    ):
        error.show_exception = True
    if isinstance(error, HTTPException) and not app.trap_http_exception(error):
        return await ctx._steps.handle_http_exception(app, ctx, call, error)
    handler = app._find_error_handler(error, ctx.request.blueprints)
    if handler is None:
        raise error
    return await call(handler, error)


async def finalize_request(
    app: Any, ctx: RequestContext, call: Call, rv: Any, from_error_handler: bool = False
) -> Any:
    """Make the response of what a view or a handler gave, and run the hooks on it."""
    if ctx._steps is not OWN and app._is_replaced("make_response"):
        response = await call(app.make_response, rv)
    elif callable(rv) and not isinstance(rv, _RESPONSES) and not is_starlettes(rv):
        response = await call(make_response, app, ctx, rv)  # user code: a WSGI callable
    else:
        response = make_response(app, ctx, rv)
    try:
        if (
            ctx._after_request_functions
            or app.after_request_funcs
            or not ctx._own
            or has_session(app, ctx)
        ):
            response = await ctx._steps.process_response(app, ctx, call, response)
        if request_finished.receivers:
            await emit(request_finished, app, call, response=response)
    except Exception:
        if not from_error_handler:
            raise
        app.logger.exception("The response of an error handler could not be finalized.")
    return response


_RESPONSES = (BaseResponse, HTTPException)


async def process_response(app: Any, ctx: RequestContext, call: Call, response: Any) -> Any:
    """Run the `after_request` functions, and save the session."""
    for func in ctx._after_request_functions:
        response = await call(func, response)
    if hooks := app.after_request_funcs:
        for name in (*ctx.request.blueprints, None):
            if name in hooks:
                for func in reversed(hooks[name]):
                    response = await call(func, response)
    if ctx._opened_session is not None or has_session(app, ctx):
        await save_session(app, ctx, call, response)
    return response


async def handle_exception(app: Any, ctx: RequestContext, call: Call, error: Exception) -> Any:
    """The response to an exception that nobody took: it is logged and becomes a 500, or it is
    raised if `PROPAGATE_EXCEPTIONS` (by default: in tests and in debug mode) says so."""
    exc_info = sys.exc_info()
    add_advice(error, ctx.request, ctx.websocket)
    if got_request_exception.receivers:
        await emit(got_request_exception, app, call, exception=error)
    propagate = app.config["PROPAGATE_EXCEPTIONS"]
    if propagate is None:
        propagate = app.testing or app.debug
    if propagate:
        raise error
    app.log_exception(exc_info)
    server_error: Any = InternalServerError(original_exception=error)
    handler = app._find_error_handler(server_error, ctx.request.blueprints)
    if handler is not None:
        server_error = await call(handler, server_error)
    return await ctx._steps.finalize_request(app, ctx, call, server_error, True)


async def do_teardown_request(
    app: Any, ctx: RequestContext, call: Call, error: BaseException | None
) -> None:
    """Run all `teardown_request` functions; what they raise is raised when all have run."""
    names = chain(ctx.request.blueprints, (None,))
    await run_all(
        app,
        call,
        (f for name in names for f in reversed(app.teardown_request_funcs.get(name, ()))),
        request_tearing_down,
        error,
    )


async def do_teardown_appcontext(
    app: Any, ctx: AppContext, call: Call, error: BaseException | None
) -> None:
    """Run all `teardown_appcontext` functions; what they raise is raised when all have run."""
    await run_all(
        app, call, reversed(app.teardown_appcontext_funcs), appcontext_tearing_down, error
    )


async def update_template_context(
    app: Any, ctx: RequestContext | None, call: Call, context: dict[str, Any]
) -> None:
    """Add to *context* what the context processors give; what is there already wins."""
    names: Iterable[str | None] = (None,)
    if ctx is not None and len(app.template_context_processors) > 1:  # not only the app's
        names = chain(names, reversed(ctx.request.blueprints))
    given = context.copy()
    for name in names:
        if name in app.template_context_processors:
            for func in app.template_context_processors[name]:
                context.update(await call(func))
    context.update(given)


class Steps(NamedTuple):
    """The steps that have a method of the same name on the app: these functions, or what calls
    the method that took their place."""

    full_dispatch_request: Step
    preprocess_request: Step
    dispatch_request: Step
    handle_http_exception: Step
    handle_user_exception: Step
    finalize_request: Step
    process_response: Step
    handle_exception: Step
    do_teardown_request: Step
    do_teardown_appcontext: Step
    update_template_context: Step


OWN = Steps(**{name: globals()[name] for name in Steps._fields})
"""What runs when no method was replaced: then a stage that has nothing to do is left out."""


# -- what the steps are made of ---------------------------------------------------------------


async def run_all(
    app: Any,
    call: Call,
    functions: Iterable[Callable[[BaseException | None], Any]],
    signal: Any,
    error: BaseException | None,
) -> None:
    """Call all of *functions* with *error*, and send *signal*. What they raise is collected and
    raised at the end, one alone as it is."""
    errors: list[BaseException] = []
    runs: list[Callable[[], Awaitable[Any]]] = [partial(call, f, error) for f in functions]
    if signal.receivers:
        runs.append(partial(emit, signal, app, call, exc=error))
    for run in runs:
        try:
            await run()
        except BaseException as exc:  # a cancellation too: the others still have to run
            errors.append(exc)
    for failure in errors:
        if len(errors) == 1 or not isinstance(failure, Exception):
            raise failure
    if errors:
        raise BaseExceptionGroup("Several teardown functions failed.", errors)


async def finish(app: Any, ctx: RequestContext, error: BaseException | None) -> None:
    """Tear the context down, once. A teardown function that fails is logged, or raised where
    exceptions propagate; it does not take the client's answer away."""
    if error is not None and app.should_ignore_error(error):
        error = None
    try:
        await ctx._pop(error, ctx._call)
    except Exception:
        propagate = app.config["PROPAGATE_EXCEPTIONS"]
        if propagate or (propagate is None and (app.testing or app.debug)):
            raise
        app.logger.exception("A teardown function failed.")


async def respond_to_error(
    app: Any, ctx: RequestContext, call: Call, error: Exception
) -> tuple[Any, Message]:
    """The response to *error*, and its start. A response that cannot be sent either, since a
    hook breaks every one, is replaced by a bare 500."""
    response = await ctx._steps.handle_exception(app, ctx, call, error)
    try:
        return response, response_start(response, ctx.request)
    except ValueError:
        app.logger.exception("The response to an exception cannot be sent.")
        response = InternalServerError().get_response()
        return response, response_start(response, ctx.request)


def make_response(app: Any, ctx: RequestContext | None, rv: Any) -> Any:
    """The response for the value *rv* of a view (Flask: `Flask.make_response`). Outside of a
    request too, unless something in it is needed."""
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
            raise TypeError(
                "The view function did not return a valid response tuple. The tuple"
                " must have the form (body, status, headers), (body, status) or (body, headers)."
            )
    if rv is None:
        raise TypeError(
            f"The view function for {(ctx or current_request_ctx()).request.endpoint!r} did not"
            " return a valid response. It returned None, or ended without a return statement."
        )
    response_class = app.response_class
    if not isinstance(rv, response_class):
        if isinstance(rv, (str, bytes, bytearray)) or _is_stream(rv):
            rv = response_class(rv, status=status, headers=headers)
            status = headers = None
        elif isinstance(rv, (dict, list)):
            rv = app.json.response(rv)
        elif is_starlettes(rv):
            rv = from_starlette(response_class, rv)
        elif isinstance(rv, BaseResponse) or callable(rv):
            environ = (ctx or current_request_ctx()).request.environ
            if isinstance(rv, HTTPException):
                rv = rv.get_response(environ)
            try:
                rv = response_class.force_type(rv, environ)
            except TypeError as exc:
                raise TypeError(f"{exc}\n{_wrong_type(rv)}").with_traceback(
                    exc.__traceback__
                ) from None
        else:
            raise TypeError(_wrong_type(rv))
    if status is not None:
        if isinstance(status, (str, bytes, bytearray)):
            rv.status = status
        else:
            rv.status_code = status
    if headers:
        rv.headers.update(headers)
    return rv


def _is_stream(rv: Any) -> bool:
    return hasattr(rv, "__next__") or isinstance(rv, AsyncIterable)


def _wrong_type(rv: Any) -> str:
    return (
        "The view function did not return a valid response. The return type must be a string,"
        " dict, list, tuple with headers or status, Response instance, iterator, asynchronous"
        f" iterator, or WSGI callable, but it was a {type(rv).__name__}."
    )


def has_session(app: Any, ctx: RequestContext) -> bool:
    """Whether there is a session to save. One that nobody touched counts only if the client has
    sent it and its lifetime may have to be renewed."""
    if ctx._opened_session is not None:
        return True
    lines = ctx._lines
    if lines is not None and b"cookie" not in lines:
        return False
    cookies = ctx.request._header(b"cookie")
    return (
        cookies is not None
        and app._opens_session_lazily()
        and app.session_interface.get_cookie_name(app) in cookies
        and app.session_interface._may_renew(app, ctx.request)
    )


async def save_session(app: Any, ctx: RequestContext, call: Call, response: Any) -> None:
    """Put the session into *response*."""
    interface = app.session_interface
    if ctx._opened_session is None:
        await ctx._open_session(call_here)
    session = ctx._opened_session
    if interface.is_null_session(session):
        return
    if type(interface) is SecureCookieSessionInterface:
        interface.save_session(app, session, response)
    else:
        await call(interface.save_session, app, session, response)


async def accept_headers(app: Any, ctx: RequestContext) -> list[tuple[bytes, bytes]]:
    """The headers of a handshake's answer: the session's cookie."""
    response = app.response_class()
    driver = ctx.driver
    assert driver is not None
    if has_session(app, ctx):
        await save_session(app, ctx, _call_in_worker(driver), response)
    if ctx._opened_session is not None:
        ctx._opened_session.modified = False
    return [
        (name.lower().encode("ascii"), value.encode("latin-1"))
        for name, value in response.headers
        if name == "Set-Cookie"
    ]


def _call_in_worker(driver: Driver) -> Call:
    """`Driver.call` for code that is not the pipeline's own coroutine."""

    async def call(func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        value = await driver.run_sync(func, *args, **kwargs)
        return await value if hasattr(value, "__await__") else value

    return call


async def save_late_session(app: Any, ctx: RequestContext) -> None:
    """After a WebSocket: save what its handler changed in the session since it was accepted."""
    session = ctx._opened_session
    if session is None or app.session_interface.is_null_session(session):
        return
    if not session.modified or not ctx.websocket.accepted:
        return
    if app._opens_session_lazily():
        app.logger.warning(
            "The session was changed after a WebSocket was accepted; a cookie can be sent with"
            " the handshake only. Change it before 'websocket.accept()'."
        )
        return
    assert ctx.driver is not None
    response = app.response_class()
    await _call_in_worker(ctx.driver)(app.session_interface.save_session, app, session, response)


# -- the answer -------------------------------------------------------------------------------


def response_start(response: Any, request: Request) -> Message:
    """The message that begins *response*, checked: a bad header raises `ValueError` here, where
    it can still become a 500."""
    status = response.status_code
    if (
        200 <= status < 600
        and status not in _WITHOUT_BODY
        and type(response).get_wsgi_headers is BaseResponse.get_wsgi_headers
    ):
        if "headers" not in response.__dict__:
            lines = plain_lines(*response._plain)
            return checked_start_message(status, lines, response.status)
        headers = response.headers
        # Without a copy of all headers, where that would change nothing in them.
        if isinstance(headers, Headers) and not 300 <= status < 400:
            try:
                lines, by_name = encode_and_name(status, headers)
            except ValueError:
                pass  # unless the copy is better
            else:
                if b"content-length" in by_name and _CORRECTED.isdisjoint(by_name):
                    message = checked_start_message(status, lines, response.status)
                    message["asyncflask.headers"] = headers
                    return message
    environ = request.environ if response.autocorrect_location_header else {}
    return start_message(status, response.get_wsgi_headers(environ), response.status)


_WITHOUT_BODY = frozenset({204, 304})
_CORRECTED = frozenset({b"location", b"content-location"})


def whole_content(ctx: RequestContext, response: Any) -> bytes | None:
    """The content of *response*, if it is there as a whole and nothing is left to be done."""
    if (
        not isinstance(response.response, (list, tuple))
        or response.direct_passthrough
        or ctx._holds
        or ctx._background
        or response._on_close
        or getattr(response, "background", None) is not None
        or getattr(response, "asgi_response", None) is not None
        or response.status_code == 413  # may end the connection: see `send_response`
    ):
        return None
    content: Any = content_of(response, ctx.request)
    return content  # type: ignore[no-any-return]


def content_of(response: Any, request: Request) -> bytes | Iterable[bytes] | AsyncIterable[bytes]:
    """What to send of *response*: nothing for HEAD and for statuses that have no body (RFC 9110
    section 6.4.1)."""
    status = response.status_code
    if request.method == "HEAD" or status < 200 or status in _WITHOUT_BODY:
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
    app: Any,
    ctx: RequestContext,
    driver: Driver,
    body: Body,
    send: Send,
    response: Any,
    start: Message,
) -> None:
    """Send *response*; a Starlette response sends itself, with the headers as they are now."""
    source = getattr(response, "asgi_response", None)
    if source is None:
        content = content_of(response, ctx.request)
        if not isinstance(content, bytes) and isinstance(content, PlainEvents | AsyncEvents):
            options = content.options
            await send_events(driver, send, body, app._conversations, start, content, options)
        else:
            if isinstance(content, AsyncBody):
                content = content.chunks()
            await send_response(driver, send, body, app._conversations, start, content)
        return
    now = {(k.title().encode("latin-1"), v.encode("latin-1")) for k, v in response.headers}
    before = {(k.encode("latin-1"), v.encode("latin-1")) for k, v in response.asgi_headers}
    changed = {name.lower() for name, _ in now ^ before}
    ours = [(name.lower(), value) for name, value in now if name.lower() in changed]

    async def send_changed(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [line for line in message["headers"] if line[0].lower() not in changed]
            message = {**message, "headers": [*kept, *ours]}
            if response.status_code != source.status_code:
                message["status"] = response.status_code
        elif ctx.request.method == "HEAD" and "body" in message:
            message = {**message, "body": b""}
        await send(message)

    await driver.to_loop()
    async with Conversation(app._conversations, body.gone):
        await source(ctx.request.scope, body.as_receive, send_changed)


def end_body(ctx: RequestContext) -> None:
    """Free what the request's body holds."""
    if ctx._made and ctx.request._used and ctx.request._body is not None:
        ctx.request._body.end()


async def close(response: Any, driver: Driver) -> None:
    """Close what *response* was made of, on the side that ran it."""
    content = response.response
    if isinstance(content, AsyncBody):
        await driver.to_loop()
        await content.aclose()
        for func in response._on_close:
            await driver.call(func)
    elif response._on_close or hasattr(content, "close"):
        await driver.call(response.close)
    await driver.to_loop()
