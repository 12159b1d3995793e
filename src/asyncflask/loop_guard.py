"""`LoopGuard`: names the code of an app that blocks the event loop.

It is on in debug mode, or as the `LOOP_GUARD` setting says, from the app's start to its end
(`lifetime.py`); tests have it as a fixture (`pytest_plugin.py`). If it is off, it costs
nothing: no thread, no patches, no work per request. If it is on, requests are counted.

`asgi/watchdog.py` detects that a loop is blocked; `blocking.py` finds out what to write
instead.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from asyncio import _get_running_loop
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import CellType, CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from weakref import WeakKeyDictionary

from starlette.types import Send

from .asgi.watchdog import Frames, Watchdog
from .blocking import (
    Call,
    Line,
    advice,
    call_in,
    innermost,
    is_users,
    line_of,
    modules_of,
    shown,
    waits_on_purpose,
)
from .contexts import RequestContext

if TYPE_CHECKING:
    from .app import Flask

DEBUG_SECONDS: Final = 0.1
"""The default of `LOOP_GUARD` in debug mode: asyncio's `slow_callback_duration`."""

AGAIN_SECONDS: Final = 60.0
"""Seconds before the same place is named again."""

Flow = Callable[..., Any]


class Block(NamedTuple):
    """Code that blocked the loop."""

    who: str
    """The view, hook, handler or task, such as ``view 'index' (/)``."""
    line: Line
    source: str
    """The source of the line."""
    seconds: float
    waited: int
    """How many requests were in progress, or arrived, in the meantime."""
    advice: str

    def __str__(self) -> str:
        waited = {0: "no request", 1: "1 request"}.get(self.waited, f"{self.waited} requests")
        source = f": {self.source}" if self.source else ""
        return (
            f"{self.who[0].upper()}{self.who[1:]} blocked the event loop for"
            f" {self.seconds * 1000:.0f} ms while {waited} waited, at {shown(self.line)} in"
            f" {self.line.function}{source}. {self.advice}"
        )


class _Looked(NamedTuple):
    """What was found out about a place while it blocked the loop."""

    who: str
    call: Call
    advice: str
    waited: int
    came: int


