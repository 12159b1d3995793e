"""The whole stack in asyncflask."""

from __future__ import annotations

import asyncflask
from flask_family import make_stack

app = make_stack(asyncflask, asyncflask.Flask)
