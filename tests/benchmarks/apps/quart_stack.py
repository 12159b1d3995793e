"""The whole stack in Quart: the same lines as for Flask."""

from __future__ import annotations

import quart
from flask_family import make_stacks

app, one = make_stacks(quart, quart.Quart)
