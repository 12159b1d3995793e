"""The page with database, login and form in asyncflask, which the extensions get for Flask."""

from __future__ import annotations

from asyncflask import install_as_flask

install_as_flask()

from orm_family import make_app  # noqa: E402

app = make_app()
