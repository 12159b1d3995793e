"""The whole stack in Flask, which makes an event loop for each async function."""

from __future__ import annotations

import flask
from flask_family import make_stack

app = make_stack(flask, flask.Flask)
