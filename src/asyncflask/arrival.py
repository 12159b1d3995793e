"""A request's arrival: push its contexts, find its rule and plan, and expect its body. `enter`
does this for most requests, without async calls; `arrive` does what it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.types import Scope
from werkzeug.exceptions import BadRequest

from .app_context import AppContext
from .asgi.scope import RECEIVED, good_hosts, malformed, normalised, route_path
from .asgi.threads import Call
from .bodies import expect_body
from .contexts import RequestContext
from .plan import Plan
from .signals import appcontext_pushed

if TYPE_CHECKING:
    from .app import Flask


def enter(app: Flask, ctx: RequestContext) -> Plan | None:
    """Push the contexts and find the rule, as far as that needs no code of the app. Return the
    request's plan, or `None` if `arrive` must do the rest."""
    setup = ctx.setup
    scope = ctx.scope
    lines = ctx.lines
    ctx.set_current(app_context_for(app, ctx) if ctx.unplanned else setup.app_context(app))
    if (
        ((lines is None or lines.get(b"host") not in good_hosts) and malformed(scope))
        or setup.request_class.trusted_hosts is not None
        or appcontext_pushed.receivers
    ):
        return None
    method = scope["method"]
    found = setup.find(route_path(scope) if scope.get("root_path") else scope["path"], method)
    if found is None or found.pending is not None:
        if setup.paths(app) is not None:
            ctx.found = found
        return None
    plan = setup.by_path.get(id(found.rule))
    if plan is None or not next(plan.same):
        plan = setup.plan_by_path(app, found.rule)
        if plan is None:
            return None
    ctx.match = found
    ctx.plan = plan
    if (
        lines is None
        or b"content-length" in lines
        or b"transfer-encoding" in lines
        or method not in _WITHOUT_BODY
    ):
        expect_body(ctx)
    scope.update(plan.in_scope, path_params=found.values)
    if RECEIVED in scope:
        tell_middleware(scope)
    return plan


def app_context_for(app: Flask, ctx: RequestContext) -> AppContext | None:
    """Return the app context to push for a request, or `None` if it shares the current one, as
    requests from a test client or WSGI do."""
    if ctx.unplanned and ctx.shared_app_context() is not None:
        return None
    return ctx.setup.app_context(app)


async def arrive(ctx: RequestContext, call: Call) -> Plan:
    """Do what `enter` left."""
    scope = ctx.scope
    ctx.scope = normalised(scope)
    if ctx.scope is not scope:
        ctx.lines = None
    if problem := malformed(ctx.scope):
        ctx.request.routing_exception = BadRequest(problem)
    if not ctx.setup.lazy_request:
        ctx.request  # noqa: B018
    look_for_body(ctx)
    await ctx.begin(call, ctx._cv_tokens[0][1])
    if ctx.request.routing_exception is None:
        await ctx.find_rule(call)
    plan = ctx.current_plan()
    if plan.in_scope:
        ctx.scope.update(plan.in_scope, path_params=ctx.request.view_args)
        tell_middleware(ctx.scope)
    return plan


def tell_middleware(scope: Scope) -> None:
    """Add the matched rule to the scopes that *scope* was copied from, which are the ones that
    ASGI middleware has."""
    told = {key: scope[key] for key in ("route", "endpoint", "path_params")}
    received: Scope | None = scope.get(RECEIVED)
    while received is not None:
        received.update(told)
        received = received.get(RECEIVED)


def look_for_body(ctx: RequestContext) -> None:
    """Expect the body, unless the request certainly has none."""
    lines = ctx.lines
    if ctx.websocket is None and (
        lines is None
        or b"content-length" in lines
        or b"transfer-encoding" in lines
        or ctx.scope["method"] not in _WITHOUT_BODY
    ):
        expect_body(ctx)


_WITHOUT_BODY = frozenset({"GET", "HEAD"})
