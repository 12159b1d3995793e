"""A request's steps, in order, from arrival to end.

`serve_http` is the one flow of HTTP; a WebSocket (`converse.py`) uses the same steps. A
request's `Plan` has the functions to call in each step. Each step is written once, as a
coroutine function that calls user code only through `call` (see `asgi/threads.py`), so the
`Flask` methods named after the steps can run them for sync code.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextvars import copy_context
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from starlette.types import Message, Send
from werkzeug.exceptions import (
    BadRequestKeyError,
    HTTPException,
    InternalServerError,
    ServiceUnavailable,
)
from werkzeug.routing import RoutingException
from werkzeug.wrappers import Response as BaseResponse

from .app_context import AppContext, _cv_app
from .arrival import arrive, enter
from .asgi.body import Body
from .asgi.environ import Origin, environ_from_scope
from .asgi.native import NoThread
from .asgi.stalls import patient
from .asgi.threads import Call
from .asgi.waiting import call_here
from .asgi.wsgi import serve
from .bodies import call_with_body, end_body, expect_all, no_more_body, receive_small
from .contexts import RequestContext
from .debughelpers import add_advice, where
from .handlers import call_handler, call_supervised, converse
from .plan import METHODS, Plan
from .respond import (
    Complete,
    complete,
    content_at_hand,
    make_response,
    propagates,
    response_start,
    send_rest,
    start_wsgi,
)
from .responses import is_starlettes
from .sessions import may_renew
from .signals import (
    appcontext_popped,
    appcontext_tearing_down,
    emit,
    got_request_exception,
    request_finished,
    request_started,
    request_tearing_down,
)
from .teardown import KEEP_CONTEXT, tear_down

if TYPE_CHECKING:
    from .app import Flask

Step = Callable[..., Awaitable[Any]]
Flow = Callable[["Flask", RequestContext, Send], Coroutine[Any, Any, None]]

# -- the flow ---------------------------------------------------------------------------------


async def serve_http(app: Flask, ctx: RequestContext, send: Send) -> None:
    """Answer one request. A complete response is left in `ctx.to_send` when everything else is
    done; the caller then sends it in the server's own context."""
    error: BaseException | None = None
    unseen: Complete | None = None
    response: object  # set if a response object is needed, as is `start`
    start: Message | None
    held = False
    try:
        try:
            plan = enter(app, ctx) or await arrive(ctx, ctx.call)
            if plan.full_dispatch is None:
                rv = await answer(app, ctx, ctx.call, plan)
                if ctx.request_or_none is not None or not next(plan.same):
                    plan = ctx.current_plan()  # the view may have added functions
                if plan.bare and not (
                    ctx.unplanned
                    or ctx.opened_session is not None
                    or any(_AT_END)
                    or (b"cookie" in (ctx.lines or _UNKNOWN) and has_session(app, ctx))
                ):
                    unseen = complete(app, ctx, rv)
                if unseen is None:
                    response = await finalize(app, ctx, ctx.call, plan, ctx.ready or rv)
                    rv = None  # breaks a cycle: its traceback may refer to this frame
            else:
                response = await ctx.call(plan.full_dispatch)
            if unseen is None:
                start = response_start(response, ctx)
        except Exception as exc:
            error, unseen, rv = raised(exc), None, None
            response, start = await respond_to_error(app, ctx, ctx.call, error)
        if ctx.unplanned:
            if ctx.origin is not None:
                start = await start_wsgi(ctx, send, response, start)
            source = getattr(response, "asgi_response", None)
            ctx.holds += getattr(source, "holds_context", False)
            # A stream needs the contexts, as does a WSGI response that has not started.
            held = ctx.holds > 0 or (ctx.origin is not None and start is not None)
    except BaseException as exc:
        error = exc
        raise
    finally:
        if unseen is not None and not plan.ends:
            ctx.leave()
        else:
            if ctx.origin is not None:
                await keep_contexts(ctx, ctx.origin)
            if not held:
                await finish(app, ctx, error, None if unseen is None else plan)
        error = None  # its traceback refers to this frame: a cycle
    if unseen is not None:
        ctx.to_send = unseen
        if ctx.request_or_none is not None:
            end_body(ctx)
    else:
        await send_response(app, ctx, send, response, start, held)


