"""Views with async and sync hooks in Quart: the same lines as for Flask."""

from __future__ import annotations

import quart
from hooked_family import make_apps

none, teardown, four_async, mixed, none_sync, four_sync = make_apps(quart, quart.Quart)
