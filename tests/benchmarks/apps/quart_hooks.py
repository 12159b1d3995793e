"""An async view with sync hooks in Quart: the same lines as for Flask."""

from __future__ import annotations

import quart
from flask_family import make_hooks

app = make_hooks(quart, quart.Quart)
