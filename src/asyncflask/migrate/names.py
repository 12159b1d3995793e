"""The tables of `migrate`: what the names of Flask, Quart and Flask-SocketIO are called here."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from typing import Final, NamedTuple

PACKAGES: Final = {
    "flask": "asyncflask",
    "quart": "asyncflask",
    "flask_socketio": "asyncflask.socketio",
}

_CLIENT: Final = "asyncflask.async_testing.AsyncClient"
_SESSION: Final = "asyncflask.asgi.client.WebSocketSession"

RENAMED: Final = {
    "quart.Quart": "asyncflask.Flask",
    "quart.app.Quart": "asyncflask.app.Flask",
    "quart.Websocket": "asyncflask.asgi.websocket.WebSocket",
    "quart.wrappers.Websocket": "asyncflask.asgi.websocket.WebSocket",
    "quart.ResponseReturnValue": "asyncflask.typing.ResponseReturnValue",
    "quart.after_this_websocket": "asyncflask.after_this_request",
    "quart.datastructures.FileStorage": "werkzeug.datastructures.FileStorage",
    "quart.testing.QuartClient": _CLIENT,
    "quart.testing.client.QuartClient": _CLIENT,
    "quart.typing.TestClientProtocol": _CLIENT,
    "quart.testing.TestWebsocketConnection": _SESSION,
    "quart.testing.connections.TestWebsocketConnection": _SESSION,
    "quart.typing.TestWebsocketConnectionProtocol": _SESSION,
    "quart.testing.WebsocketResponseError": "asyncflask.async_testing.WebSocketDenied",
    "quart.testing.connections.WebsocketResponseError": "asyncflask.async_testing.WebSocketDenied",
    "quart.utils.run_sync": "asyncflask.run_sync",
    **{
        f"{package}.{name}": f"markupsafe.{name}"
        for package in ("quart", "flask")
        for name in ("escape", "Markup")
    },
}
"""Full names that are elsewhere or have another name."""

SAYS: Final = {
    "quart.copy_current_app_context": "tasks inherit the context; in a thread, write 'with"
    " app.app_context():'",
    "quart.flask_patch": "extensions need 'asyncflask.install_as_flask()' in the first lines",
    "quart.make_push_promise": "browsers no longer support HTTP/2 push",
    "quart.signals_available": "signals are always available",
    "quart.websocket_started": "connect to 'request_started', which is sent for WebSockets too",
    "quart.websocket_tearing_down": "connect to 'request_tearing_down', which is sent for"
    " WebSockets too",
    "quart.got_websocket_exception": "connect to 'got_request_exception', which is sent for"
    " WebSockets too",
    "quart.websocket_finished": "connect to 'request_tearing_down'",
    "quart.utils.run_sync_iterable": "return the sync iterator; a thread runs it",
}
"""What to write instead of full names that do not exist here."""

REMARKS: Final = {
    "asyncflask.async_testing.WebSocketDenied": "It is raised when the client connects, at"
    " 'async with'.",
}
"""Further remarks on full names here."""

VALUES: Final = frozenset(
    f"quart.request.{name}"
    for name in ("data", "files", "form", "json", "values", "get_data", "get_json")
)
"""Attributes and methods of a request that are awaited in Quart, and are or return values here."""

_COROUTINES: Final = {
    "helpers": ("flash", "make_response", "send_file", "send_from_directory"),
    "templating": (
        "render_template",
        "render_template_string",
        "stream_template",
        "stream_template_string",
    ),
}
COROUTINES: Final = frozenset(
    f"{module}.{name}"
    for submodule, names in _COROUTINES.items()
    for module in ("quart", f"quart.{submodule}")
    for name in names
)
"""Coroutine functions in Quart that are sync here."""

OF_APP: Final = frozenset(
    {"dispatch_request", "do_teardown_appcontext", "do_teardown_request", "finalize_request"}
    | {"full_dispatch_request", "handle_exception", "handle_http_exception"}
    | {"handle_user_exception", "make_default_options_response", "make_response"}
    | {"open_instance_resource", "open_resource", "preprocess_request", "process_response"}
    | {"send_static_file", "update_template_context"}
)
"""Coroutine methods of Quart's app or blueprint that are sync here."""

OF_RESPONSE: Final = frozenset(
    {"add_etag", "data", "freeze", "get_data", "get_json", "json", "make_conditional"}
)
"""What is awaited on a response in Quart, but not here."""

OF_WEBSOCKET: Final = frozenset(
    {"accept", "close", "receive", "receive_json", "requested_subprotocols", "send", "send_json"}
)
"""What `websocket` has in both frameworks."""

ON_APP_ONLY_IN_QUART: Final = {
    "run_task": "write 'await uvicorn.Server(uvicorn.Config(app)).serve()'",
    "startup": "write 'async with AsyncClient(app):', or 'asyncflask.asgi.lifespan.lifespan(app)'",
    "shutdown": "write 'async with AsyncClient(app):', or"
    " 'asyncflask.asgi.lifespan.lifespan(app)'",
    "ensure_async": "remove it where asyncflask calls the function; elsewhere, write 'await"
    " run_sync(f, ...)' for a 'def' function",
}

CONFIG: Final = {
    "PREFER_SECURE_URLS": "write PREFERRED_URL_SCHEME = 'https'",
    "BODY_TIMEOUT": "has no effect; in a view write 'async with asyncio.timeout(60):'",
    "RESPONSE_TIMEOUT": "has no effect; in a view write 'async with asyncio.timeout(60):'",
}
"""Quart's config keys, and what to write instead."""

CONFIG_RENAMED: Final = {"BACKGROUND_TASK_SHUTDOWN_TIMEOUT": "SHUTDOWN_TIMEOUT"}


class Target(NamedTuple):
    module: str
    name: str


def target_of(module: str, name: str) -> Target | None:
    """Return where *name* of a module of Flask, Quart or Flask-SocketIO is here, or `None`."""
    full = f"{module}.{name}"
    if full in RENAMED:
        return Target(*RENAMED[full].rsplit(".", 1))
    ours = module_of(module)
    if ours is None or full in SAYS or not _has(ours, name):
        return None
    return Target(ours, name)


def module_of(module: str) -> str | None:
    """Return the module here for one of Flask, Quart or Flask-SocketIO. `None` if there is
    none, or it is not a module of theirs."""
    top, dot, rest = module.partition(".")
    if top not in PACKAGES:
        return None
    ours = PACKAGES[top] + dot + rest
    return ours if ours == PACKAGES[top] or _exists(ours) else None


@cache
def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


@cache
def _has(module: str, name: str) -> bool:
    try:
        if hasattr(importlib.import_module(module), name):
            return True
    except ImportError:  # its extra is not installed
        return True
    return _exists(f"{module}.{name}")
