"""A small blog: everybody reads, who has an account writes, and only the author changes a post."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asyncflask import Flask

from . import auth, blog, db


def create_app(settings: Mapping[str, Any] | None = None) -> Flask:
    """Make an app of its own, which lets every test have one.

    Settings come from here, from environment variables that begin with ``FLASKR_``, and from
    ``settings``, the later ones first.
    """
    app = Flask(__name__, instance_relative_config=True)
    app.config.from_mapping(
        SECRET_KEY="dev",  # Anybody who knows it can log in as anybody: set another to publish.
        DATABASE=str(Path(app.instance_path) / "flaskr.sqlite"),
        # Forms that other sites post to here arrive without the session, so as a stranger's.
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=256 * 1024,
    )
    app.config.from_prefixed_env("FLASKR")
    app.config.from_mapping(settings)

    db.init_app(app)
    app.register_blueprint(auth.bp)
    app.register_blueprint(blog.bp)
    return app
