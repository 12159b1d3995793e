"""The steps of a request as methods of the app, for sync code: overrides call them with
`super()`, tests call them directly.

The steps themselves are in `dispatch.py`. Each method takes the arguments of Flask 3.1, or the
context first as in Flask 3.2.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar

from werkzeug.exceptions import HTTPException

from . import dispatch, respond
from .asgi.waiting import call_here, drive
from .ctx import (
    AppContext,
    RequestContext,
    _cv_request,
    _sentinel,
    current_app_ctx,
    current_request_ctx,
)
from .entry import AppType
from .wrappers import Response

T = TypeVar("T")

_CURRENT: dict[str, Callable[[], Any]] = {
    "do_teardown_appcontext": current_app_ctx,
    "update_template_context": partial(_cv_request.get, None),
}


def _with_ctx(method: Callable[..., T]) -> Callable[..., T]:
    """Let a step's method take the context as its first argument (Flask 3.2) or not (Flask
    3.1)."""
    current = _CURRENT.get(method.__name__, current_request_ctx)

    @wraps(method)
    def call(self: object, *args: object, **kwargs: object) -> T:
        if args and isinstance(args[0], (RequestContext, AppContext)):
            ctx, *args = args  # type: ignore[assignment]
        else:
            ctx = kwargs.pop("ctx") if "ctx" in kwargs else current()
        if isinstance(ctx, RequestContext):
            ctx.current_plan()  # the existing one may be out of date
        return method(self, ctx, *args, **kwargs)

    signature = inspect.signature(method)
    call.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[p for p in signature.parameters.values() if p.name != "ctx"]
    )
    return call


class Steps(metaclass=AppType):
    """The steps, as methods of `Flask`."""

    @_with_ctx
    def full_dispatch_request(self: Any, ctx: RequestContext) -> Response:
        """Run hooks, view and error handlers. Return the response."""
        return drive(dispatch.full_dispatch_request(self, ctx, call_here))  # type: ignore[no-any-return]

    @_with_ctx
    def preprocess_request(self: Any, ctx: RequestContext) -> Any:
        """Run the `before_request` functions. Return the first value that is not `None`."""
        return drive(dispatch.preprocess_request(self, ctx, call_here))

    @_with_ctx
    def dispatch_request(self: Any, ctx: RequestContext) -> Any:
        """Call the view of the matched rule and return its value. Raise the routing exception
        if no rule matched."""
        return drive(dispatch.dispatch_request(self, ctx, call_here))

    @_with_ctx
    def handle_http_exception(self: Any, ctx: RequestContext, e: HTTPException) -> Any:
        """Call the error handler for *e* and return its value. Without one, return *e*."""
        return drive(dispatch.handle_http_exception(self, ctx, call_here, e))

    @_with_ctx
    def handle_user_exception(self: Any, ctx: RequestContext, e: Exception) -> Any:
        """Call the error handler for *e* and return its value. Without one, raise *e*."""
        return drive(dispatch.handle_user_exception(self, ctx, call_here, e))

    @_with_ctx
    def handle_exception(self: Any, ctx: RequestContext, e: Exception) -> Response:
        """Return the response to an unhandled exception, a 500, or raise the exception again."""
        return drive(dispatch.handle_exception(self, ctx, call_here, e))  # type: ignore[no-any-return]

    @_with_ctx
    def finalize_request(
        self: Any, ctx: RequestContext, rv: Any, from_error_handler: bool = False
    ) -> Response:
        """Make a response from a view's return value, and run the `after_request` functions."""
        return drive(  # type: ignore[no-any-return]
            dispatch.finalize_request(self, ctx, call_here, rv, from_error_handler)
        )

    def make_response(self: Any, rv: Any) -> Response:
        """Make a response from a view's return value: a `str`, `bytes`, `dict`, `list`,
        iterator, async iterator, Werkzeug or Starlette response, WSGI callable, or a tuple of
        one of these with status and headers. Raises `TypeError` for anything else."""
        return respond.make_response(self, _cv_request.get(None), rv)  # type: ignore[no-any-return]

    @_with_ctx
    def process_response(self: Any, ctx: RequestContext, response: Response) -> Response:
        """Run the `after_request` functions and save the session."""
        return drive(dispatch.process_response(self, ctx, call_here, response))  # type: ignore[no-any-return]

    @_with_ctx
    def do_teardown_request(
        self: Any, ctx: RequestContext, exc: BaseException | None = _sentinel
    ) -> None:
        """Run the `teardown_request` functions. *exc* defaults to the current exception."""
        exc = sys.exception() if exc is _sentinel else exc
        drive(dispatch.do_teardown_request(self, ctx, call_here, exc))

    @_with_ctx
    def do_teardown_appcontext(
        self: Any, ctx: AppContext, exc: BaseException | None = _sentinel
    ) -> None:
        """Run the `teardown_appcontext` functions. *exc* defaults to the current exception."""
        exc = sys.exception() if exc is _sentinel else exc
        drive(dispatch.do_teardown_appcontext(self, ctx, call_here, exc))

    @_with_ctx
    def update_template_context(self: Any, ctx: Any, context: dict[str, Any]) -> None:
        """Add the values of the context processors to *context*."""
        drive(dispatch.update_template_context(self, ctx, call_here, context))

    @_with_ctx
    def log_exception(self: Any, ctx: RequestContext, exc_info: Any) -> None:
        """Log an exception that led to a 500."""
        req = ctx.request
        self.logger.error("Exception on %s [%s]", req.path, req.method, exc_info=exc_info)

    @_with_ctx
    def make_default_options_response(self: Any, ctx: RequestContext) -> Response:
        """Return the response to OPTIONS, with the URL's methods in `Allow`."""
        response: Response = self.response_class()
        assert ctx.url_adapter is not None
        response.allow.update(ctx.url_adapter.allowed_methods())
        return response
