"""How servers call an app: with ASGI's three arguments or with WSGI's two, whatever took the place
of `Flask.__call__`.

Monitoring libraries and subclasses put WSGI functions there. Python looks a call up in the class,
where a function of two arguments cannot be called with three: so the class of `Flask` puts one
there that can, and under ASGI the function is WSGI middleware round the app.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from abc import ABCMeta
from collections.abc import Awaitable, Callable
from functools import update_wrapper, wraps
from types import FunctionType
from typing import Any, TypeVar

from starlette.types import Receive, Scope, Send

WSGI = ("environ", "start_response")
ASGI = ("scope", "receive", "send")


CHANGES: dict[str, object] = {"last": object()}
"""The last change of any app, or of the class of one: another object each time that an attribute
is set of which plans are made. (No counter: two threads may change apps at once.)"""


def note_change() -> None:
    """An attribute was set, or deleted."""
    CHANGES["last"] = object()


F = TypeVar("F", bound=Callable[..., Any])


def marked_async(func: F) -> F:
    """*func*, which returns a coroutine, so that servers take it for a coroutine function: by that
    they tell ASGI 3 from ASGI 2 and WSGI."""
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(func)
    else:
        func._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
    return func


def is_async(func: object) -> bool:
    """Whether servers take *func* for a coroutine function."""
    if sys.version_info >= (3, 12):
        return inspect.iscoroutinefunction(func)
    return asyncio.iscoroutinefunction(func)


def arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments of a call, by position. Raises `TypeError` if they are neither WSGI's nor
    ASGI's."""
    count = len(args) + len(kwargs)
    names = {2: WSGI, 3: ASGI}.get(count, ())
    try:
        if names:
            return (*args, *(kwargs[name] for name in names[len(args) :]))
    except KeyError:
        pass
    raise TypeError(
        "A server calls an app with (scope, receive, send) for ASGI or (environ,"
        f" start_response) for WSGI, not with {count} arguments."
    )


class AppType(ABCMeta):
    """The class of `Flask`. (Of `ABCMeta`, so that a subclass may be abstract too.)"""

    def __init__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> None:
        super().__init__(name, bases, namespace, **kwargs)
        for name in ("__call__", "asgi_app"):
            if name in namespace:
                setattr(cls, name, namespace[name])

    def __setattr__(cls, name: str, value: object) -> None:
        if name == "__call__":
            value = _called_by_any_server(value)
        elif name == "asgi_app":
            super().__setattr__("_asgi_app", value)
            if type(value) is FunctionType:
                value = _AsgiMethod(value)
        super().__setattr__(name, value)
        note_change()

    def __delattr__(cls, name: str) -> None:
        super().__delattr__(name)
        note_change()


def _called_by_any_server(func: Any) -> Any:
    takes_scope = True
    try:
        inspect.signature(func).bind(None, *ASGI)
    except TypeError:
        takes_scope = False
    except ValueError:  # it does not say what it takes
        return func
    if takes_scope and is_async(func):
        return func

    @wraps(func)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        if takes_scope:  # in whatever form: `*args`, say
            return func(self, *args, **kwargs)
        args = arguments(args, kwargs)
        if len(args) == 2:
            return func(self, *args)
        return self._called_round(func, *args)

    return marked_async(__call__)


class _AsgiMethod:
    """`asgi_app`, which gives an object when it is bound: middleware takes a bound method for an
    app of ASGI 2 (Sentry's does)."""

    def __init__(self, func: Callable[..., Awaitable[None]]) -> None:
        self.func = func
        update_wrapper(self, func)

    def __get__(self, app: Any, owner: Any = None) -> Any:
        return self if app is None else BoundAsgiApp(self.func, app)

    def __call__(self, app: object, *args: object) -> Awaitable[None]:
        return self.func(app, *args)


class BoundAsgiApp:
    """The ASGI application of one app, without the middleware round it."""

    def __init__(self, func: Callable[..., Awaitable[None]], app: object) -> None:
        self.__wrapped__ = func
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.__wrapped__(self.app, scope, receive, send)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, BoundAsgiApp)
            and other.app is self.app
            and other.__wrapped__ is self.__wrapped__
        )

    def __hash__(self) -> int:
        return hash((id(self.app), self.__wrapped__))
