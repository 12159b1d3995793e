"""Views with async and sync hooks in Flask, which makes an event loop for each async function."""

from __future__ import annotations

import flask
from hooked_family import make_apps

none, teardown, four_async, mixed, none_sync, four_sync = make_apps(flask, flask.Flask)