async def send_response(
    app: Flask,
    ctx: RequestContext,
    send: Send,
    response: object,
    start: Message | None,
    held: bool,
) -> None:
    """Send *response*, or leave it in `ctx.to_send`. If *held*, tear down the contexts
    afterwards. *start* is `None` if it was already sent."""
    try:
        content = None if ctx.holds or ctx.background else content_at_hand(ctx, response)
        if content is None:
            await send_rest(app, ctx, send, response, start)
        else:
            ctx.to_send = start, content
    finally:
        if held and ctx._cv_tokens:
            await finish(app, ctx, sys.exception())
        end_body(ctx)


async def serve_by_wsgi(
    app: Flask, ctx: RequestContext, send: Send, wsgi_app: Callable[..., Any]
) -> None:
    """Answer with *wsgi_app*, the WSGI middleware around the app."""
    driver = ctx.driver
    assert driver is not None
    body = Body(ctx.scope, driver.outside(ctx.receive))
    body.app = app
    environ = environ_from_scope(ctx.scope, body)
    outside = patient(send, driver.outer.copy(), ctx.receive, body, app)
    await serve(driver, wsgi_app, environ, outside, body, app._conversations)


# -- the end --------------------------------------------------------------------------


async def keep_contexts(ctx: RequestContext, origin: Origin) -> None:
    """Pass the contexts to a test client that asked for them and will push them again. The test
    may still read the rest of the body."""
    if origin.keep is None or not ctx._cv_tokens:
        return
    driver = ctx.driver
    assert driver is not None
    if not ctx.holds:
        await driver.to_loop()
        await ctx.request.asgi_body.keep(driver)
    origin.keep(_cv_app.get())
    origin.keep(ctx)


async def finish(
    app: Flask, ctx: RequestContext, error: BaseException | None, plan: Plan | None = None
) -> None:
    """Tear down the context, once. An error in a teardown function is logged, or raised if
    exceptions propagate; the client still gets its response. *plan*: the plan, if it is known
    to be current."""
    if error is not None:
        if app.should_ignore_error(error):
            error = None
        if ctx.scope is not None and (keep := ctx.scope.get(KEEP_CONTEXT)) is not None:
            keep(copy_context())
    ctx.ending = True
    if ctx.driver_or_none is not None:
        ctx.driver_or_none.loop_if_no_thread = True
        ctx.driver_or_none.prepare = ctx.driver_or_none.before_thread = None
    try:
        if ctx.unplanned:
            if ctx._cv_tokens:  # the app did not pop it itself
                await ctx.pop_by(error, ctx.call)
        else:
            await ctx.end_by(error, ctx.call, plan or ctx.current_plan())
    except Exception:
        if propagates(app):
            raise
        app.logger.exception("A teardown function failed.")


# -- the steps --------------------------------------------------------------------------------


async def full_dispatch_request(app: Flask, ctx: RequestContext, call: Call) -> Any:
    """Run hooks, view and error handlers. Return the response, or `None` for an accepted
    WebSocket."""
    rv = await answer(app, ctx, call, ctx.plan)
    websocket = ctx.websocket
    if websocket is not None and (rv is None or websocket.accepted or websocket.closed):
        return None
    finalizing = finalize(app, ctx, call, ctx.current_plan(), rv)
    del rv  # breaks a cycle: its traceback may refer to this frame
    return await finalizing


