"""A request, from its arrival to its end: the steps, in the order in which they happen.

`serve_http` is the one flow of HTTP; a WebSocket (`converse.py`) goes through the same steps. What
is to be called in each step is in the request's `Plan`. Each step is written once, as a coroutine
function, and reaches user code through `call` alone (see `asgi/threads.py`), so that the public
methods of `Flask` with the steps' names can run them for sync code.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from starlette.types import Message, Send
from werkzeug.exceptions import (
    BadRequest,
    BadRequestKeyError,
    ClientDisconnected,
    HTTPException,
    InternalServerError,
    ServiceUnavailable,
)
from werkzeug.routing import RoutingException
from werkzeug.wrappers import Response as BaseResponse

from .asgi.conversation import Conversation, Conversations
from .asgi.environ_socket import EnvironSocket
from .asgi.http import Body, good_hosts, malformed
from .asgi.threads import Call, NoThread, call_here, is_async
from .asgi.wsgi import Origin, environ_from_scope, serve
from .bodies import end_body, expect_body, no_more_body
from .contexts import AppContext, RequestContext, _cv_app, tear_down
from .debughelpers import add_advice
from .plan import METHODS, Plan
from .respond import (
    Content,
    close,
    content_alone,
    make_response,
    method_of,
    plain_start,
    response_start,
    send_content,
    whole_content,
)
from .routing import Match
from .sessions import may_renew
from .signals import (
    appcontext_pushed,
    emit,
    got_request_exception,
    request_finished,
    request_started,
)
from .wrappers import Response, is_starlettes

if TYPE_CHECKING:
    from .app import Flask

Step = Callable[..., Awaitable[Any]]
Flow = Callable[["Flask", RequestContext, Send], Coroutine[Any, Any, None]]

# -- the flow ---------------------------------------------------------------------------------


async def serve_http(app: Flask, ctx: RequestContext, send: Send) -> None:
    """Answer one request. A response that is there as a whole is left in `ctx._whole`, all else
    done: it is for the caller to send, in the context of the server."""
    call = ctx._call
    error: BaseException | None = None
    content: Content | None = None
    response: Any = None
    unsent: Message | None = None
    held = False
    try:
        try:
            plan = enter(app, ctx) or await arrive(app, ctx, call)
            if plan.full_dispatch is None:
                rv = await answer(app, ctx, call, plan)
                plan = ctx._plan()  # the view may have registered functions
                if plan.bare and not is_seen(app, ctx):
                    content = content_alone(app, rv)
                if content is None:
                    response = await finalize(app, ctx, call, plan, rv)
            else:
                response = await call(plan.full_dispatch)
            start = plain_start(*content) if content else response_start(response, ctx)
        except Exception as exc:
            error, content = exc, None
            response, start = await respond_to_error(app, ctx, call, exc)
        unsent = start
        if ctx._origin is not None:
            unsent = await start_wsgi(ctx, send, response, start)
        # A stream needs the contexts, and so does a WSGI response that has not started.
        held = ctx._more and (ctx._holds > 0 or (ctx._origin is not None and unsent is not None))
    except BaseException as exc:
        error = exc
        raise
    finally:
        if not content:
            ctx._plan()
        if ctx._origin is not None:
            await keep_contexts(ctx, ctx._origin)
        if not held and not ctx._leave():
            await finish(app, ctx, error)
    if content and not ctx._more:
        ctx._whole = unsent, content[1] if method_of(ctx) != "HEAD" else b""
        end_body(ctx)
        return
    try:
        if content:
            response = Response(content[1], mimetype=content[0])
        whole = None if ctx._holds or ctx._background else whole_content(ctx, response)
        if whole is None:
            await send_rest(app, ctx, send, response, unsent)
        else:
            ctx._whole = unsent, whole
    finally:
        if held and ctx._cv_tokens:
            await finish(app, ctx, sys.exception())
        end_body(ctx)


async def start_wsgi(
    ctx: RequestContext, send: Send, response: Any, start: Message
) -> Message | None:
    """Start a response before the teardown: WSGI middleware may look at the request then. A
    Starlette response starts itself. Returns what is still to be sent."""
    if getattr(response, "asgi_response", None) is not None:
        return start
    driver = ctx.driver
    assert driver is not None
    await driver.to_loop()
    await driver.outside(send)(start)
    return None


async def send_rest(
    app: Flask, ctx: RequestContext, send: Send, response: Any, start: Message | None
) -> None:
    """Send what is not there as a whole, and do what was to be done after it."""
    driver = ctx.driver
    assert driver is not None
    body, send = ctx.request.asgi_body, driver.outside(send)
    try:
        await send_content(app, ctx, driver, body, send, response, start)
    finally:
        await close(response, driver)
        for begin in ctx._background:
            begin()
    if (background := getattr(response, "background", None)) is not None:
        await ctx._call(background)


async def serve_by_wsgi(
    app: Flask, ctx: RequestContext, send: Send, wsgi_app: Callable[..., Any]
) -> None:
    """Have *wsgi_app*, which is round the app, answer."""
    driver = ctx.driver
    assert driver is not None
    body = Body(ctx._scope, driver.outside(ctx._receive))
    environ = environ_from_scope(ctx._scope, body)
    send = driver.outside(send)
    await serve(driver, wsgi_app, environ, send, body, app._conversations)


# -- arrival and end --------------------------------------------------------------------------


def enter(app: Flask, ctx: RequestContext) -> Plan | None:
    """Push the contexts and find the rule, as far as no code of the app has a say in it. Returns
    the request's plan; `None` if the rest is left to `arrive`."""
    setup, scope, lines = ctx._setup, ctx._scope, ctx._lines
    app_ctx: AppContext | None = None
    if not ctx._more or (current := _cv_app.get(None)) is None or current.app is not app:
        app_ctx = AppContext(app) if setup.own_app_context else app.app_context()
    ctx._set(app_ctx)
    if (lines is None or lines.get(b"host") not in good_hosts) and (problem := malformed(scope)):
        ctx.request.routing_exception = BadRequest(problem)
    if not setup.is_plain or ctx._request is not None or appcontext_pushed.receivers:
        return None
    found = ctx._find_by_path(setup)
    if type(found) is not Match or found.pending is not None:
        ctx._found = found
        return None
    rule, values, _ = found
    ctx._match = rule, values
    if (
        lines is None
        or b"content-length" in lines
        or b"transfer-encoding" in lines
        or scope.get("method") != "GET"
    ):
        look_for_body(ctx)
    plan: Plan = setup.plan(app, rule)
    ctx._last_plan = plan
    scope["route"], scope["endpoint"], scope["path_params"] = plan.route, plan.view, values
    return plan


