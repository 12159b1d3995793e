"""A small blog: everyone can read, users can write, and only the author can change a post."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from asyncflask import Flask, render_template

from . import auth, blog, db


def create_app(settings: Mapping[str, Any] | None = None) -> Flask:
    """Create an app; each test creates its own.

    ``settings`` override environment variables that begin with ``FLASKR_``, which override the
    defaults below.
    """
    app = Flask(__name__, instance_relative_config=True)
    app.config.from_mapping(
        SECRET_KEY="dev",  # Set a secret one in production: it signs the sessions.
        DATABASE=str(Path(app.instance_path) / "flaskr.sqlite"),
        # Forms posted from other sites arrive without the session, so nobody is logged in.
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=256 * 1024,
    )
    app.config.from_prefixed_env("FLASKR")
    app.config.from_mapping(settings)

    db.init_app(app)
    app.register_blueprint(auth.bp)
    app.register_blueprint(blog.bp)
    app.register_error_handler(HTTPException, show_error)
    return app


def show_error(error: HTTPException) -> Response:
    """Show errors such as 404 as a page of the site, with the error's own status and headers."""
    response = error.get_response()
    response.set_data(render_template("error.html", error=error))
    return response