async def answer(app: Flask, ctx: RequestContext, call: Call, plan: Plan) -> Any:
    """Return the value of a hook or the view, or of the error handler for their exception."""
    if not app._got_first_request:
        app._got_first_request = True
    try:
        if request_started.receivers:
            await emit(request_started, app, call)
        rv = None
        if plan.starts:
            if plan.preprocess is None:
                rv = await preprocess_request(app, ctx, call)
            else:
                rv = await call(plan.preprocess)
        if rv is None:
            if plan.direct:
                return await dispatch_request(app, ctx, call)
            rv = await dispatch(app, ctx, call, plan)
    except Exception as exc:
        if ctx.websocket is not None and ctx.websocket.is_end_of_this(exc):
            return None
        error = too_busy(app, exc) if isinstance(exc, NoThread) else raised(exc)
        if (advice := getattr(error, "advice", None)) is not None:
            app.logger.warning(advice)
        if ctx.websocket is not None:
            ctx.error = error
        no_more_body(ctx)
        handled: object = None
        try:
            handled = await step(app, "handle_user_exception")(app, ctx, call, error)
            if ctx.request.routing_exception is error:  # the request keeps it
                error.__traceback__ = error.__context__ = None
            return handled
        finally:
            del error, handled  # its traceback refers to this frame: a cycle
    return rv


async def preprocess_request(app: Flask, ctx: RequestContext, call: Call) -> Any:
    """Run the URL value preprocessors, then the `before_request` functions until one returns a
    value."""
    plan = ctx.plan
    for func, _ in plan.preprocessors:
        await call(func, ctx.request.endpoint, ctx.request.view_args)
    for func, asynchronous in plan.before:
        if asynchronous and ctx.driver_or_none is None and call is not call_here:
            rv = await func()
        else:
            rv = await call(func)
        if rv is not None:
            ctx.answered_by = "'before_request' function", func
            return rv
    return None


def dispatch(app: Flask, ctx: RequestContext, call: Call, plan: Plan) -> Awaitable[Any]:
    """Call `dispatch_request` or its replacement; for a WebSocket, hold the conversation too."""
    if ctx.prepare is receive_small:
        expect_all(ctx)
    replaced = plan.dispatch
    answering = dispatch_request(app, ctx, call) if replaced is None else call(replaced)
    return answering if ctx.websocket is None else converse(ctx, call, answering)


def dispatch_request(app: Flask, ctx: RequestContext, call: Call) -> Awaitable[Any]:
    """Call the view of the matched rule. Raise the routing exception if no rule matched."""
    plan = ctx.plan
    request = ctx.request_or_none
    if request is None:  # GET or HEAD; for other methods `look_for_body` made one
        rule, values, _ = ctx.match
    else:
        if request.routing_exception is not None:
            app.raise_routing_exception(request)
        rule, values = request.url_rule, request.view_args
        if request.method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
            return call_here(bound(app, "make_default_options_response"))
    view: Any = app.view_functions[rule.endpoint]  # type: ignore[union-attr]
    if call is not call_here:
        if plan.direct and view is plan.view and ctx.driver_or_none is None:
            # Inlines `call`.
            if ctx.prepare is not None:
                return call_with_body(ctx, view, values or {})
            return view(**values) if values else view()  # type: ignore[no-any-return]
        if ctx.prepare is receive_small:
            expect_all(ctx)
        if ctx.websocket is not None:
            return call_handler(ctx, call, view, values or {})
        if plan.supervised:
            return call_supervised(ctx, plan, view, values or {})
    return call(view, **values) if values else call(view)


async def finalize_request(
    app: Flask, ctx: RequestContext, call: Call, rv: object, from_error_handler: bool = False
) -> Any:
    """Make a response from a view's or handler's return value, and run the hooks on it."""
    plan = ctx.plan
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
    rv: object,
    from_error_handler: bool = False,
) -> Awaitable[Any]:
    """Call `finalize_request` or its replacement."""
    no_more_body(ctx)
    if plan.finalize is not None:
        return call(plan.finalize, rv, from_error_handler)
    return finalize_request(app, ctx, call, rv, from_error_handler)


_RESPONSES = (BaseResponse, HTTPException)


