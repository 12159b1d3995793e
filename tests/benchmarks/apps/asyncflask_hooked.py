"""Views with async and sync hooks in asyncflask."""

from __future__ import annotations

from hooked_family import make_apps

import asyncflask

none, teardown, four_async, mixed, none_sync, four_sync = make_apps(asyncflask, asyncflask.Flask)
