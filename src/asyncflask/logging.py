"""The app's logger, and where it writes when nobody configured logging."""

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
    """The error stream of the moment: that of the current request if it came with a WSGI
    environ (its ``wsgi.errors``, PEP 3333), otherwise :data:`sys.stderr`.

    In a logging configuration: ``ext://asyncflask.logging.wsgi_errors_stream``.
    """
    ctx = _cv_request.get(None)

    if ctx is not None:
        # Only what is there already: to make an environ costs more than the log message.
        origin = (getattr(ctx.request, "asgi_scope", None) or {}).get(ORIGIN)
        environ = vars(ctx.request).get("environ") if origin is None else origin.environ

        if environ is not None and "wsgi.errors" in environ:
            stream: TextIO = environ["wsgi.errors"]
            return stream

    return sys.stderr


def has_level_handler(logger: logging.Logger) -> bool:
    """Whether some handler, of the logger or above it, takes messages of the logger's level."""
    level = logger.getEffectiveLevel()
    current: logging.Logger | None = logger

    while current is not None:
        if any(handler.level <= level for handler in current.handlers):
            return True

        current = current.parent if current.propagate else None

    return False


#: Writes to :data:`wsgi_errors_stream`; an app's logger has it if nothing else is configured.
default_handler = logging.StreamHandler(cast(TextIO, wsgi_errors_stream))
default_handler.setFormatter(
    logging.Formatter("[%(asctime)s] %(levelname)s in %(module)s: %(message)s")
)


def create_logger(app: Flask) -> logging.Logger:
    """The logger of the app's name.

    In debug mode its level becomes ``DEBUG``, unless it has one. It gets the
    :data:`default_handler` unless it, or a logger above it, has a handler for its level.
    """
    logger = logging.getLogger(app.name)

    if app.debug and not logger.level:
        logger.setLevel(logging.DEBUG)

    if not has_level_handler(logger):
        logger.addHandler(default_handler)

    return logger
