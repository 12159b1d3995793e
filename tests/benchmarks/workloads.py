"""What is asked of each app: the requests, the app that gets them, and who is compared.

Data only, without a package from outside: the in-process tools import it too. Who the peers are is
in `peers.py`, how they are driven in `measure.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from apps.common import ROUTES, WAIT_SECONDS, WAITING_THREADS

WAITING = 1_000
"""How many requests wait for `WAIT_SECONDS` each."""
LARGE_CONNECTIONS = 8
"""At a time, where a body has megabytes."""
FILES = {"file10k": 10 * 1024, "file10m": 10 * 1024 * 1024}
"""Name and size of the files that are made for the apps to send, in the folder `BENCH_FILES`."""

TEXT = b"Hello, World!"
JSON = [("Content-Type", "application/json")]
DOCUMENT = json.dumps(
    {
        "address": {"city": "Paris", "country": "FR", "street": "1 Rue de Rivoli", "zip": "75001"},
        "id": 12345,
        "items": [
            {"count": number, "name": f"article number {number}", "price": 9.5 + number}
            for number in range(16)
        ],
        "name": "A customer with a long name",
        "note": "x" * 75,
        "paid": True,
    },
    separators=(",", ":"),
).encode()
"""Of 1 KB; in the order of its keys, since some apps sort them."""
URLENCODED = [("Content-Type", "application/x-www-form-urlencoded")]
FORM = b"name=Ada+Lovelace&email=ada%40example.org&age=36&comment=first+programmer&send=1"
TOKEN = b"{token}"
"""In a request's body: see `Workload.sign_in`."""
COMMENT = b"name=Ada+Lovelace&comment=first+programmer&send=Send&csrf_token=" + TOKEN
BOUNDARY = "----------------------------asyncflaskbench"
MULTIPART = [("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")]


def multipart(size: int) -> tuple[bytes, bytes]:
    """What comes before and after a file of *size* bytes, in a form with one more field."""
    before = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="title"\r\n\r\nA file\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="data.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return before.encode(), f"\r\n--{BOUNDARY}--\r\n".encode()


UPLOAD = b"0123456789abcde\n".join([b""] * (64 * 1024 + 1)).join(multipart(1024 * 1024))


@dataclass(frozen=True)
class Request:
    path: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    status: int = 200

    def with_token(self, token: bytes) -> Request:
        """The same with *token* in its body, where it has a place for one."""
        return replace(self, body=self.body.replace(TOKEN, token))


@dataclass(frozen=True)
class Target:
    """That asyncflask shall answer *ratio* times as many requests as *peer*."""

    peer: str
    ratio: float


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    *app*: which of the modules in `apps/` gets it, as in ``<peer>_<app>.py``; and where a module
    has several, which of its apps, as in ``<app>:<name>``. *peers*: who has the
    feature in an idiom of its own; the first one's answers are those that all must give, but for
    what *varying*, a regular expression, finds in them. *sign_in*: what is requested once, before
    all others: they carry the cookie it is given, and in place of `TOKEN` the text of its answer.
    *packages*: what it needs beside the peers. *kind*: how it is driven, see `measure.py`.
    """

    key: str
    title: str
    requests: tuple[Request, ...]
    peers: tuple[str, ...]
    targets: tuple[Target, ...] = ()
    app: str = "app"
    sign_in: Request | None = None
    varying: bytes | None = None
    packages: tuple[str, ...] = ()
    traced: bool = False
    """Whether it is one of the two rows that tell what tracing costs."""
    kind: str = "wrk"
    connections: int | None = None
    leads: bool = False
    """Whether asyncflask shall be ahead of every peer."""
    ideal: float | None = None
    """Seconds that it takes if nothing but the waiting takes time."""

    @property
    def has_aim(self) -> bool:
        return bool(self.targets) or self.leads or self.traced

    def module_and_app(self, peer: str) -> tuple[str, str]:
        """The module of *peer* that has the app, and the app's name in it."""
        module, _, name = self.app.partition(":")
        return f"{peer}_{module}", name or "app"


