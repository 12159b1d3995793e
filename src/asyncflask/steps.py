"""The steps of a request as methods of the app, for sync code: an override calls them by
`super()`, a test calls them itself.

The steps are in `dispatch.py`. Each method takes Flask 3.1's arguments, or the context before them
as in Flask 3.2.
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
    """A step's method, which Flask 3.2 gives the context first and Flask 3.1 does not."""
    current = _CURRENT.get(method.__name__, current_request_ctx)

    @wraps(method)
    def call(self: object, *args: object, **kwargs: object) -> T:
        if args and isinstance(args[0], (RequestContext, AppContext)):
            ctx, *args = args  # type: ignore[assignment]
        else:
            ctx = kwargs.pop("ctx") if "ctx" in kwargs else current()
        if isinstance(ctx, RequestContext):
            ctx.current_plan()  # it may have been made long ago
        return method(self, ctx, *args, **kwargs)

    signature = inspect.signature(method)
    call.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[p for p in signature.parameters.values() if p.name != "ctx"]
    )
    return call


class Steps(metaclass=AppType):
    """What `Flask` has of its steps."""

    @_with_ctx
    def full_dispatch_request(self: Any, ctx: RequestContext) -> Response:
        """Run hooks, view and error handlers. Returns the response."""
        return drive(dispatch.full_dispatch_request(self, ctx, call_here))  # type: ignore[no-any-return]

    @_with_ctx
    def preprocess_request(self: Any, ctx: RequestContext) -> Any:
        """Run the `before_request` functions. Returns the value of the first that has one."""
        return drive(dispatch.preprocess_request(self, ctx, call_here))

    @_with_ctx
    def dispatch_request(self: Any, ctx: RequestContext) -> Any:
        """Call the view of the matched rule. Returns its value; raises the routing exception if
        no rule matched."""
        return drive(dispatch.dispatch_request(self, ctx, call_here))

    @_with_ctx
    def handle_http_exception(self: Any, ctx: RequestContext, e: HTTPException) -> Any:
        """Call the error handler for *e*. Returns its value, or *e* if there is none."""
        return drive(dispatch.handle_http_exception(self, ctx, call_here, e))

    @_with_ctx
    def handle_user_exception(self: Any, ctx: RequestContext, e: Exception) -> Any:
        """Call the error handler for *e*. Returns its value; raises *e* if there is none."""
        return drive(dispatch.handle_user_exception(self, ctx, call_here, e))

    @_with_ctx
    def handle_exception(self: Any, ctx: RequestContext, e: Exception) -> Response:
        """The response to an exception that no handler took: a 500, or it is raised again."""
        return drive(dispatch.handle_exception(self, ctx, call_here, e))  # type: ignore[no-any-return]

    @_with_ctx
    def finalize_request(
        self: Any, ctx: RequestContext, rv: Any, from_error_handler: bool = False
    ) -> Response:
        """Make the response of a view's return value, and run the `after_request` functions."""
        return drive(  # type: ignore[no-any-return]
            dispatch.finalize_request(self, ctx, call_here, rv, from_error_handler)
        )

    def make_response(self: Any, rv: Any) -> Response:
        """Make the response of a view's return value: `str`, `bytes`, `dict`, `list`, an iterator,
        an asynchronous iterator, a response of Werkzeug or Starlette, a WSGI callable, or a tuple
        of one of these with status and headers. Raises `TypeError` for anything else."""
        return respond.make_response(self, _cv_request.get(None), rv)  # type: ignore[no-any-return]

    @_with_ctx
    def process_response(self: Any, ctx: RequestContext, response: Response) -> Response:
        """Run the `after_request` functions, and save the session."""
        return drive(dispatch.process_response(self, ctx, call_here, response))  # type: ignore[no-any-return]

    @_with_ctx
    def do_teardown_request(
        self: Any, ctx: RequestContext, exc: BaseException | None = _sentinel
    ) -> None:
        """Run the `teardown_request` functions; *exc* is by default the current exception."""
        exc = sys.exception() if exc is _sentinel else exc
        drive(dispatch.do_teardown_request(self, ctx, call_here, exc))

    @_with_ctx
    def do_teardown_appcontext(
        self: Any, ctx: AppContext, exc: BaseException | None = _sentinel
    ) -> None:
        """Run the `teardown_appcontext` functions; *exc* is by default the current exception."""
        exc = sys.exception() if exc is _sentinel else exc
        drive(dispatch.do_teardown_appcontext(self, ctx, call_here, exc))

    @_with_ctx
    def update_template_context(self: Any, ctx: Any, context: dict[str, Any]) -> None:
        """Add to *context* what the context processors return."""
        drive(dispatch.update_template_context(self, ctx, call_here, context))

    @_with_ctx
    def log_exception(self: Any, ctx: RequestContext, exc_info: Any) -> None:
        """Log an exception that became a 500."""
        req = ctx.request
        self.logger.error("Exception on %s [%s]", req.path, req.method, exc_info=exc_info)

    @_with_ctx
    def make_default_options_response(self: Any, ctx: RequestContext) -> Response:
        """The answer to OPTIONS: what methods the URL has."""
        response: Response = self.response_class()
        assert ctx.url_adapter is not None
        response.allow.update(ctx.url_adapter.allowed_methods())
        return response
