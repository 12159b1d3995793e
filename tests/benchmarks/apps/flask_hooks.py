"""An async view with sync hooks in Flask, which makes an event loop for each async view."""

from __future__ import annotations

import flask
from flask_family import make_hooks

app = make_hooks(flask, flask.Flask)
