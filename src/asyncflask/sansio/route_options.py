"""Route options beyond those of Werkzeug's `Rule`, and errors for options that contradict each
other."""

from __future__ import annotations

import typing as t
from types import FunctionType

from ..asgi.websocket_rules import WebSocketOptions

ROUTE_OPTIONS: t.Final[dict[str, t.Any]] = {
    "stream": False,
    "cancel_on_disconnect": None,
    "timeout": None,
    "allowed_origins": None,
    "max_content_length": None,
}
"""Route options beyond those of Werkzeug's `Rule`, with their defaults. They become attributes
of the rule. Rules added directly to `url_map` do not have them."""


def check_parentheses(argument: object, decorator: str, example: str = '"/path"') -> None:
    """Raise `TypeError` if a decorator was written without parentheses, and so received the
    function as its *argument*."""
    if isinstance(argument, FunctionType):
        raise TypeError(
            f"The decorator of {argument.__name__!r} needs an argument. Write"
            f" {decorator}({example})."
        )


def check_websocket_options(rule: str, methods: t.Any, attributes: dict[str, t.Any]) -> None:
    if methods is not None and (
        isinstance(methods, str) or {method.upper() for method in methods} != {"GET"}
    ):
        raise TypeError(
            f"A WebSocket handshake is always a GET, but the rule {rule!r} has"
            f" methods={methods!r}. Remove that option, and register a view for other methods at"
            f" the same URL: @app.route({rule!r}, methods=...)."
        )
    if attributes["stream"]:
        raise TypeError(
            "'stream' streams a request body, but a WebSocket has none. Remove it from the"
            f" rule {rule!r} and iterate over the messages."
        )
    if attributes["timeout"] is not None:
        raise TypeError(
            f"'timeout' is an option of HTTP routes, but {rule!r} is a WebSocket, which lasts"
            " as long as its client. Write 'websocket.receive(timeout=...)' in the handler."
        )
    if attributes["max_content_length"] is not None:
        raise TypeError(
            "'max_content_length' limits a request body, but a WebSocket has none. For its"
            f" messages, write @app.websocket({rule!r}, max_message_size=...)."
        )
    if isinstance(attributes["allowed_origins"], str):
        raise TypeError(
            "'allowed_origins' must be a collection of strings. Write"
            f" allowed_origins=[{attributes['allowed_origins']!r}]."
        )


def check_http_options(rule: str, attributes: dict[str, t.Any]) -> None:
    timeout = attributes["timeout"]
    if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
        raise TypeError(f"'timeout' of {rule!r} must be a number of seconds, not {timeout!r}.")
    limit = attributes["max_content_length"]
    if limit is not None and (type(limit) is not int or limit < 0):
        raise TypeError(
            f"'max_content_length' must be a number of bytes, not {limit!r}. Write"
            f" @app.post({rule!r}, max_content_length=1_000_000)."
        )
    for name in ("allowed_origins", *WebSocketOptions.__slots__):
        if attributes.get(name) is not None:
            raise TypeError(
                f"{name!r} is a WebSocket option, but {rule!r} is an HTTP route. Write"
                f" @app.websocket({rule!r}, {name}=...). For HTTP, see CORS."
            )
