"""The app's logger, and the handler that it gets if logging is not configured."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, TextIO, cast

from werkzeug.local import LocalProxy

from .asgi.scope import ORIGIN
from .ctx import _cv_request

if TYPE_CHECKING:
    from .app import Flask


@LocalProxy
def wsgi_errors_stream() -> TextIO:
    """The error stream for log messages: the ``wsgi.errors`` (PEP 3333) of the current request
    if it has a WSGI environ, otherwise :data:`sys.stderr`.

    Use it in a logging configuration as ``ext://asyncflask.logging.wsgi_errors_stream``.
    """
    ctx = _cv_request.get(None)

    if ctx is not None:
        # Never creates an environ, which would cost more than the log message.
        origin = (getattr(ctx.request, "asgi_scope", None) or {}).get(ORIGIN)
        environ = vars(ctx.request).get("environ") if origin is None else origin.environ

        if environ is not None and "wsgi.errors" in environ:
            stream: TextIO = environ["wsgi.errors"]
            return stream

    return sys.stderr


def has_level_handler(logger: logging.Logger) -> bool:
    """Return ``True`` if the logger, or one above it, has a handler for the logger's level."""
    level = logger.getEffectiveLevel()
    current: logging.Logger | None = logger

    while current is not None:
        if any(handler.level <= level for handler in current.handlers):
            return True

        current = current.parent if current.propagate else None

    return False


#: Writes to :data:`wsgi_errors_stream`. The app's logger gets it if logging is not configured.
default_handler = logging.StreamHandler(cast(TextIO, wsgi_errors_stream))
default_handler.setFormatter(
    logging.Formatter("[%(asctime)s] %(levelname)s in %(module)s: %(message)s")
)


def create_logger(app: Flask) -> logging.Logger:
    """Return the logger with the app's name.

    In debug mode, set its level to ``DEBUG`` unless it has a level. Add the
    :data:`default_handler` unless the logger, or one above it, has a handler for its level.
    """
    logger = logging.getLogger(app.name)

    if app.debug and not logger.level:
        logger.setLevel(logging.DEBUG)

    if not has_level_handler(logger):
        logger.addHandler(default_handler)

    return logger
