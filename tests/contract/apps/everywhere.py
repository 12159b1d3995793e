"""One app under all servers; `proxied` has WSGI middleware around it, `starlette` and `host`
mount it under ``/inner``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from werkzeug.middleware.proxy_fix import ProxyFix

from asyncflask import (
    Blueprint,
    Flask,
    Response,
    abort,
    g,
    redirect,
    request,
    session,
    stream_with_context,
    url_for,
    websocket,
)
from contract.apps.diary import write


def create() -> Flask:
    app = Flask(__name__)
    app.secret_key = "everywhere"
    app.config["MAX_CONTENT_LENGTH"] = 2_000_000

    @app.before_serving
    async def start() -> None:
        app.extensions["started"] = app.extensions.get("started", 0) + 1

    @app.after_serving
    def stop() -> None:
        write("app", "stopped")

    @app.before_request
    def begin() -> None:
        g.began = request.path

    @app.after_request
    async def after(response: Any) -> Any:
        response.headers["X-Began"] = g.began
        return response

    @app.teardown_request
    async def torn_down(error: BaseException | None) -> None:
        if "id" in request.args:
            write(request.args["id"], "torn down")

    def seen() -> dict[str, Any]:
        return {
            "url": request.url,
            "root": request.root_path,
            "path": request.path,
            "script": request.environ["SCRIPT_NAME"],
            "remote": request.remote_addr,
            "scheme": request.scheme,
            "here": url_for("sync", x="ä"),
            "external": url_for("sync", _external=True),
            "started": app.extensions.get("started", 0),
        }

    @app.get("/sync")
    def sync() -> Any:
        return seen()

    @app.get("/async")
    async def async_() -> Any:
        await asyncio.sleep(0)
        return seen()

    def form() -> Any:
        sizes = {name: len(file.read()) for name, file in request.files.items()}
        return {"form": request.form, "files": sizes}

    app.post("/form/sync")(form)

    @app.post("/form/async")
    async def form_async() -> Any:
        return form()

    @app.post("/json")
    async def json() -> Any:
        return {"json": request.get_json()}

    @app.post("/raw", stream=True)
    async def raw() -> str:
        return str(sum([len(chunk) async for chunk in request.stream]))

    @app.get("/stream/sync")
    def stream_sync() -> Any:
        @stream_with_context
        def generate() -> Iterator[str]:
            for number in range(int(request.args["count"])):
                yield f"{request.args['id']} {number}\n"

        return generate()

    @app.get("/stream/async")
    async def stream_async() -> Any:
        @stream_with_context
        async def generate() -> AsyncIterator[str]:
            for number in range(int(request.args["count"])):
                await asyncio.sleep(0)
                yield f"{request.args['id']} {number}\n"

        return generate()

    @app.get("/count")
    async def count() -> Any:
        session["count"] = session.get("count", 0) + 1
        return str(session["count"])

    @app.get("/starlette")
    async def starlette_response() -> Any:
        return JSONResponse({"a": 1}, status_code=201, headers={"X-Own": "yes"})

    @app.get("/error/<int:code>")
    async def error(code: int) -> Any:
        if code == 500:
            raise LookupError("on purpose")
        abort(code)

    @app.errorhandler(418)
    def teapot(error: Any) -> Any:
        return "short and stout", 418

    @app.get("/status")
    def status() -> Any:
        return Response("", "299 Odd\N{LATIN SMALL LETTER A WITH DIAERESIS}")

    @app.get("/slash/")
    def slash() -> str:
        return "slash"

    @app.get("/redirect")
    def redirected() -> Any:
        return redirect(url_for("sync"))

    blueprint = Blueprint("blueprint", __name__, url_prefix="/blueprint")

    @blueprint.get("/")
    async def index() -> str:
        return url_for(".index")

    app.register_blueprint(blueprint)

    @app.websocket("/ws")
    async def ws() -> None:
        await websocket.send_json([request.root_path, request.path, url_for("sync")])

    return app


app = create()

proxied = create()
proxied.wsgi_app = ProxyFix(proxied.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]


class Middleware:
    """A WSGI middleware that asyncflask does not know."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.app(environ, start_response)


wrapped = create()
wrapped.wsgi_app = Middleware(wrapped.wsgi_app)  # type: ignore[method-assign]


@asynccontextmanager
async def lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
    yield {"outer": "state"}


async def home(request: Any) -> Any:
    return JSONResponse({"outer": request.state.outer, "here": str(request.url_for("home"))})


inner = create()
starlette = Starlette(
    routes=[Route("/", home, name="home"), Mount("/inner", inner)], lifespan=lifespan
)

# The other way round: an app of ours that has others mounted, and their lifespans.


@asynccontextmanager
async def guest_lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
    write("guest", "starts")
    yield {"outer": "guest"}
    write("guest", "stops")


guest = Starlette(routes=[Route("/home", home, name="home")], lifespan=guest_lifespan)
second = create()
host = create()
host.mount("/guest", guest)
host.mount("/inner", second)