async def arrive(app: Flask, ctx: RequestContext, call: Call) -> Plan:
    """What `enter` has left to be done."""
    if not ctx._setup.lazy_request:
        ctx.request  # noqa: B018
    await ctx._begin(call, ctx._cv_tokens[0][1])
    if ctx.request.routing_exception is None:
        await ctx._find_rule(call)
    look_for_body(ctx)
    plan: Plan = ctx._plan()
    if plan.route is not None:
        values = ctx.request.view_args
        ctx._scope.update(route=plan.route, endpoint=plan.view, path_params=values)
    return plan


def look_for_body(ctx: RequestContext) -> None:
    """Have the body received, unless there is surely none."""
    lines = ctx._lines
    if ctx.websocket is None and (
        lines is None
        or b"content-length" in lines
        or b"transfer-encoding" in lines
        or ctx._scope["method"] not in _WITHOUT_BODY
    ):
        expect_body(ctx)


_WITHOUT_BODY = frozenset({"GET", "HEAD"})


async def keep_contexts(ctx: RequestContext, origin: Origin) -> None:
    """Hand the contexts to a test client that asked for them; it pushes them again. What the
    view did not read of the body, the test still may."""
    if origin.keep is None or not ctx._cv_tokens:
        return
    driver = ctx.driver
    assert driver is not None
    if not ctx._holds:
        await driver.to_loop()
        await ctx.request.asgi_body.keep(driver)
    origin.keep(_cv_app.get())
    origin.keep(ctx)


async def finish(app: Flask, ctx: RequestContext, error: BaseException | None) -> None:
    """Tear the context down, once. A teardown function that fails is logged, or raised where
    exceptions propagate; it does not take the client's answer away."""
    if not ctx._cv_tokens:  # the app has popped it
        return
    if error is not None and app.should_ignore_error(error):
        error = None
    ctx._ending = True
    if ctx._driver is not None:
        ctx._driver.loop_if_no_thread = True
    try:
        await ctx._pop(error, ctx._call, ctx._last_plan)
    except Exception:
        if propagates(app):
            raise
        app.logger.exception("A teardown function failed.")


