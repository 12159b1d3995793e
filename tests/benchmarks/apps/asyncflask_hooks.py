"""An async view with sync hooks in asyncflask."""

from __future__ import annotations

import asyncflask
from flask_family import make_hooks

app = make_hooks(asyncflask, asyncflask.Flask)