class LoopGuard:
    """Watches the loops that serve *app*, and passes what blocks one for *seconds* to *report*.
    By default that logs a warning, once a minute per line of code."""

    def __init__(
        self, app: Flask, seconds: float, report: Callable[[Block], object] | None = None
    ) -> None:
        if not seconds > 0:
            raise ValueError(
                f"LOOP_GUARD must be a number of seconds above 0, or None, not {seconds!r}."
            )
        self._app = app
        self._seconds = seconds
        self._report = report or self._log
        self._inside: set[RequestContext] = set()
        self._came = 0
        self._logged: dict[tuple[str, int], float] = {}
        self._watchdogs: dict[asyncio.AbstractEventLoop, Watchdog] = {}
        self._tests: CodeType | None = None

    @classmethod
    def of_config(cls, app: Flask) -> Self | None:
        """Create the guard that the app's config asks for, or `None`."""
        seconds = app.config["LOOP_GUARD"]
        if seconds is None:
            seconds = DEBUG_SECONDS if app.debug else 0
        return cls(app, seconds) if seconds else None

    @contextmanager
    def installed(self, test: Callable[..., object] | None = None) -> Iterator[Self]:
        """Within the block, watch each loop on which the app receives a request. *test*: a
        function that may block it, outside of requests."""
        self._tests = getattr(inspect.unwrap(test), "__code__", None) if test else None
        before, self._app._loop_guard = self._app._loop_guard, self
        try:
            yield self
        finally:
            self._app._loop_guard = before
            for watchdog in self._watchdogs.values():
                watchdog.stop()
            self._watchdogs.clear()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch *loop*, which must be the running one."""
        guard = _guards.get(loop)
        if guard is not None and loop in guard._watchdogs:  # by an app mounted in this one
            guard._watchdogs[loop].stop()
        _guards[loop] = self
        self._watchdogs[loop] = Watchdog(loop, self._seconds, self)

    # -- for each request, while the guard is on

    def counting(self, flow: Flow) -> Flow:
        """Wrap *flow* to count it and watch its loop."""
        return partial(self._counted, flow)

    async def _counted(self, flow: Flow, app: Flask, ctx: RequestContext, send: Send) -> None:
        loop = _get_running_loop()
        if loop is not None and loop not in self._watchdogs:
            self.watch(loop)
        if ctx.scope["type"] != "http":  # an open WebSocket does not count as waiting
            await flow(app, ctx, send)
            return
        self._came += 1
        self._inside.add(ctx)
        try:
            await flow(app, ctx, send)
        finally:
            self._inside.discard(ctx)

    # -- on the watchdog's thread

    def bottom(self, frames: Frames) -> FrameType:
        """Return the request's frame: in tests, many requests may follow in one step of the
        loop."""
        return next((frame for frame in frames if frame.f_code is _COUNTED), frames[0])

    def place(self, frames: Frames) -> Line | None:
        """Return the user's line; while the framework processes a view's value, the view's
        line."""
        if waits_on_purpose(frames):
            return None
        ctx = _context_of(frames)
        if ctx is None and any(frame.f_code is self._tests for frame in frames):
            return None
        index = innermost(frames, self._app.root_path)
        if index is not None:
            return line_of(frames[index])
        for code in () if ctx is None else _codes_of(self._view_of(ctx)):
            return Line(code.co_filename, code.co_firstlineno, code.co_qualname)
        return None

    def look(self, place: Line, frames: Frames, busy: bool) -> _Looked:
        """Find out who blocks and who waits, while the frames exist."""
        index = innermost(frames, self._app.root_path)
        ctx = _context_of(frames)
        if index is None:
            # The slow part of that is JSON, whichever part of it is running.
            names = (*modules_of(frames), "asyncflask.json")
            call = Call("making its return value a response", names)
        else:
            call = call_in(frames, index, place)
        waited = len(self._inside) - (ctx in self._inside)
        return _Looked(self._who(frames, ctx), call, advice(call, busy), waited, self._came)

    def report(self, place: Line, looked: _Looked, seconds: float) -> None:
        """Pass the block on."""
        waited = looked.waited + self._came - looked.came
        call = looked.call.source
        self._report(Block(looked.who, place, call, seconds, waited, looked.advice))

    def _log(self, block: Block) -> None:
        now = time.monotonic()
        place = block.line.file, block.line.number
        if place not in self._logged or now - self._logged[place] > AGAIN_SECONDS:
            self._logged[place] = now
            self._app.logger.warning("%s", block)

    # -- who it is

    def _view_of(self, ctx: RequestContext) -> Any:
        rule = ctx.match[0]
        return None if rule is None else self._app.view_functions.get(rule.endpoint)

    def _who(self, frames: Frames, ctx: RequestContext | None) -> str:
        """Return the first function on the stack that is registered with the app or is the
        user's."""
        registered = {
            code: who
            for who, func in self._registered()
            if func is not None
            for code in _codes_of(func)
        }
        root = self._app.root_path
        for frame in frames:
            code = frame.f_code
            if code in registered:
                return registered[code]
        if ctx is not None and (view := self._view_of(ctx)) is not None:
            return next((who for who, func in self._registered() if func is view), "a view")
        for frame in frames:
            if is_users(frame.f_code, root):
                name = frame.f_code.co_qualname
                if any(is_background_task(frame) for frame in frames):
                    return f"background task {name!r}"
                return f"function {name!r}"
        return "something"

    def _registered(self) -> Iterator[tuple[str, Any]]:
        app = self._app
        rules: dict[str, Any] = {}
        for each in app.url_map.iter_rules():
            rules.setdefault(each.endpoint, each)
        # Copies: other threads may register something.
        for endpoint, func in list(app.view_functions.items()):
            rule = rules.get(endpoint)
            kind = "WebSocket handler" if getattr(rule, "websocket", False) else "view"
            yield f"{kind} {endpoint!r}" + (f" ({rule.rule})" if rule is not None else ""), func
        for name, registry in _HOOKS.items():
            hooks: Any = getattr(app, registry)
            for functions in list(hooks.values()) if isinstance(hooks, dict) else [hooks]:
                for func in list(functions):
                    yield f"{name} function {getattr(func, '__qualname__', func)!r}", func
        for by_code in list(app.error_handler_spec.values()):
            for handlers in list(by_code.values()):
                for func in list(handlers.values()):
                    yield f"error handler {getattr(func, '__qualname__', func)!r}", func


_HOOKS: Final = {
    "before_request": "before_request_funcs",
    "after_request": "after_request_funcs",
    "teardown_request": "teardown_request_funcs",
    "teardown_appcontext": "teardown_appcontext_funcs",
    "url_value_preprocessor": "url_value_preprocessors",
    "context_processor": "template_context_processors",
}


def _context_of(frames: Frames) -> RequestContext | None:
    """Return the context of the request whose step is running, or `None`."""
    for frame in frames:
        if frame.f_code is _COUNTED:
            ctx: RequestContext = frame.f_locals["ctx"]
            return ctx
    return None


_COUNTED: Final = LoopGuard._counted.__code__


def is_background_task(frame: FrameType) -> bool:
    """Return `True` if *frame* is where `lifetime` runs a background task."""
    return frame.f_code.co_qualname.startswith("start_background_task.")


def _codes_of(func: Any, depth: int = 3) -> Iterator[CodeType]:
    """Yield the code of *func* and of what it wraps: by `functools.wraps`, in a closure, as a
    bound method, a `partial`, an object with `__call__`, or a view class."""
    view_class = getattr(func, "view_class", None)
    if view_class is not None:
        for name in (*map(str.lower, view_class.methods or ()), "dispatch_request"):
            method = getattr(view_class, name, None)
            if inspect.isfunction(method):
                yield method.__code__
    if isinstance(func, partial):
        func = func.func
    func = getattr(func, "__func__", func)
    if not inspect.isfunction(func):
        func = vars(type(func)).get("__call__")
    if not inspect.isfunction(func):
        return
    yield func.__code__
    if depth:
        inner = [cell.cell_contents for cell in func.__closure__ or () if _is_filled(cell)]
        for value in (getattr(func, "__wrapped__", None), *inner):
            if inspect.isfunction(value) or inspect.ismethod(value):
                yield from _codes_of(value, depth - 1)


def _is_filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


_guards: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopGuard] = WeakKeyDictionary()
"""The guard that watches each loop. There is one per loop."""
