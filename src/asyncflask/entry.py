"""How servers call an app, over ASGI with three arguments or WSGI with two, even if
`Flask.__call__` was replaced.

Monitoring libraries and subclasses replace it with WSGI functions. Python looks `__call__` up
in the class, and a function of two arguments cannot be called with three. So the class of
`Flask` wraps the function in one that accepts both; under ASGI, the function then acts as WSGI
middleware around the app.
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
"""The last change of any app or app class: a new object whenever an attribute is set that plans
depend on. (Not a counter: two threads may change apps at once.)"""


def note_change() -> None:
    """Record that an attribute was set or deleted."""
    CHANGES["last"] = object()


F = TypeVar("F", bound=Callable[..., Any])


def marked_async(func: F) -> F:
    """Mark *func*, which returns a coroutine, as a coroutine function. That is how servers tell
    ASGI 3 from ASGI 2 and WSGI."""
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(func)
    else:
        func._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
    return func


def is_async(func: object) -> bool:
    """Return `True` if servers treat *func* as a coroutine function."""
    if sys.version_info >= (3, 12):
        return inspect.iscoroutinefunction(func)
    return asyncio.iscoroutinefunction(func)


def arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Return the arguments of a call by position. Raises `TypeError` if they are neither WSGI's
    nor ASGI's."""
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
    """The metaclass of `Flask`. (Based on `ABCMeta`, so that a subclass may be abstract.)"""

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
    except ValueError:  # its signature is unknown
        return func
    if takes_scope and is_async(func):
        return func

    @wraps(func)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        if takes_scope:  # in any form, such as `*args`
            return func(self, *args, **kwargs)
        args = arguments(args, kwargs)
        if len(args) == 2:
            return func(self, *args)
        return self._called_round(func, *args)

    return marked_async(__call__)


class _AsgiMethod:
    """The method `asgi_app`. Accessing it gives an object rather than a bound method, which
    some middleware (Sentry's) takes for an ASGI 2 app."""

    def __init__(self, func: Callable[..., Awaitable[None]]) -> None:
        self.func = func
        update_wrapper(self, func)

    def __get__(self, app: Any, owner: Any = None) -> Any:
        return self if app is None else BoundAsgiApp(self.func, app)

    def __call__(self, app: object, *args: object) -> Awaitable[None]:
        return self.func(app, *args)


class BoundAsgiApp:
    """The ASGI application of one app, without the middleware around it."""

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
