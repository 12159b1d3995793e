"""`Lazy`: an attribute that is computed on first access."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class Lazy(Generic[T]):
    """An attribute that is computed on first access, unless it was set before. Like
    `functools.cached_property`, without the lock that this has in Python 3.11."""

    def __init__(self, func: Callable[[Any], T]) -> None:
        self.func = func
        self.name = func.__name__
        self.__doc__ = func.__doc__

    @overload
    def __get__(self, instance: None, owner: type[object]) -> Lazy[T]: ...
    @overload
    def __get__(self, instance: object, owner: type[object]) -> T: ...
    def __get__(self, instance: object | None, owner: type[object]) -> Lazy[T] | T:
        if instance is None:
            return self
        value = self.func(instance)
        # Not through `__dict__`: accessing it once slows down all attributes in Python 3.11.
        try:
            setattr(instance, self.name, value)
        except AttributeError:  # a subclass has a property with this name that uses this one
            pass
        return value