def propagates(app: Flask) -> bool:
    """Whether exceptions are raised to the server, or to the test, instead of answered."""
    propagate: bool | None = app.config["PROPAGATE_EXCEPTIONS"]
    return (app.testing or app.debug) if propagate is None else propagate


# -- the steps --------------------------------------------------------------------------------


async def full_dispatch_request(app: Flask, ctx: RequestContext, call: Call) -> Any:
    """Run hooks, view and error handlers. Returns the response; `None` for a WebSocket that was
    accepted."""
    rv = await answer(app, ctx, call, ctx._last_plan)
    websocket = ctx.websocket
    if websocket is not None and (rv is None or websocket.accepted or websocket.closed):
        return None
    return await finalize(app, ctx, call, ctx._plan(), rv)


async def answer(app: Flask, ctx: RequestContext, call: Call, plan: Plan) -> Any:
    """The return value of a hook, of the view, or of the handler of what these raised."""
    if not app._got_first_request:
        app._got_first_request = True
    try:
        if request_started.receivers:
            await emit(request_started, app, call)
        rv = None
        if plan.preprocess is not None:
            rv = await call(plan.preprocess)
        elif plan.begins:
            rv = await preprocess_request(app, ctx, call)
        if rv is None:
            if plan.dispatch is None:
                answering = dispatch_request(app, ctx, call)
            else:
                answering = call(plan.dispatch)
            rv = await (answering if ctx.websocket is None else converse(ctx, call, answering))
    except Exception as exc:
        if ctx.websocket is not None and ctx.websocket.is_own_end(exc):
            return None
        if isinstance(exc, NoThread):
            exc = too_busy(app, exc)
        ctx._error = exc
        no_more_body(ctx)
        rv = await step(app, "handle_user_exception")(app, ctx, call, exc)
    if ctx._driver is not None:
        no_more_body(ctx)
    return rv


async def preprocess_request(app: Flask, ctx: RequestContext, call: Call) -> Any:
    """Run the URL value preprocessors, then the `before_request` functions until one returns a
    value."""
    plan = ctx._last_plan
    for func, _ in plan.preprocessors:
        await call(func, ctx.request.endpoint, ctx.request.view_args)
    for func, asynchronous in plan.before:
        rv = await (func() if asynchronous and ctx._driver is None else call(func))
        if rv is not None:
            return rv
    return None


def dispatch_request(app: Flask, ctx: RequestContext, call: Call) -> Awaitable[Any]:
    """Call the view of the matched rule. Raises the routing exception if there is none."""
    plan = ctx._last_plan
    request = ctx._request
    if request is None:
        method = ctx._scope["method"]
        rule, values = ctx._match
    else:
        if request.routing_exception is not None:
            app.raise_routing_exception(request)
        method = request.method
        rule, values = request.url_rule, request.view_args
    if method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
        return call_here(app.make_default_options_response)
    view = app.view_functions[rule.endpoint]
    if ctx._context is not None and call is not call_here:
        if ctx.websocket is not None:
            return call_handler(ctx, call, view, values or {})
        if plan.cancel or (plan.cancel is None and app.config["CANCEL_ON_DISCONNECT"]):
            return call_until_disconnect(ctx, view, values or {})
        if view is plan.view and plan.view_is_async and ctx._driver is None:
            # What `call` would do.
            return view(**values) if values else view()  # type: ignore[no-any-return]
    return call(view, **values) if values else call(view)


async def call_until_disconnect(ctx: RequestContext, view: Any, values: dict[str, Any]) -> Any:
    """Call *view*, and cancel it when the client leaves."""
    driver = ctx.driver
    assert driver is not None
    await driver.ready_for_async()
    # Not among the app's conversations: a request that is being answered outlives a shutdown.
    async with Conversation(Conversations(), ctx.request.asgi_body.gone):
        try:
            return await driver.call(view, **values)
        finally:
            await driver.to_loop()
    raise ClientDisconnected()


async def call_handler(
    ctx: RequestContext, call: Call, handler: Any, values: dict[str, Any]
) -> Any:
    """Call the handler of a WebSocket; an asynchronous one as a task, so that a message wakes
    the handler alone, not all that called it."""
    driver = ctx.driver
    if driver is None or not is_async(handler):
        return await call(handler, **values)
    await driver.ready_for_async()
    return await driver.task(handler(**values))