ASGI = ("bare", "starlette", "fastapi", "litestar", "blacksheep", "falcon", "quart", "microdot")
ALL = ("bare", "asyncflask", *ASGI[1:], "sanic", "flask")
SYNC = ("bare", "asyncflask", "starlette", "fastapi", "litestar", "quart", "microdot", "flask")
"""Those who keep a sync function off the loop."""
TEMPLATES = tuple(name for name in ALL if name not in ("bare", "falcon"))
FILE_SENDERS = tuple(name for name in ALL if name != "bare")
STREAMERS = ("asyncflask", "starlette", "flask")
WEBSOCKETS = tuple(name for name in ALL if name != "flask")
FLASKS = ("asyncflask", "starlette", "quart", "flask")


def get(path: str) -> tuple[Request, ...]:
    return (Request(path),)


def stack(path: str) -> tuple[Request, ...]:
    """Nine requests that go well, and one that ends in an error handler."""
    return (Request(f"{path}/7"),) * 9 + (Request(f"{path}/0", status=404),)


HOOKS = {
    "none": "text, async view, no hooks",
    "teardown": "text, async view, 1 async teardown",
    "four_async": "text, async view, 4 async hooks",
    "mixed": "text, async view, 1 sync teardown",
    "none_sync": "text, sync view, no hooks",
    "four_sync": "text, sync view, 4 sync hooks",
}
"""Four hooks are two before the view, one after it that sets a header, and one teardown."""

