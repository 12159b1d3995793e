"""Sync functions marked as never blocking, which may run on the loop."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial, update_wrapper
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_MARK: Final = "__asyncflask_nonblocking__"


def nonblocking(func: F) -> F:
    """Mark a sync hook as never blocking. Around an `async def` view, it then runs on the event
    loop, which saves the request a thread, unless another sync function of the request ran
    before.

    It must not wait for anything (a database, a file, the network, a lock, `time.sleep`),
    because every other request would wait as well, and must not create objects that belong to a
    thread. For hooks of extensions, use the `NONBLOCKING_HOOKS` setting.
    """
    setattr(func, _MARK, True)
    return func


def name_of(func: Callable[..., Any]) -> str:
    """Return the name of *func* in `NONBLOCKING_HOOKS`: ``module:qualified.name``."""
    while isinstance(func, partial):
        func = func.func
    return f"{getattr(func, '__module__', '')}:{getattr(func, '__qualname__', '')}"


def may_run_on_loop(func: Callable[..., Any], names: Collection[str]) -> bool:
    """Return `True` if *func* is marked or listed in *names*."""
    return getattr(func, _MARK, False) is True or (bool(names) and name_of(func) in names)


class Nonblocking:
    """A function that `Driver.call` runs on the loop as long as the request has no thread."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func
        update_wrapper(self, func)

    def __call__(self, *args: object, **kwargs: object) -> Any:
        return self.func(*args, **kwargs)
