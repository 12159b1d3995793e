"""Flask's API on an async core. This module only has the public names."""

from __future__ import annotations

import functools
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import json
from ._version import FLASK_VERSION
from .alias import install_as_flask
from .app import Flask
from .asgi.nonblocking import nonblocking
from .blueprints import Blueprint
from .config import Config
from .ctx import (
    after_this_request,
    copy_current_request_context,
    copy_current_websocket_context,
    has_app_context,
    has_request_context,
    has_websocket_context,
    run_sync,
)
from .globals import current_app, g, request, session, websocket
from .helpers import (
    abort,
    flash,
    get_flashed_messages,
    get_template_attribute,
    make_response,
    redirect,
    send_file,
    send_from_directory,
    stream_with_context,
    url_for,
)
from .json import jsonify
from .signals import (
    appcontext_popped,
    appcontext_pushed,
    appcontext_tearing_down,
    before_render_template,
    got_request_exception,
    message_flashed,
    request_finished,
    request_started,
    request_tearing_down,
    template_rendered,
)
from .wrappers import Request, Response

if TYPE_CHECKING:
    from starlette.websockets import WebSocketDisconnect

    from .events import EventStream, ServerSentEvent
    from .templating import (
        render_template,
        render_template_async,
        render_template_string,
        render_template_string_async,
        stream_template,
        stream_template_async,
        stream_template_string,
        stream_template_string_async,
    )

__all__ = [
    "Blueprint",
    "Config",
    "EventStream",
    "Flask",
    "Request",
    "Response",
    "ServerSentEvent",
    "WebSocketDisconnect",
    "abort",
    "after_this_request",
    "appcontext_popped",
    "appcontext_pushed",
    "appcontext_tearing_down",
    "before_render_template",
    "copy_current_request_context",
    "copy_current_websocket_context",
    "current_app",
    "flash",
    "g",
    "get_flashed_messages",
    "get_template_attribute",
    "got_request_exception",
    "has_app_context",
    "has_request_context",
    "has_websocket_context",
    "install_as_flask",
    "json",
    "jsonify",
    "make_response",
    "message_flashed",
    "nonblocking",
    "redirect",
    "render_template",
    "render_template_async",
    "render_template_string",
    "render_template_string_async",
    "request",
    "request_finished",
    "request_started",
    "request_tearing_down",
    "run_sync",
    "send_file",
    "send_from_directory",
    "session",
    "stream_template",
    "stream_template_async",
    "stream_template_string",
    "stream_template_string_async",
    "stream_with_context",
    "template_rendered",
    "url_for",
    "websocket",
]

_flask_version = FLASK_VERSION

# Loaded on first use: not every app needs templates, WebSockets or event streams, and what
# they import, above all Jinja and Starlette, would take half of the import time.
_LOADED_LATER = {
    "WebSocketDisconnect": "starlette.websockets",
    "EventStream": ".events",
    "ServerSentEvent": ".events",
    "render_template": ".templating",
    "render_template_async": ".templating",
    "render_template_string": ".templating",
    "render_template_string_async": ".templating",
    "stream_template": ".templating",
    "stream_template_async": ".templating",
    "stream_template_string": ".templating",
    "stream_template_string_async": ".templating",
}
_MODULES_LOADED_LATER = ("cli", "templating", "testing")
"""Attributes that exist after importing the package alone, as in Flask."""


_loaded = functools.cache(functools.partial(import_module, package=__name__))


def __getattr__(name: str) -> Any:
    # Compared by extensions: the version of the Flask API.
    if name == "__version__":
        return _flask_version
    if name in _MODULES_LOADED_LATER:
        return import_module(f".{name}", __name__)
    if name in _LOADED_LATER:
        # Not cached: a test may temporarily replace it in that module.
        return getattr(_loaded(_LOADED_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*vars(sys.modules[__name__]), *__all__, *_MODULES_LOADED_LATER})