async def process_response(app: Flask, ctx: RequestContext, call: Call, response: Any) -> Any:
    """Run the `after_request` functions and save the session."""
    plan = ctx.plan
    functions: Iterable[tuple[Callable[..., Any], bool]] = plan.after
    if ctx._after_request_functions:
        functions = chain(_after_this_request(ctx), functions)
    for func, asynchronous in functions:
        if asynchronous and ctx.driver_or_none is None and call is not call_here:
            given = await func(response)
        else:
            given = await call(func, response)
        if given is None:
            name = getattr(func, "__qualname__", repr(func))
            raise TypeError(
                f"The 'after_request' function {name!r} returned None. It has to return the"
                " response it was given, or another one: end it with 'return response'."
                f"{where(app, func)}"
            )
        response = given
    if has_session(app, ctx):
        await save_session(app, ctx, call, response)
    return response


def _after_this_request(ctx: RequestContext) -> Iterator[tuple[Callable[..., Any], bool]]:
    done = 0
    while done < len(ctx._after_request_functions):  # they may add more
        yield ctx._after_request_functions[done], False
        done += 1


_UNKNOWN: Final = (b"cookie", b"content-length")
"""The headers to assume if they are unknown."""

_AT_END: Final = tuple(
    signal.receivers
    for signal in (
        request_finished,
        request_tearing_down,
        appcontext_tearing_down,
        appcontext_popped,
    )
)
"""Signals and registries that need the response or the end of the request."""


def has_session(app: Flask, ctx: RequestContext) -> bool:
    """Return `True` if there is a session to save. A session that was not opened counts only if
    the client sent it and its lifetime may have to be renewed."""
    if ctx.opened_session is not None:
        return True
    if b"cookie" not in (ctx.lines or _UNKNOWN):
        return False
    interface: object = app.session_interface
    return app._opens_session_lazily() and may_renew(interface, app, ctx.request)


async def save_session(app: Flask, ctx: RequestContext, call: Call, response: Any) -> None:
    """Save the session and set its cookie on *response*."""
    interface = app.session_interface
    if ctx.opened_session is None:
        await ctx.open_session(call_here)
    session = ctx.opened_session
    if interface.is_null_session(session):
        return
    if app._opens_session_lazily():  # it never blocks
        interface.save_session(app, session, response)
    else:
        await call(interface.save_session, app, session, response)


# -- errors -----------------------------------------------------------------------------------


async def handle_http_exception(
    app: Flask, ctx: RequestContext, call: Call, error: HTTPException
) -> Any:
    """Return the value of the error handler for *error*; without one, *error*, which is also a
    response."""
    if error.code is None or isinstance(error, RoutingException):
        return error
    handler = app._find_error_handler(error, ctx.request.blueprints)
    return error if handler is None else await call_error_handler(ctx, call, handler, error)


def call_error_handler(
    ctx: RequestContext, call: Call, handler: Callable[..., Any], error: Exception
) -> Awaitable[Any]:
    ctx.answered_by = "error handler", handler
    return call(handler, error)


def raised(error: Exception) -> Exception:
    """Return the exception that user code raised. `StopIteration` that leaves a coroutine
    becomes the cause of a `RuntimeError` (PEP 479)."""
    cause = error.__cause__
    if isinstance(cause, StopIteration) and error.args == ("coroutine raised StopIteration",):
        return cause
    return error


async def handle_user_exception(
    app: Flask, ctx: RequestContext, call: Call, error: Exception
) -> Any:
    """Return the value of the error handler for *error*. Without one, raise it again."""
    if isinstance(error, BadRequestKeyError) and (
        app.debug or app.config["TRAP_BAD_REQUEST_ERRORS"]
    ):
        error.show_exception = True
    if isinstance(error, HTTPException) and not app.trap_http_exception(error):
        return await step(app, "handle_http_exception")(app, ctx, call, error)
    handler = app._find_error_handler(error, ctx.request.blueprints)
    if handler is None:
        try:
            raise error
        finally:
            del error  # its traceback refers to this frame: a cycle
    return await call_error_handler(ctx, call, handler, error)


