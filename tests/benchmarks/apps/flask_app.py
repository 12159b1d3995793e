"""The small views in Flask, which makes an event loop for each async view."""

from __future__ import annotations

import flask
from flask_family import make_app

app = make_app(flask, flask.Flask)
