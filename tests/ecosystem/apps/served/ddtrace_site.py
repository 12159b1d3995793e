"""Datadog's tracer, for Flask alone."""

from __future__ import annotations

from ddtrace import patch

patch(flask=True)

from flask import Flask  # noqa: E402
from monitored import add_views  # noqa: E402

app = Flask(__name__)
add_views(app)
