"""The whole stack in asyncflask."""

from __future__ import annotations

from flask_family import make_stack

import asyncflask

app = make_stack(asyncflask, asyncflask.Flask)