async def converse(ctx: RequestContext, call: Call, answering: Awaitable[Any]) -> Any:
    """The return value of a WebSocket's handler: a response that refuses the connection. One that
    used the socket of the environ has answered by that, whatever it returns."""
    sock: EnvironSocket = ctx.websocket.scope["asyncflask.handshake"]["werkzeug.socket"]
    try:
        rv = await answering
    finally:
        answered = await call(sock.end)
    if answered:
        return None
    ctx.websocket.check_returned(rv, ctx.request.endpoint)
    return rv


async def finalize_request(
    app: Flask, ctx: RequestContext, call: Call, rv: Any, from_error_handler: bool = False
) -> Any:
    """Make the response of a view's or a handler's return value, and run the hooks on it."""
    plan = ctx._last_plan
    if plan.make_response is not None:
        response = await call(plan.make_response, rv)
    elif callable(rv) and not isinstance(rv, _RESPONSES) and not is_starlettes(rv):
        response = await call(make_response, app, ctx, rv)  # user code: a WSGI callable
    else:
        response = make_response(app, ctx, rv)
    try:
        if plan.process is None:
            response = await process_response(app, ctx, call, response)
        else:
            response = await call(plan.process, response)
        if request_finished.receivers:
            await emit(request_finished, app, call, response=response)
    except Exception:
        if not from_error_handler:
            raise
        app.logger.exception("The response of an error handler could not be finalized.")
    return response


def finalize(
    app: Flask,
    ctx: RequestContext,
    call: Call,
    plan: Plan,
    rv: Any,
    from_error_handler: bool = False,
) -> Awaitable[Any]:
    """`finalize_request`, or what took its place."""
    if plan.finalize is not None:
        return call(plan.finalize, rv, from_error_handler)
    return finalize_request(app, ctx, call, rv, from_error_handler)


_RESPONSES = (BaseResponse, HTTPException)


async def process_response(app: Flask, ctx: RequestContext, call: Call, response: Any) -> Any:
    """Run the `after_request` functions, and save the session."""
    plan = ctx._last_plan
    functions = plan.after
    if ctx._after_request_functions:
        functions = (*((func, False) for func in ctx._after_request_functions), *functions)
    for func, asynchronous in functions:
        given = await (
            func(response) if asynchronous and ctx._driver is None else call(func, response)
        )
        if given is None:
            name = getattr(func, "__qualname__", repr(func))
            raise TypeError(
                f"The 'after_request' function {name!r} returned None. It has to return the"
                " response it was given, or another one: end it with 'return response'."
            )
        response = given
    if has_session(app, ctx):
        await save_session(app, ctx, call, response)
    return response


def is_seen(app: Flask, ctx: RequestContext) -> bool:
    """True if a signal, the session or a function of this very request needs the response
    object."""
    return bool(
        request_finished.receivers or ctx._after_request_functions or has_session(app, ctx)
    )


def has_session(app: Flask, ctx: RequestContext) -> bool:
    """Whether there is a session to save. One that nobody touched counts only if the client has
    sent it and its lifetime may have to be renewed."""
    if ctx._opened_session is not None:
        return True
    lines = ctx._lines
    if lines is not None and b"cookie" not in lines:
        return False
    interface: Any = app.session_interface
    return app._opens_session_lazily() and may_renew(interface, app, ctx.request)


async def save_session(app: Flask, ctx: RequestContext, call: Call, response: Any) -> None:
    """Put the session into *response*."""
    interface = app.session_interface
    if ctx._opened_session is None:
        await ctx._open_session(call_here)
    session = ctx._opened_session
    if interface.is_null_session(session):
        return
    if app._opens_session_lazily():  # nothing in it waits
        interface.save_session(app, session, response)
    else:
        await call(interface.save_session, app, session, response)


# -- errors -----------------------------------------------------------------------------------


async def handle_http_exception(
    app: Flask, ctx: RequestContext, call: Call, error: HTTPException
) -> Any:
    """The return value of the handler for *error*; without one the error, which is a response
    too."""
    if error.code is None or isinstance(error, RoutingException):
        return error
    handler = app._find_error_handler(error, ctx.request.blueprints)
    return error if handler is None else await call(handler, error)


