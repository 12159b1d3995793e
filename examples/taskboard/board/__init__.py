"""A task board for a small team."""

from asyncflask import Flask, install_as_flask

install_as_flask()  # before any extension is imported

from . import auth, live, tasks
from .forms import csrf
from .models import db


def create_app(**settings):
    app = Flask(__name__)
    app.config.from_mapping(SQLALCHEMY_DATABASE_URI="sqlite:///board.sqlite")
    app.config.from_prefixed_env("BOARD")
    app.config.update(settings)
    if not app.secret_key:
        if not (app.debug or app.testing):
            raise RuntimeError("Set BOARD_SECRET_KEY.")
        app.secret_key = "dev"
    auth.login.init_app(app)
    csrf.init_app(app)
    db.init_app(app)
    live.rooms.init_app(app)
    with app.app_context():
        db.create_all()
    app.register_blueprint(auth.bp)
    app.register_blueprint(live.bp)
    app.register_blueprint(tasks.bp)
    return app
