"""Views that read bodies, with limits of the app's and of the request's own."""

from __future__ import annotations

from typing import Any

from asyncflask import Flask, request


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
