"""The whole stack in asyncflask."""

from __future__ import annotations

from flask_family import make_stacks

import asyncflask

app, one = make_stacks(asyncflask, asyncflask.Flask)
