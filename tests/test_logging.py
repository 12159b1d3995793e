"""The app's logger: its handler, its level, and the stream it writes to."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from io import StringIO

import pytest

from asyncflask import Flask
from asyncflask.logging import default_handler, has_level_handler, wsgi_errors_stream

# Stands in for the root logger, which pytest has handlers on.
TOP = logging.getLogger("logging_test")
LOGGER = logging.getLogger("logging_test.app")


@pytest.fixture(autouse=True)
def clean_loggers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process where nobody configured logging."""
    monkeypatch.setattr(TOP, "parent", None)
    TOP.setLevel(logging.WARNING)
    yield

    for logger in (TOP, LOGGER):
        logger.handlers[:] = []
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


@pytest.fixture
def app() -> Flask:
    return Flask(LOGGER.name)


def test_logger_of_the_app(app: Flask) -> None:
    assert app.logger is LOGGER
    assert app.logger.level == logging.NOTSET
    assert app.logger.handlers == [default_handler]


def test_debug_mode_sets_the_level(app: Flask) -> None:
    app.debug = True
    assert app.logger.level == logging.DEBUG


def test_debug_mode_leaves_a_level_alone(app: Flask) -> None:
    LOGGER.setLevel(logging.ERROR)
    app.debug = True
    assert app.logger.level == logging.ERROR


def test_configured_logging_is_left_alone(app: Flask) -> None:
    TOP.addHandler(logging.NullHandler())
    assert app.logger.handlers == []


def test_has_level_handler() -> None:
    assert not has_level_handler(LOGGER)
    handler = logging.NullHandler()
    TOP.addHandler(handler)
    assert has_level_handler(LOGGER)
    LOGGER.propagate = False
    assert not has_level_handler(LOGGER)
    LOGGER.propagate = True
    handler.setLevel(logging.CRITICAL)
    assert not has_level_handler(LOGGER)


class TestStream:
    def test_stderr_without_request(self) -> None:
        assert wsgi_errors_stream._get_current_object() is sys.stderr

    def test_that_of_the_request(self, app: Flask) -> None:
        stream = StringIO()

        with app.test_request_context(errors_stream=stream):
            assert wsgi_errors_stream._get_current_object() is stream

    def test_environ_is_not_made_for_it(self, app: Flask) -> None:
        with app.test_request_context() as ctx:
            vars(ctx.request).pop("environ", None)
            assert wsgi_errors_stream._get_current_object() is sys.stderr
            assert "environ" not in vars(ctx.request)

    def test_message(self, app: Flask) -> None:
        @app.get("/")
        def index() -> str:
            app.logger.error("broken")
            return ""

        stream = StringIO()
        app.test_client().get("/", errors_stream=stream)
        assert stream.getvalue().endswith("ERROR in test_logging: broken\n")

    def test_exception_of_a_view(self, app: Flask) -> None:
        @app.get("/")
        def index() -> str:
            raise ValueError("broken")

        stream = StringIO()
        assert app.test_client().get("/", errors_stream=stream).status_code == 500
        assert "Exception on / [GET]" in stream.getvalue()
        assert "ValueError: broken" in stream.getvalue()
