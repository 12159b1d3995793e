"""The signals that the framework itself sends, by blinker.

The senders are elsewhere; extensions take ``Namespace`` from here for their signals.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from blinker import NamedSignal
from blinker import Namespace as Namespace

from .asgi.waiting import call_here, drive

# Not for extensions: two packages that choose one name would share one signal.
_signals = Namespace()

#: Rendering: sent with ``template`` and ``context``, after and before.
template_rendered = _signals.signal("template-rendered")
before_render_template = _signals.signal("before-render-template")

#: A request: before its first hook, with the final ``response``, at teardown with ``exc``.
request_started = _signals.signal("request-started")
request_finished = _signals.signal("request-finished")
request_tearing_down = _signals.signal("request-tearing-down")

#: An exception that no error handler took; sent with ``exception``.
got_request_exception = _signals.signal("got-request-exception")

#: The app context: pushed, at teardown with ``exc``, popped.
appcontext_tearing_down = _signals.signal("appcontext-tearing-down")
appcontext_pushed = _signals.signal("appcontext-pushed")
appcontext_popped = _signals.signal("appcontext-popped")

#: ``flash()`` was called; sent with ``message`` and ``category``.
message_flashed = _signals.signal("message-flashed")


def send(signal: NamedSignal, sender: object, **kwargs: object) -> None:
    """Send *signal* from sync code and wait for async receivers. Raises `RuntimeError` on the loop
    if there is an async receiver, since nothing can wait for it there."""
    if signal.receivers:
        drive(emit(signal, sender, call_here, **kwargs))


async def emit(
    signal: NamedSignal, sender: object, call: Callable[..., Awaitable[Any]], **kwargs: object
) -> None:
    """Send *signal* from the pipeline: sync and async receivers, each by *call*."""
    if not signal.is_muted:
        for receiver in signal.receivers_for(sender):
            await call(receiver, sender, **kwargs)
