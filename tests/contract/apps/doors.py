"""Hooks that change the environ, views that read bodies in all ways and call their own app."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

from asyncflask import Flask, Response, has_app_context, request, session, stream_with_context

app = Flask(__name__)
app.config.update(SECRET_KEY="doors")


@app.before_request
def change() -> None:
    environ = request.environ
    if "look" in request.args:  # it is as good as not looked at
        assert request.headers.get("X-Remote-User") != "nobody"
        assert [*request.headers]
    if "token" in request.args:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {request.args['token']}"
    if "agent" in request.args:
        environ["HTTP_USER_AGENT"] = request.args["agent"]
    if "guard" in request.args:
        environ.pop("HTTP_X_REMOTE_USER", None)


def headers() -> dict[str, Any]:
    return {
        "authorization": str(request.authorization),
        "agent": str(request.user_agent),
        "user": request.headers.get("X-Remote-User"),
        "listed": "X-Remote-User" in dict(request.headers),
        "host": request.host,
    }


def change_headers() -> str:
    try:
        request.headers["X-New"] = "1"
    except TypeError:
        return "TypeError"
    return "changed"


def get_data() -> list[Any]:
    return [len(request.get_data()), len(request.form), len(request.files)]


def data() -> str:
    return str(len(request.data))


def stream() -> str:
    return str(len(request.stream.read()))


def stream_in_parts() -> str:
    return str(sum(map(len, iter(lambda: request.stream.read(10_000), b""))))


def form() -> list[Any]:
    sizes = [len(file.read()) for file in request.files.values()]
    return [sizes, dict(request.form), len(request.get_data())]


def nothing() -> str:
    return "not read"


def inner() -> str:
    return f"{request.method} {request.path} {len(request.get_data())}"


def ask() -> str:
    with app.test_client() as client:
        text = client.post("/inner/sync", data=b"abc").text
        text += " " + client.post("/inner/async", data=b"abc").text
        assert request.path == "/inner/async"
    return f"{text} for {request.path}"


def ask_twice() -> str:
    return app.test_client().get("/ask/async").text


VIEWS: list[Callable[[], Any]] = [
    headers,
    change_headers,
    get_data,
    data,
    stream,
    stream_in_parts,
    form,
    nothing,
    inner,
    ask,
    ask_twice,
]

for view in VIEWS:

    async def view_async(view: Callable[[], Any] = view) -> Any:
        return view()

    methods = ["GET", "POST"]
    app.add_url_rule(f"/{view.__name__}/sync", view_func=view, methods=methods)
    app.add_url_rule(
        f"/{view.__name__}/async", f"{view.__name__}_async", view_async, methods=methods
    )

started: list[Any] = []
user: ContextVar[str] = ContextVar("user", default="nobody")

wrapped = Flask(__name__)
wrapped.config.update(SECRET_KEY="doors")
own_wsgi_app = wrapped.wsgi_app


def watched(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """WSGI middleware as tracing puts it round an app: it looks at the request when the response
    starts, and at a variable that the app set."""

    def start(status: str, headers: Any, exc_info: Any = None) -> Any:
        context = [bool(request), has_app_context()]
        started.append([status[:3], request.path, *context, session.get("n"), user.get()])
        return start_response(status, headers)

    content = own_wsgi_app(environ, start)
    if environ["PATH_INFO"] != "/started":
        started[-1].append(user.get())
    return content


wrapped.wsgi_app = watched  # type: ignore[method-assign]


def sync_view() -> str:
    session["n"] = 1
    user.set("ann")
    return "sync"


async def async_view() -> str:
    return sync_view()


def stream_view() -> Any:
    sync_view()
    return (part for part in "ab")


def kept_stream_view() -> Response:
    sync_view()
    return Response(stream_with_context(part for part in request.args["parts"]))


async def async_stream_view() -> Response:
    sync_view()

    async def parts() -> Any:
        yield "a"
        yield "b"

    return Response(parts())


def error_view() -> str:
    sync_view()
    raise LookupError("on purpose")


for view in (
    sync_view,
    async_view,
    stream_view,
    kept_stream_view,
    async_stream_view,
    error_view,
):
    wrapped.add_url_rule(f"/{view.__name__}", view_func=view)


@wrapped.get("/started")
def what_started() -> list[Any]:
    taken = [*started]
    started.clear()
    return taken
