"""An app that knows nothing of monitoring: a command which starts the server brings it."""

from __future__ import annotations

from flask import Flask
from monitored import add_views

app = Flask(__name__)
add_views(app)