async def handle_exception(app: Flask, ctx: RequestContext, call: Call, error: Exception) -> Any:
    """Return the response to an unhandled exception: log it and make it a 500, or raise it if
    `PROPAGATE_EXCEPTIONS` is on (by default in debug mode and tests)."""
    exc_info = sys.exc_info()
    add_advice(error, ctx)
    if got_request_exception.receivers:
        await emit(got_request_exception, app, call, exception=error)
    if propagates(app):
        raise error
    bound(app, "log_exception")(exc_info)
    server_error: Any = InternalServerError(original_exception=error)
    handler = app._find_error_handler(server_error, ctx.request.blueprints)
    if handler is not None:
        server_error = await call_error_handler(ctx, call, handler, server_error)
    return await finalize(app, ctx, call, ctx.current_plan(), server_error, True)


async def respond_to_error(
    app: Flask, ctx: RequestContext, call: Call, error: Exception
) -> tuple[Any, Message]:
    """Return the response to *error* and its first message. If that cannot be sent either,
    because a hook breaks every response, the client gets a bare 500; if there is no thread, a
    bare 503."""
    response: object = None
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
        app.logger.exception("The response to an exception could not be sent.")
        response = InternalServerError().get_response()
    return response, response_start(response, ctx)


def too_busy(app: Flask, error: NoThread) -> ServiceUnavailable:
    """Return the response if no thread is available (RFC 9110 section 15.6.4)."""
    app.logger.error("No thread for sync code: %s", error)
    unavailable = ServiceUnavailable(retry_after=RETRY_SECONDS)
    unavailable.__cause__ = error
    return unavailable


RETRY_SECONDS: Final = 5
"""`Retry-After` of the 503 if no thread is available."""


# -- teardown ---------------------------------------------------------------------------------


async def do_teardown_request(
    app: Flask, ctx: RequestContext, call: Call, error: BaseException | None
) -> None:
    """Run all `teardown_request` functions. Raise the first exception after all have run."""
    errors: list[BaseException] = []
    await tear_down(app, call, ctx.plan.teardown_request, error, errors)
    if errors:
        raise errors[0]


async def do_teardown_appcontext(
    app: Flask, ctx: AppContext, call: Call, error: BaseException | None
) -> None:
    """Run all `teardown_appcontext` functions. Raise the first exception after all have run."""
    teardown = app._setup().plan(app, None).teardown_app
    errors: list[BaseException] = []
    await tear_down(app, call, teardown, error, errors)
    if errors:
        raise errors[0]


# -- templates --------------------------------------------------------------------------------


async def update_template_context(
    app: Flask, ctx: RequestContext | None, call: Call, context: dict[str, object]
) -> None:
    """Add the values of the context processors to *context*. Existing values take precedence."""
    names: Iterable[str | None] = (None,)
    if ctx is not None and len(app.template_context_processors) > 1:  # more than the app's
        names = chain(names, reversed(ctx.request.blueprints))
    given = context.copy()
    for name in names:
        if name in app.template_context_processors:
            for func in app.template_context_processors[name]:
                context.update(await call(func))
    context.update(given)


# -- steps that were replaced -----------------------------------------------------------------

STEPS: dict[str, Step] = {name: globals()[name] for name in METHODS if name in globals()}
"""The steps in this file, by name."""


def step(app: Flask, name: str) -> Step:
    """Return the step with this name, or a function that calls the method that replaced it."""
    method = app._setup().replaced.get(name)
    return STEPS[name] if method is None else partial(_call_replaced, method)


def bound(app: Flask, name: str) -> Callable[..., Any]:
    """Return the method with this name, to call as in Flask 3.1."""
    return app._setup().replaced.get(name) or getattr(app, name)


async def _call_replaced(
    method: Callable[..., Any], app: Flask, ctx: Any, call: Call, *args: object
) -> Any:
    return await call(method, *args)
