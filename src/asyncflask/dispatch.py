"""A request, from its arrival to its end: the steps, in the order in which they happen.

`serve_http` and `serve_websocket` are the two flows; both go through the same steps. Each step
is written once, as a coroutine function, and reaches user code through `call` alone (see
`asgi/threads.py`). The public methods of `Flask` with the steps' names run them for plain code;
a method that an extension or a subclass replaced is called in the step's place.
"""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from starlette.responses import Response as StarletteResponse
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect
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
    checked_start_message,
    malformed,
    send_response,
    start_message,
)
from .asgi.threads import Call, Driver, call_here, is_async
from .asgi.websocket import (
    INTERNAL_ERROR,
    NORMAL,
    SERVICE_RESTART,
    WebSocket,
    WebSocketOptions,
    origin_allowed,
)
from .asgi.wsgi import READ_BYTES, update_environ
from .ctx import AppContext, RequestContext, _cv_app, current_request_ctx
from .debughelpers import add_advice
from .events import AsyncEvents, PlainEvents
from .signals import (
    appcontext_pushed,
    appcontext_tearing_down,
    emit,
    got_request_exception,
    request_finished,
    request_started,
    request_tearing_down,
)
from .wrappers import AsyncBody, Request, from_starlette

Step = Callable[..., Coroutine[Any, Any, Any]]

# -- the two flows ----------------------------------------------------------------------------


async def serve_http(
    app: Any, driver: Driver, scope: Scope, receive: Receive, send: Send
) -> tuple[Message, Message] | None:
    """Answer one request. A response that is there as a whole is given back, all else done: it
    is for the caller to send, in the context of the server."""
    ctx = make_context(app, driver, scope, receive)
    request, call = ctx.request, driver.call
    environ = scope.get("asyncflask.environ")
    error: BaseException | None = None
    try:
        try:
            if environ is not None:
                await ctx._push(call)
            elif appcontext_pushed.receivers or not app._opens_session_lazily():
                await ctx._push(call, app.app_context())
            else:
                ctx._enter(app.app_context())
            if request._has_body and not request._body.complete:
                driver.prepare = partial(receive_body, ctx, request._body)
            response = await ctx._steps.full_dispatch_request(app, ctx, call)
            start = response_start(response, request)
        except Exception as exc:
            error = exc
            response, start = await respond_to_error(app, ctx, call, exc)
        except BaseException as exc:
            error = exc
            raise
        finally:
            if not ctx._holds:
                if environ is not None:
                    await keep_for_test_client(ctx, environ, request._body)
                if ctx._cv_tokens and not ctx._leave():
                    await finish(app, ctx, driver, error)
        if (whole := whole_content(ctx, response)) is not None:
            return start, {"type": "http.response.body", "body": whole}
        send = driver.outside(send)
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
            await finish(app, ctx, driver, sys.exception())
        if "_body" in request.__dict__:
            request._body.end()
    return None


async def serve_websocket(
    app: Any, driver: Driver, scope: Scope, receive: Receive, send: Send
) -> None:
    """Hold one WebSocket conversation."""
    sock = EnvironSocket(driver.loop)
    scope["asyncflask.handshake"] = handshake_environ(scope, sock)
    ctx = make_context(app, driver, scope, receive)
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

    conversation = Conversation(conversations, websocket.gone, told)
    websocket.give_up = partial(conversation.end, "left")
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
                await finish(app, ctx, driver, error)
            await driver.to_loop()


def may_open(app: Any, ctx: RequestContext) -> bool:
    """Whether the page that opens a WebSocket may. Not a step: nothing can leave it out."""
    allowed = getattr(ctx.request.url_rule, "allowed_origins", None)
    if allowed is None:
        allowed = app.config["WEBSOCKET_ALLOWED_ORIGINS"]
    return origin_allowed(ctx.request.scope, allowed)


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
    environ = scope.get("asyncflask.environ")
    request: Request
    if environ is None:
        request = app.request_class.from_scope(scope, receive, driver)
    else:
        body = Body(scope, driver.outside(receive))
        update_environ(environ, scope, body)
        request = app.request_class(environ)
        request._scope, request._body = scope, body
        environ["wsgi.input"] = io.BufferedReader(body, READ_BYTES)
        environ["wsgi.input_terminated"] = True
    if (problem := malformed(scope, request._lines)) is not None:
        request.routing_exception = BadRequest(problem)
    request.json_module = app.json
    ctx: RequestContext = app._request_context_class(app, None, request)
    ctx.driver = driver
    return ctx


async def keep_for_test_client(ctx: RequestContext, environ: Any, body: Body) -> None:
    """Hand the contexts to a test client that asked for them; it pushes them again. What the
    view did not read of the body, the test still may."""
    keep = environ and environ.get("werkzeug.debug.preserve_context")
    if keep and ctx._cv_tokens and ctx.driver is not None:
        await ctx.driver.to_loop()
        await body.keep(ctx.driver)
        keep(_cv_app.get())
        keep(ctx)