WORKLOADS = (
    Workload(
        "text-async",
        "text, async view",
        get("/async"),
        ALL,
        (Target("bare", 0.80), Target("starlette", 1.3)),
        leads=True,
    ),
    Workload(
        "text-sync",
        "text, sync view",
        get("/sync"),
        SYNC,
        (Target("starlette", 1.5), Target("flask", 3.0)),
        leads=True,
    ),
    Workload(
        "params",
        "path and query parameters to JSON, 100 routes",
        get(f"/items{ROUTES // 2}/42?page=7&q=hello"),
        ALL,
        (Target("starlette", 1.3), Target("falcon", 1.0)),
    ),
    Workload(
        "json",
        "JSON of 1 KB echoed",
        (Request("/echo", "POST", tuple(JSON), DOCUMENT),),
        ALL,
        (Target("starlette", 1.2),),
    ),
    Workload(
        "typed-body",
        "JSON of 1 KB validated by a pydantic model, another one back",
        (Request("/orders", "POST", tuple(JSON), DOCUMENT),),
        ("fastapi", "asyncflask", "litestar"),
        (Target("fastapi", 2.0),),
        app="typed",
    ),
    Workload(
        "typed-params",
        "path and query validated, a pydantic model back",
        get("/items/42?page=7&q=hello"),
        ("fastapi", "asyncflask", "litestar"),
        (Target("fastapi", 2.0),),
        app="typed",
    ),
    Workload(
        "form",
        "form post",
        (Request("/form", "POST", tuple(URLENCODED), FORM),),
        tuple(name for name in ALL if name != "bare"),
        (Target("starlette", 1.2),),
    ),
    Workload(
        "upload",
        "multipart upload of 1 MB",
        (Request("/upload", "POST", tuple(MULTIPART), UPLOAD),),
        tuple(name for name in ALL if name != "bare"),
        (Target("starlette", 1.2),),
        connections=LARGE_CONNECTIONS,
    ),
    Workload(
        "template",
        "template with 12 rows",
        get("/template"),
        TEMPLATES,
        (Target("starlette", 1.0),),
    ),
    *(
        Workload(
            f"stack{suffix}-{kind}",
            f"whole stack, {kind}{title}",
            stack(f"{prefix}{path}/items"),
            FLASKS,
            targets,
            app=f"stack:{app}",
            sign_in=Request(f"{prefix}{path}/items/7"),
        )
        for suffix, title, path, app in (
            ("", ", 100 routes", "/a5/b5", "app"),
            ("-one", ", one route", "", "one"),
        )
        for kind, prefix, targets in (
            ("async", "", (Target("quart", 3.5), Target("starlette", 1.5))),
            ("sync", "/sync", (Target("flask", 2.5),)),
        )
    ),
    Workload(
        "orm",
        "page with database, login and form, sync",
        (Request("/articles/7"),) * 9
        + (Request("/articles/7", "POST", tuple(URLENCODED), COMMENT, status=302),),
        ("flask", "asyncflask"),
        (Target("flask", 2.0),),
        app="orm",
        sign_in=Request("/login"),
        packages=("flask-sqlalchemy", "flask-login", "flask-wtf", "sqlalchemy", "wtforms"),
        varying=rb'(?<=name="csrf_token" type="hidden" value=")[^"]+',
    ),
    *(
        Workload(
            f"trace-{key}",
            f"text, async view, {title}",
            get("/"),
            ("bare", "asyncflask", "starlette"),
            app=f"traced:{app}",
            traced=True,
            packages=("opentelemetry-sdk", "opentelemetry-instrumentation-asgi"),
        )
        for key, title, app in (
            ("none", "not traced", "plain"),
            ("asgi", "traced by OpenTelemetry's ASGI middleware", "by_asgi"),
        )
    ),
    *(
        Workload(
            f"trace-flask-{kind}",
            f"text, {kind} view, traced by OpenTelemetry's Flask instrumentation",
            get(f"/{kind}"),
            ("asyncflask", "flask"),
            app="instrumented",
            packages=("opentelemetry-sdk", "opentelemetry-instrumentation-flask"),
        )
        for kind in ("async", "sync")
    ),
    Workload(
        "hooks",
        "async view, 3 sync hooks",
        get("/hooks/async"),
        ("asyncflask", "quart", "flask"),
        app="hooks",
    ),
    *(
        Workload(
            f"hooks-{name.replace('_', '-')}",
            title,
            get("/"),
            FLASKS,
            app=f"hooked:{name}",
        )
        for name, title in HOOKS.items()
    ),
    Workload(
        "file10k",
        "file of 10 KB",
        get("/file10k"),
        FILE_SENDERS,
        (Target("starlette", 1.0),),
    ),
    Workload(
        "file10m",
        "file of 10 MB",
        get("/file10m"),
        FILE_SENDERS,
        (Target("starlette", 1.0),),
        connections=LARGE_CONNECTIONS,
    ),
    Workload(
        "stream-sync",
        "stream of 1,000 chunks, sync generator",
        get("/stream/sync"),
        ("asyncflask", "starlette", "fastapi", "litestar", "quart", "flask"),
        (Target("flask", 1.0), Target("starlette", 3.0)),
    ),
    Workload(
        "stream-csv",
        "stream of 5,000 rows of a table, sync generator with context",
        get("/stream/csv"),
        STREAMERS,
        (Target("flask", 1.0), Target("starlette", 3.0)),
    ),
    Workload(
        "stream-large",
        "stream of 8 chunks of 1 MB, sync generator",
        get("/stream/large"),
        STREAMERS,
        (Target("starlette", 1.0),),
        connections=LARGE_CONNECTIONS,
    ),
    Workload(
        "stream-async",
        "stream of 1,000 chunks, async generator",
        get("/stream/async"),
        tuple(name for name in ALL if name != "flask"),
        (Target("starlette", 1.5),),
    ),
    Workload(
        "stream-lone",
        "stream of 1,000 chunks, async generator that waits before each",
        get("/stream/lone"),
        ("asyncflask", "starlette"),
        (Target("starlette", 1.0),),
    ),
    *(
        Workload(
            f"ws-{connections}",
            f"WebSocket echo, {connections} connection{'s' if connections > 1 else ''}",
            get("/ws"),
            WEBSOCKETS,
            (Target("bare", 0.95), Target("starlette", 1.0)),
            kind="websocket",
            connections=connections,
        )
        for connections in (1, 64)
    ),
    Workload(
        "wait-async",
        "1,000 requests wait 100 ms, async, 100 at a time",
        get("/wait/async"),
        tuple(name for name in ALL if name != "flask"),
        kind="wait",
        connections=WAITING_THREADS,
        ideal=WAIT_SECONDS * WAITING / WAITING_THREADS,
    ),
    Workload(
        "wait-sync",
        "1,000 requests wait 100 ms, sync, 100 threads",
        get("/wait/sync"),
        ("asyncflask", "starlette", "fastapi", "litestar", "quart", "flask"),
        kind="wait",
        connections=WAITING_THREADS,
        ideal=WAIT_SECONDS * WAITING / WAITING_THREADS,
    ),
    Workload(
        "wait-all",
        "1,000 requests wait 100 ms, async, all at once",
        get("/wait/async"),
        tuple(name for name in ALL if name != "flask"),
        kind="wait",
        connections=WAITING,
        ideal=WAIT_SECONDS,
    ),
)
BY_KEY = {workload.key: workload for workload in WORKLOADS}
