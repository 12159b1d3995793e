"""The signals that the framework sends, made with blinker, and the functions to send them.
Extensions import ``Namespace`` from here for their own signals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from blinker import NamedSignal
from blinker import Namespace as Namespace

from .asgi.waiting import call_here, drive

# Not for extensions: two packages that choose the same name would share a signal.
_signals = Namespace()

#: Sent after and before a template is rendered, with ``template`` and ``context``.
template_rendered = _signals.signal("template-rendered")
before_render_template = _signals.signal("before-render-template")

#: Sent before a request's first hook; with the final ``response``; at teardown, with ``exc``.
request_started = _signals.signal("request-started")
request_finished = _signals.signal("request-finished")
request_tearing_down = _signals.signal("request-tearing-down")

#: Sent with ``exception`` if no error handler handled it.
got_request_exception = _signals.signal("got-request-exception")

#: Sent when the app context is torn down, with ``exc``; after it is pushed; after it is popped.
appcontext_tearing_down = _signals.signal("appcontext-tearing-down")
appcontext_pushed = _signals.signal("appcontext-pushed")
appcontext_popped = _signals.signal("appcontext-popped")

#: Sent by ``flash()``, with ``message`` and ``category``.
message_flashed = _signals.signal("message-flashed")


def send(signal: NamedSignal, sender: object, **kwargs: object) -> None:
    """Send *signal* from sync code and wait for async receivers. Raises `RuntimeError` on the loop
    if there is an async receiver, since nothing can wait for it there."""
    if signal.receivers:
        drive(emit(signal, sender, call_here, **kwargs))


async def emit(
    signal: NamedSignal, sender: object, call: Callable[..., Awaitable[Any]], **kwargs: object
) -> None:
    """Send *signal* from the pipeline. *call* calls each receiver, sync or async."""
    if not signal.is_muted:
        for receiver in signal.receivers_for(sender):
            await call(receiver, sender, **kwargs)
