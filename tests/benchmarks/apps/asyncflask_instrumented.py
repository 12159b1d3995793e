"""Views in asyncflask with OpenTelemetry's instrumentation of Flask."""

from __future__ import annotations

from asyncflask import install_as_flask

install_as_flask()

from instrumented_family import make_app  # noqa: E402

app = make_app()
