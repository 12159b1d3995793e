"""Views that read bodies, with limits of the app and of the request."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from asyncflask import Blueprint, Flask, request


def create(**config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(config)

    @app.before_request
    def limit() -> None:
        for name in ("max_content_length", "max_form_memory_size", "max_form_parts"):
            if name in request.args:
                value = request.args[name]
                setattr(request, name, int(value) if value != "none" else None)

    def data() -> str:
        return str(len(request.get_data()))

    def form() -> str:
        return f"{len(request.form)} {sum(map(len, request.form.values()))} {len(request.files)}"

    def json() -> str:
        return str(len(request.get_json()))

    def stream() -> str:
        return str(sum(map(len, iter(lambda: request.stream.read(10_000), b""))))

    for view in (data, form, json, stream):

        async def view_async(view: Any = view) -> str:
            return str(view())

        app.post(f"/{view.__name__}/sync")(view)
        app.post(f"/{view.__name__}/async", endpoint=f"{view.__name__}_async")(view_async)

    @app.post("/raw/async", stream=True)
    async def raw() -> str:
        return str(sum([len(chunk) async for chunk in request.stream]))

    @app.errorhandler(413)
    def too_large(error: Any) -> Any:
        return "too large", 413

    @app.get("/")
    def index() -> str:
        return "fine"

    return app


# Werkzeug refuses a multipart body also when the piece of it that is being parsed, 64 KiB or so,
# is larger than the memory for forms: the limit here is well above that.
app = create(MAX_CONTENT_LENGTH=300_000, MAX_FORM_MEMORY_SIZE=150_000, MAX_FORM_PARTS=10)
without = create()


def create_guarded() -> Flask:
    """Hooks that refuse by the headers, and limits of routes."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 1_000

    @app.before_request
    async def log_in() -> Any:
        if request.args.get("hook") == "reads":
            return str(len(request.get_data()))
        if request.args.get("hook") == "raises the limit":
            request.max_content_length = 300_000
        if "Authorization" not in request.headers:
            return "log in", 401
        return None

    part = Blueprint("part", __name__)

    def data() -> str:
        if "limit" in request.args:
            request.max_content_length = int(request.args["limit"])
        return str(len(request.get_data()))

    async def data_async() -> str:
        return data()

    for on, prefix in ((app, "/app"), (part, "/part")):
        for kind, view in (("sync", data), ("async", data_async)):
            on.post(f"{prefix}/{kind}", endpoint=kind, max_content_length=200_000)(view)
    app.register_blueprint(part)

    @app.post("/plain/sync")
    def plain() -> str:
        return data()

    @app.post("/plain/async")
    async def plain_async() -> str:
        return data()

    @app.post("/ignore/sync")
    def ignore() -> str:
        return "ignored"

    @app.post("/ignore/async")
    async def ignore_async() -> str:
        return "ignored"

    @app.get("/two/<path:one>/<path:two>")
    async def two_paths(one: str, two: str) -> str:
        return one

    @app.post("/fields/sync")
    def fields() -> str:
        return ",".join(request.form)

    @app.post("/fields/async")
    async def fields_async() -> str:
        return ",".join(request.form)

    @app.get("/spooled")
    async def spooled() -> str:
        """How many bytes are in temporary files."""
        size = 0
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                if "(deleted)" in os.readlink(f"/proc/self/fd/{name}"):
                    size += os.stat(f"/proc/self/fd/{name}").st_size
        return str(size)

    return app


guarded = create_guarded()
unlimited = create_guarded()
unlimited.config.update(MAX_CONTENT_LENGTH=None, ASYNC_MAX_CONTENT_LENGTH=2_000_000)
