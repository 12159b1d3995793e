"""`Lazy`: an attribute that is computed when it is first read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class Lazy(Generic[T]):
    """An attribute that is computed when it is first read, unless it was set before. As
    `functools.cached_property`, without the lock that this one has in Python 3.11."""

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
        # Not by `__dict__`, which once asked for makes all attributes slower in Python 3.11.
        try:
            setattr(instance, self.name, value)
        except AttributeError:  # a subclass has a property by that name, which asks this one
            pass
        return value