async def handle_user_exception(
    app: Flask, ctx: RequestContext, call: Call, error: Exception
) -> Any:
    """The return value of the handler for *error*; without one it is raised again."""
    if isinstance(error, BadRequestKeyError) and (
        app.debug or app.config["TRAP_BAD_REQUEST_ERRORS"]
    ):
        error.show_exception = True
    if isinstance(error, HTTPException) and not app.trap_http_exception(error):
        return await step(app, "handle_http_exception")(app, ctx, call, error)
    handler = app._find_error_handler(error, ctx.request.blueprints)
    if handler is None:
        raise error
    return await call(handler, error)


async def handle_exception(app: Flask, ctx: RequestContext, call: Call, error: Exception) -> Any:
    """The response to an exception that nobody took: it is logged and becomes a 500, or it is
    raised if `PROPAGATE_EXCEPTIONS` (by default: in tests and in debug mode) says so."""
    exc_info = sys.exc_info()
    add_advice(error, ctx.request, ctx.websocket)
    if got_request_exception.receivers:
        await emit(got_request_exception, app, call, exception=error)
    if propagates(app):
        raise error
    app.log_exception(exc_info)
    server_error: Any = InternalServerError(original_exception=error)
    handler = app._find_error_handler(server_error, ctx.request.blueprints)
    if handler is not None:
        server_error = await call(handler, server_error)
    return await finalize(app, ctx, call, ctx._plan(), server_error, True)


async def respond_to_error(
    app: Flask, ctx: RequestContext, call: Call, error: Exception
) -> tuple[Any, Message]:
    """The response to *error*, and its start. A response that cannot be sent either, since a
    hook breaks every one, is replaced by a bare 500; by a bare 503 if no thread is to be had."""
    response: Any = None
    try:
        if isinstance(error, NoThread):
            raise error
        response = await step(app, "handle_exception")(app, ctx, call, error)
        return response, response_start(response, ctx)
    except NoThread as exc:
        response = too_busy(app, exc).get_response()
    except ValueError:
        if response is None:
            raise
        app.logger.exception("The response to an exception cannot be sent.")
        response = InternalServerError().get_response()
    return response, response_start(response, ctx)


def too_busy(app: Flask, error: NoThread) -> ServiceUnavailable:
    """What a client gets for whom no thread is to be had (RFC 9110 section 15.6.4)."""
    app.logger.error("No thread for sync code: %s", error)
    unavailable = ServiceUnavailable(retry_after=RETRY_SECONDS)
    unavailable.__cause__ = error
    return unavailable


RETRY_SECONDS: Final = 5
"""When a client that got a 503 for want of a thread is to come again."""


# -- teardown ---------------------------------------------------------------------------------


async def do_teardown_request(
    app: Flask, ctx: RequestContext, call: Call, error: BaseException | None
) -> None:
    """Run all `teardown_request` functions; what they raise is raised when all have run."""
    errors: list[BaseException] = []
    await tear_down(app, call, ctx._last_plan.teardown_request, error, errors)
    if errors:
        raise errors[0]


async def do_teardown_appcontext(
    app: Flask, ctx: AppContext, call: Call, error: BaseException | None
) -> None:
    """Run all `teardown_appcontext` functions; what they raise is raised when all have run."""
    teardown = app._setup().plan(app, None).teardown_app
    errors: list[BaseException] = []
    await tear_down(app, call, teardown, error, errors)
    if errors:
        raise errors[0]


# -- templates --------------------------------------------------------------------------------


async def update_template_context(
    app: Flask, ctx: RequestContext | None, call: Call, context: dict[str, Any]
) -> None:
    """Add to *context* what the context processors return; what is there already wins."""
    names: Iterable[str | None] = (None,)
    if ctx is not None and len(app.template_context_processors) > 1:  # not only the app's
        names = chain(names, reversed(ctx.request.blueprints))
    given = context.copy()
    for name in names:
        if name in app.template_context_processors:
            for func in app.template_context_processors[name]:
                context.update(await call(func))
    context.update(given)


# -- steps that were replaced -----------------------------------------------------------------

OWN: dict[str, Step] = {name: globals()[name] for name in METHODS if name in globals()}
"""By name the steps of this file."""


def step(app: Flask, name: str) -> Step:
    """The step of this name: of this file, or what calls the method that took its place."""
    method = app._setup().replaced.get(name)
    return OWN[name] if method is None else partial(_call_replaced, method)


async def _call_replaced(
    method: Callable[..., Any], app: Flask, ctx: Any, call: Call, *args: Any
) -> Any:
    return await call(method, *args)
