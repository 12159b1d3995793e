"""Run all functions at the end of a context, whatever they raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from blinker import NamedSignal

from .alias import advise
from .asgi.threads import Call
from .asgi.waiting import call_here
from .signals import emit

if TYPE_CHECKING:
    from .app import Flask
    from .contexts import RequestContext

Hook = tuple[Callable[..., Any], bool]
"""A function, and `True` if it is async."""


class Teardown(NamedTuple):
    """The functions to run at the end of a context, the signal that follows them, and the
    context's name."""

    functions: tuple[Hook, ...]
    signal: NamedSignal
    context: str


KEEP_CONTEXT: Final = "asyncflask.keep_context"
"""Scope key. Called with a copy of a failed request's `contextvars.Context` before its
teardown; the debugger evaluates code in it."""

SILENT: Final = NamedSignal("nobody")
"""Passed to a method that replaced a step: if it calls the original, that sends the signal."""


def is_bound_to_thread(ctx: RequestContext) -> bool:
    """Return `True` if sync code has yet to tear down *ctx*. It may close things that only the
    thread that opened them can use, such as a `sqlite3` connection."""
    if not ctx._cv_tokens:
        return False
    plan = ctx.plan
    if plan is None:
        return True
    ends = (plan.end_request, plan.teardown_request), (plan.end_app, plan.teardown_app)
    return any(
        end is not known or known.signal.receivers or not all(a for _, a in known.functions)
        for end, known in ends
    )


async def tear_down(
    app: Flask,
    call: Call,
    teardown: Teardown,
    exc: BaseException | None,
    errors: list[BaseException],
    ctx: RequestContext | None = None,
) -> None:
    """Call all functions of *teardown* with *exc*, and send its signal. Exceptions, including
    cancellation, are added to *errors*, so that every function runs. *ctx*: if it has no driver
    yet, async functions do not need one."""
    functions, signal, name = teardown
    raised: list[BaseException] = []
    for func, asynchronous in functions:
        try:
            if asynchronous and ctx and ctx.driver_or_none is None and call is not call_here:
                await func(exc)
            else:
                await call(func, exc)
        except BaseException as error:
            raised.append(error)
    if signal.receivers:
        try:
            await emit(signal, app, call, exc=exc)
        except BaseException as error:
            raised.append(error)
    if raised:
        for failure in raised:
            advise(failure)
        errors.append(collected(name, raised))


def collected(name: str, errors: list[BaseException]) -> BaseException:
    """Return the exception to raise: a single one as it is, otherwise the first that is not an
    `Exception`, otherwise a group of all."""
    for error in errors:
        if len(errors) == 1 or not isinstance(error, Exception):
            return error
    return BaseExceptionGroup(f"Errors during {name} teardown", errors)
