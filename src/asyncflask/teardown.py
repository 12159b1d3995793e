"""What is called when a context ends: all of it, whatever it raises."""

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
"""A function, and whether it is asynchronous."""


class Teardown(NamedTuple):
    """The functions that one context runs at its end, the signal that follows them, and the name
    of the context."""

    functions: tuple[Hook, ...]
    signal: NamedSignal
    context: str


KEEP_CONTEXT: Final = "asyncflask.keep_context"
"""In a scope: called with a copy of the `contextvars.Context` of a request that has failed, before
its teardown. The debugger evaluates code in it."""

SILENT: Final = NamedSignal("nobody")
"""For a method in the place of a step: if it calls that, the step sends the signal."""


def is_bound_to_thread(ctx: RequestContext) -> bool:
    """Whether sync code is still to tear *ctx* down: it may close what can only be used on the
    thread that opened it, as a connection of `sqlite3`."""
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
    """Call all functions of *teardown* with *exc*, whatever they raise, and send its signal.
    What they raise is added to *errors*: a cancellation too, for the others still have to run.
    *ctx*: if it needed no driver so far, async functions need none."""
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
    """One error as it is; of several, what is no `Exception` before a group of all."""
    for error in errors:
        if len(errors) == 1 or not isinstance(error, Exception):
            return error
    return BaseExceptionGroup(f"Errors during {name} teardown", errors)
