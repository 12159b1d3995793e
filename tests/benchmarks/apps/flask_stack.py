"""The whole stack in Flask, which makes an event loop for each async function."""

from __future__ import annotations

import flask
from flask_family import make_stacks

app, one = make_stacks(flask, flask.Flask)
