"""Scout APM, set up as its page for Flask says; its settings are in the environment."""

from __future__ import annotations

from flask import Flask
from monitored import add_views
from scout_apm.flask import ScoutApm

app = Flask(__name__)
ScoutApm(app)
add_views(app)