async def receive_body(ctx: RequestContext, body: Body) -> None:
    """Have the body there before asynchronous code runs, which could not wait when it reads.
    A large form is parsed as it arrives, on the request's thread: its files go to disk."""
    request, driver = ctx.request, ctx.driver
    if driver is None or getattr(request.url_rule, "stream", False):
        return
    body.limit(request.max_content_length)
    form = request.mimetype in ("multipart/form-data", "application/x-www-form-urlencoded")
    await body.receive_ahead(spool=not form, driver=driver)
    if form and not body.complete:
        await driver.run_sync(request._load_form_data)


def no_more_body(ctx: RequestContext) -> None:
    """What the view did not read is not received for the asynchronous hooks after it: it may be
    too large, or never come."""
    if ctx.driver is not None:
        ctx.driver.prepare = None


# -- the pipeline's steps ---------------------------------------------------------------------


async def full_dispatch_request(app: Any, ctx: RequestContext, call: Call) -> Any:
    """Hooks, view, error handlers: gives the response; for a WebSocket that was accepted
    `None`."""
    if not app._got_first_request:
        app._got_first_request = True
    websocket, steps = ctx.websocket, ctx._steps
    rv: Any = None
    try:
        if request_started.receivers:
            await emit(request_started, app, call)
        if app.before_request_funcs or app.url_value_preprocessors or steps is not OWN:
            rv = await steps.preprocess_request(app, ctx, call)
        if rv is None:
            step = steps.dispatch_request(app, ctx, call)
            rv = await (step if websocket is None else converse(ctx, call, step))
    except Exception as exc:
        if websocket is not None:
            if isinstance(exc, WebSocketDisconnect) and websocket.closed:
                return None  # its own end; that of another connection is an error here
            ctx._error = exc
        no_more_body(ctx)
        rv = await steps.handle_user_exception(app, ctx, call, exc)
    if websocket is not None and (rv is None or websocket.accepted or websocket.closed):
        return None
    no_more_body(ctx)
    return await steps.finalize_request(app, ctx, call, rv)


async def preprocess_request(app: Any, ctx: RequestContext, call: Call) -> Any:
    """Run the URL value preprocessors, then the `before_request` functions until one gives a
    value."""
    request = ctx.request
    names = (None, *reversed(request.blueprints))
    for name in names:
        if name in app.url_value_preprocessors:
            for func in app.url_value_preprocessors[name]:
                await call(func, request.endpoint, request.view_args)
    for name in names:
        if name in app.before_request_funcs:
            for func in app.before_request_funcs[name]:
                rv = await call(func)
                if rv is not None:
                    return rv
    return None


async def dispatch_request(app: Any, ctx: RequestContext, call: Call) -> Any:
    """Call the view of the matched rule. Raises the routing exception if there is none."""
    request = ctx.request
    if request.routing_exception is not None:
        app.raise_routing_exception(request)
    rule: Any = request.url_rule
    if request.method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
        return app.make_default_options_response()
    view = app.view_functions[rule.endpoint]
    if ctx.websocket is not None and call is not call_here and is_async(view):
        # In a task of its own each message wakes the handler alone, not all that called it.
        driver = ctx.driver
        assert driver is not None
        await driver.ready_for_async()
        return await driver.task(view(**request.view_args))
    cancel = getattr(rule, "cancel_on_disconnect", None)
    if cancel is None:
        cancel = app.config["CANCEL_ON_DISCONNECT"]
    if not cancel or ctx.websocket is not None or ctx.driver is None:
        return await call(view, **request.view_args)
    # Not among the app's conversations: a request that is being answered outlives a shutdown.
    await ctx.driver.ready_for_async()
    async with Conversation(Conversations(), request._body.gone):
        try:
            return await call(view, **request.view_args)
        finally:
            await ctx.driver.to_loop()
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
    if rv is not None and ctx.websocket.accepted:
        raise TypeError(
            f"The WebSocket handler for {ctx.request.endpoint!r} returned a value after"
            " the handshake. Send it with 'websocket.send(...)'; a response is only for"
            " refusing the connection, before 'websocket.accept()'."
        )
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
    elif callable(rv) and not isinstance(rv, _RESPONSES):
        response = await call(make_response, app, ctx, rv)  # user code: a WSGI callable
    else:
        response = make_response(app, ctx, rv)
    try:
        if ctx._after_request_functions or app.after_request_funcs or ctx._steps is not OWN:
            response = await ctx._steps.process_response(app, ctx, call, response)
        elif has_session(app, ctx):
            await save_session(app, ctx, call, response)
        if request_finished.receivers:
            await emit(request_finished, app, call, response=response)
    except Exception:
        if not from_error_handler:
            raise
        app.logger.exception("The response of an error handler could not be finalized.")
    return response


_RESPONSES = (BaseResponse, StarletteResponse, HTTPException)


