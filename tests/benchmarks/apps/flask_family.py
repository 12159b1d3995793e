"""The benchmark's apps, written for Flask: asyncflask serves the same lines, and Quart
those that touch no body.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from common import (
    CHUNK,
    CHUNKS,
    CSV_ROWS,
    MEGABYTE,
    MEGABYTES,
    ROUTES,
    ROWS,
    WAIT_SECONDS,
    csv_row,
)

FILES = Path(os.environ.get("BENCH_FILES", "."))


def make_app(flask: ModuleType, Flask: Any) -> Any:
    """Small views, each for one workload."""
    app = Flask("bench", root_path=str(Path(__file__).parent), static_folder=None)
    request = flask.request

    @app.get("/async")
    async def async_text() -> Any:
        return "Hello, World!"

    @app.get("/sync")
    def sync_text() -> Any:
        return "Hello, World!"

    @app.post("/echo")
    async def echo() -> Any:
        return request.get_json()

    @app.post("/form")
    async def form() -> Any:
        return {"age": int(request.form["age"]), "name": request.form["name"]}

    @app.post("/upload")
    async def upload() -> Any:
        file = request.files["file"]
        file.seek(0, os.SEEK_END)
        return {"name": file.filename, "size": file.tell(), "title": request.form["title"]}

    @app.get("/template")
    async def template() -> Any:
        return flask.render_template("table.html", title="Articles", rows=ROWS)

    @app.get("/<any(file10k, file10m):name>")
    async def file(name: str) -> Any:
        return flask.send_file(FILES / name, mimetype="application/octet-stream")

    @app.get("/stream/sync")
    def sync_stream() -> Any:
        def chunks() -> Iterator[bytes]:
            for _ in range(CHUNKS):
                yield CHUNK

        return chunks(), {"Content-Type": "text/plain"}

    @app.get("/stream/csv")
    def csv_stream() -> Any:
        @flask.stream_with_context
        def rows() -> Iterator[str]:
            for number in range(CSV_ROWS):
                yield csv_row(number)

        return rows(), {"Content-Type": "text/csv"}

    @app.get("/stream/large")
    def large_stream() -> Any:
        def chunks() -> Iterator[bytes]:
            for _ in range(MEGABYTES):
                yield MEGABYTE

        return chunks(), {"Content-Type": "application/octet-stream"}

    @app.get("/wait/sync")
    def sync_wait() -> Any:
        time.sleep(WAIT_SECONDS)
        return "Hello, World!"

    async def item(id: int) -> Any:
        return {"id": id, "page": int(request.args["page"]), "q": request.args["q"]}

    for number in range(ROUTES):
        app.add_url_rule(f"/items{number}/<int:id>", f"item{number}", item)
    return app


class Missing(Exception):
    """Raised by a view, turned into an answer by an error handler."""


def make_stacks(flask: ModuleType, Flask: Any) -> tuple[Any, Any]:
    """Hooks, session, URLs and an error handler: an app with 100 routes in nested blueprints, and
    one with a single route. All views are async; under ``/sync`` the same views are sync."""
    return _make_stack(flask, Flask, _add_nested), _make_stack(flask, Flask, _add_one)


AddRoutes = Callable[[ModuleType, Any, Any], str]
"""Add routes that lead to a view to a blueprint, and give the endpoint that the view links to."""


def _make_stack(flask: ModuleType, Flask: Any, add_routes: AddRoutes) -> Any:
    app = Flask("bench", static_folder=None)
    app.secret_key = "secret"
    app.register_blueprint(_async_stack(flask, add_routes))
    app.register_blueprint(_sync_stack(flask, add_routes), url_prefix="/sync")
    return app


def _add_nested(flask: ModuleType, top: Any, item: Any) -> str:
    for a in range(10):
        outer = flask.Blueprint(f"a{a}", __name__, url_prefix=f"/a{a}")
        for b in range(10):
            inner = flask.Blueprint(f"b{b}", __name__, url_prefix=f"/b{b}")
            inner.add_url_rule("/items/<int:id>", "item", item)
            outer.register_blueprint(inner)
        top.register_blueprint(outer)
    return f"{top.name}.a6.b6.item"


def _add_one(flask: ModuleType, top: Any, item: Any) -> str:
    top.add_url_rule("/items/<int:id>", "item", item)
    return f"{top.name}.item"


def _async_stack(flask: ModuleType, add_routes: AddRoutes) -> Any:
    g, session, request, url_for = flask.g, flask.session, flask.request, flask.url_for
    top = flask.Blueprint("top", __name__)

    async def item(id: int) -> Any:
        if id == 0:
            raise Missing
        session["visits"] = session.get("visits", 0) + 1
        following = url_for(linked, id=id + 1)
        return {"id": id, "lang": g.lang, "next": following, "visits": session["visits"]}

    linked = add_routes(flask, top, item)

    @top.before_request
    async def begin() -> None:
        g.began = time.perf_counter()

    @top.before_request
    async def language() -> None:
        g.lang = request.headers.get("Accept-Language", "en")

    @top.after_request
    async def end(response: Any) -> Any:
        response.headers["X-Duration"] = f"{time.perf_counter() - g.began:.6f}"
        return response

    @top.errorhandler(Missing)
    async def missing(error: Missing) -> Any:
        return {"error": "missing"}, 404

    return top


def _sync_stack(flask: ModuleType, add_routes: AddRoutes) -> Any:
    g, session, request, url_for = flask.g, flask.session, flask.request, flask.url_for
    top = flask.Blueprint("sync", __name__)

    def item(id: int) -> Any:
        if id == 0:
            raise Missing
        session["visits"] = session.get("visits", 0) + 1
        following = url_for(linked, id=id + 1)
        return {"id": id, "lang": g.lang, "next": following, "visits": session["visits"]}

    linked = add_routes(flask, top, item)

    @top.before_request
    def begin() -> None:
        g.began = time.perf_counter()

    @top.before_request
    def language() -> None:
        g.lang = request.headers.get("Accept-Language", "en")

    @top.after_request
    def end(response: Any) -> Any:
        response.headers["X-Duration"] = f"{time.perf_counter() - g.began:.6f}"
        return response

    @top.errorhandler(Missing)
    def missing(error: Missing) -> Any:
        return {"error": "missing"}, 404

    return top


def make_hooks(flask: ModuleType, Flask: Any) -> Any:
    """An async and a sync view with three sync hooks in a blueprint, and both without."""
    app = Flask("bench", static_folder=None)
    hooks = flask.Blueprint("hooks", __name__, url_prefix="/hooks")
    plain = flask.Blueprint("plain", __name__, url_prefix="/plain")
    g = flask.g

    @hooks.before_request
    def begin() -> None:
        g.began = time.perf_counter()

    @hooks.before_request
    def count() -> None:
        g.count = 1

    @hooks.after_request
    def end(response: Any) -> Any:
        response.headers["X-Duration"] = f"{time.perf_counter() - g.began:.6f}"
        return response

    for blueprint in (hooks, plain):

        @blueprint.get("/async")
        async def async_view() -> Any:
            return "Hello, World!"

        @blueprint.get("/sync")
        def sync_view() -> Any:
            return "Hello, World!"

        app.register_blueprint(blueprint)
    return app
