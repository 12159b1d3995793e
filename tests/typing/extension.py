"""An extension and an app that uses it, checked with the stubs in which `flask` is asyncflask."""

from __future__ import annotations

from typing import assert_type

import flask
import flask.json.provider
from flask.cli import with_appcontext
from flask.globals import app_ctx, request_ctx
from flask.sansio.blueprints import BlueprintSetupState
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from flask.typing import ResponseReturnValue
from flask.views import View
from flask_socketio import SocketIO, emit

import asyncflask


class Extension:
    def __init__(self, app: flask.Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask | flask.Blueprint) -> None:
        app.before_request(self.before)

    def before(self) -> ResponseReturnValue | None:
        assert_type(flask.request, asyncflask.Request)
        assert_type(flask.session, SessionMixin)
        assert_type(app_ctx.app, asyncflask.Flask)
        assert_type(request_ctx.request, asyncflask.Request)
        return flask.jsonify(a=1) if flask.request.args else None


app = asyncflask.Flask(__name__)
blueprint = asyncflask.Blueprint("blueprint", __name__)
Extension(app).init_app(blueprint)
app.json = flask.json.provider.DefaultJSONProvider(app)
app.session_interface = SecureCookieSessionInterface()
socketio = SocketIO(app)


@blueprint.record
def record(state: BlueprintSetupState) -> None:
    print(state.url_prefix)


@app.cli.command()
@with_appcontext
def command() -> None: ...


@socketio.on("message")
def message(text: str) -> None:
    emit("answer", text)


class Page(View):
    def dispatch_request(self) -> str:
        return flask.render_template("page.html")
