"""The settings of an app and their defaults. `docs/config.rst` explains them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from werkzeug.datastructures import ImmutableDict

DEFAULTS: Final[ImmutableDict[str, Any]] = ImmutableDict(
    {
        "DEBUG": None,
        "TESTING": False,
        "PROPAGATE_EXCEPTIONS": None,
        "SECRET_KEY": None,
        "SECRET_KEY_FALLBACKS": None,
        "PERMANENT_SESSION_LIFETIME": timedelta(days=31),
        "USE_X_SENDFILE": False,
        "TRUSTED_HOSTS": None,
        "SERVER_NAME": None,
        "APPLICATION_ROOT": "/",
        "SESSION_COOKIE_NAME": "session",
        "SESSION_COOKIE_DOMAIN": None,
        "SESSION_COOKIE_PATH": None,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SECURE": False,
        "SESSION_COOKIE_PARTITIONED": False,
        "SESSION_COOKIE_SAMESITE": None,
        "SESSION_REFRESH_EACH_REQUEST": True,
        "MAX_CONTENT_LENGTH": None,
        "MAX_FORM_MEMORY_SIZE": 500_000,
        "MAX_FORM_PARTS": 1_000,
        "SEND_FILE_MAX_AGE_DEFAULT": None,
        "TRAP_BAD_REQUEST_ERRORS": None,
        "TRAP_HTTP_EXCEPTIONS": False,
        "EXPLAIN_TEMPLATE_LOADING": False,
        "PREFERRED_URL_SCHEME": "http",
        "TEMPLATES_AUTO_RELOAD": None,
        "MAX_COOKIE_SIZE": 4093,
        "PROVIDE_AUTOMATIC_OPTIONS": True,
        # asyncflask's own.
        "ASYNC_MAX_CONTENT_LENGTH": 16 * 1024 * 1024,
        "CANCEL_ON_DISCONNECT": False,
        "CLIENT_TIMEOUT": 60,
        "EVENT_STREAM_KEEP_ALIVE": 15,
        "LOOP_GUARD": None,
        "MAX_THREADS": 512,
        "NONBLOCKING_HOOKS": (),
        "SHUTDOWN_TIMEOUT": 10,
        "WEBSOCKET_ALLOWED_ORIGINS": None,
        "WEBSOCKET_MAX_MESSAGE_SIZE": None,
        "WEBSOCKET_SEND_POLICY": "close",
        "WEBSOCKET_SEND_QUEUE": 1_000,
        "WEBSOCKET_SEND_QUEUE_BYTES": 1_048_576,
        "WEBSOCKET_SEND_TIMEOUT": 20,
        "WEBSOCKET_SUBPROTOCOLS": (),
        "WEBSOCKET_THREADS": 256,
        "WORKER_THREADS": 64,
    }
)
