"""An async view with sync hooks in asyncflask."""

from __future__ import annotations

from flask_family import make_hooks

import asyncflask

app = make_hooks(asyncflask, asyncflask.Flask)