async def process_response(app: Any, ctx: RequestContext, call: Call, response: Any) -> Any:
    """Run the `after_request` functions, and save the session."""
    for func in ctx._after_request_functions:
        response = await call(func, response)
    if app.after_request_funcs:
        for name in chain(ctx.request.blueprints, (None,)):
            if name in app.after_request_funcs:
                for func in reversed(app.after_request_funcs[name]):
                    response = await call(func, response)
    if has_session(app, ctx):
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
    if ctx is not None:
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
    sends = [partial(emit, signal, app, call, exc=error)] if signal.receivers else []
    for run in chain((partial(call, func, error) for func in functions), sends):
        try:
            await run()
        except BaseException as exc:  # a cancellation too: the others still have to run
            errors.append(exc)
    for failure in errors:
        if len(errors) == 1 or not isinstance(failure, Exception):
            raise failure
    if errors:
        raise BaseExceptionGroup("Several teardown functions failed.", errors)


async def finish(
    app: Any, ctx: RequestContext, driver: Driver, error: BaseException | None
) -> None:
    """Tear the context down, once. A teardown function that fails is logged, or raised where
    exceptions propagate; it does not take the client's answer away."""
    if error is not None and app.should_ignore_error(error):
        error = None
    try:
        await ctx._pop(error, driver.call)
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
    if type(rv) is str or type(rv) is bytes:
        return app.response_class(rv)
    status = headers = None
    if isinstance(rv, tuple):
        if len(rv) == 3:
            rv, status, headers = rv
        elif len(rv) == 2:
            if isinstance(rv[1], Headers | dict | tuple | list):
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
        if isinstance(rv, str | bytes | bytearray) or _is_stream(rv):
            rv = response_class(rv, status=status, headers=headers)
            status = headers = None
        elif isinstance(rv, dict | list):
            rv = app.json.response(rv)
        elif isinstance(rv, StarletteResponse):
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
        if isinstance(status, str | bytes | bytearray):
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
    sent it: its lifetime may have to be renewed."""
    if ctx._opened_session is not None:
        return True
    cookies = ctx.request._header(b"cookie")
    return (
        cookies is not None
        and app._opens_session_lazily()
        and app.session_interface.get_cookie_name(app) in cookies
    )


async def save_session(app: Any, ctx: RequestContext, call: Call, response: Any) -> None:
    """Put the session into *response*."""
    interface = app.session_interface
    if ctx._opened_session is None:
        await ctx._open_session(call_here)
    if interface.is_null_session(ctx._opened_session):
        return
    if app._opens_session_lazily():
        interface.save_session(app, ctx._opened_session, response)
    else:
        await call(interface.save_session, app, ctx._opened_session, response)


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
        "headers" not in response.__dict__
        and 200 <= status < 300
        and status != 204
        and type(response).get_wsgi_headers is BaseResponse.get_wsgi_headers
    ):
        return checked_start_message(status, response._first_lines(), response.status)
    return start_message(status, header_lines(response, request), response.status)


_REWRITTEN = frozenset({"location", "content-location"})


def header_lines(response: Any, request: Request) -> Iterable[tuple[str, str]]:
    """What *response* gives by `get_wsgi_headers`, without its copy of all headers where it
    would change nothing in them."""
    status = response.status_code
    if (
        type(response).get_wsgi_headers is BaseResponse.get_wsgi_headers
        and status >= 200
        and status not in (204, 304)
    ):
        headers = response.headers
        if isinstance(headers, Headers):  # a view may have put a dict there
            names = {name.lower() for name, _ in headers}
            if "content-length" in names and names.isdisjoint(_REWRITTEN):
                return headers
    environ = request.environ if response.autocorrect_location_header else {}
    return response.get_wsgi_headers(environ)  # type: ignore[no-any-return]


def whole_content(ctx: RequestContext, response: Any) -> bytes | None:
    """The content of *response*, if it is there as a whole and nothing is left to be done."""
    content = response.response
    status = response.status_code
    if (
        not isinstance(content, list | tuple)
        or ctx._holds
        or ctx._background
        or response._on_close
        or getattr(response, "background", None) is not None
        or getattr(response, "asgi_response", None) is not None
        or status == 413  # may end the connection: see `send_response`
    ):
        return None
    if ctx.request.method == "HEAD" or status < 200 or status in (204, 304):
        return b""
    if (
        len(content) == 1
        and isinstance(content[0], bytes)
        and type(response).iter_encoded is BaseResponse.iter_encoded
    ):
        return content[0]
    return b"".join(response.iter_encoded())


def content_of(response: Any, request: Request) -> bytes | Iterable[bytes] | AsyncIterable[bytes]:
    """What to send of *response*: nothing for HEAD and for statuses that have no body (RFC 9110
    section 6.4.1)."""
    status = response.status_code
    if request.method == "HEAD" or status < 200 or status in (204, 304):
        return b""
    content = response.response
    if isinstance(content, AsyncBody):
        return content
    if response.direct_passthrough:
        return content  # type: ignore[no-any-return]
    if isinstance(content, list | tuple):
        return b"".join(response.iter_encoded())
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
