"""Sentry, set up as its page for Flask says: the integration enables itself."""

from __future__ import annotations

import sentry_sdk

sentry_sdk.init(traces_sample_rate=1.0, send_default_pii=True)  # the DSN is in the environment

from flask import Flask  # noqa: E402
from monitored import add_views  # noqa: E402

app = Flask(__name__)
add_views(app)
