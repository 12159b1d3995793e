"""The answers of the benchmark in Quart."""

from __future__ import annotations

from quart import Quart, Response, request

app = Quart(__name__)


async def async_text() -> Response:
    return Response("Hello, World!", mimetype="text/plain")


def sync_text() -> Response:
    return Response("Hello, World!", mimetype="text/plain")


async def user(id: int) -> dict[str, object]:
    return {"id": id, "page": int(request.args["page"]), "q": request.args["q"]}


app.add_url_rule("/async", view_func=async_text)
app.add_url_rule("/sync", view_func=sync_text)
app.add_url_rule("/users/<int:id>", view_func=user)
