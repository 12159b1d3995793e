"""The page with database, login and form in Flask."""

from __future__ import annotations

from orm_family import make_app

app = make_app()
