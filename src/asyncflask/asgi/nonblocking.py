"""Sync functions that never block: those that their author has marked may run on the loop."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial, update_wrapper
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_MARK: Final = "__asyncflask_nonblocking__"


def nonblocking(func: F) -> F:
    """Mark a sync hook as one that never blocks. Around an `async def` view it runs on the event
    loop, which saves the request a thread, unless a sync function of the request has run before.

    It must not wait for anything (a database, a file, the network, a lock, `time.sleep`), since
    every other request would wait as well, and must not create objects that belong to a thread.
    For hooks of extensions, see the setting `NONBLOCKING_HOOKS`.
    """
    setattr(func, _MARK, True)
    return func


def name_of(func: Callable[..., Any]) -> str:
    """What `NONBLOCKING_HOOKS` calls *func*: ``module:qualified.name``."""
    while isinstance(func, partial):
        func = func.func
    return f"{getattr(func, '__module__', '')}:{getattr(func, '__qualname__', '')}"


def may_run_on_loop(func: Callable[..., Any], names: Collection[str]) -> bool:
    """Whether *func* is marked, or is among *names*."""
    return getattr(func, _MARK, False) is True or (bool(names) and name_of(func) in names)


class Nonblocking:
    """A function that `Driver.call` runs on the loop, while the request has no thread."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func
        update_wrapper(self, func)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.func(*args, **kwargs)
