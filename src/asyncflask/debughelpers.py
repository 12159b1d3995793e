"""Errors and explanations for developers; serving requests does not need them. Apps and
blueprints are told apart by attributes, so that this file can be below both."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator
from types import CodeType, CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Request

from .alias import advise
from .asgi.threads import is_async
from .asgi.websocket_rules import await_it
from .ctx import RequestContext, _cv_request

if TYPE_CHECKING:
    from jinja2.loaders import BaseLoader

    from .app import Flask


class _RoutedRequest(Protocol):
    routing_exception: HTTPException | None

    @property
    def url(self) -> str: ...

    @property
    def base_url(self) -> str: ...


class UnexpectedUnicodeError(AssertionError, UnicodeError):
    """Text was passed instead of bytes, or bytes instead of text."""


class DebugFilesKeyError(KeyError, AssertionError):
    """``request.files`` has no such file, because the form sent only its name."""

    def __init__(self, request: Request, key: str) -> None:
        self.msg = (
            f"There is no file {key!r} in request.files: the body is {request.mimetype!r}, not"
            " 'multipart/form-data', so no file contents were transmitted."
            ' Write <form method="post" enctype="multipart/form-data">.'
        )

        if names := ", ".join(map(repr, request.form.getlist(key))):
            self.msg += (
                "\n\nThe browser sent the name of the file in its place."
                f" This was submitted: {names}"
            )

    def __str__(self) -> str:
        return self.msg


class FormDataRoutingRedirect(AssertionError):
    """A routing redirect would lose the request's method or body.

    Raised in debug mode only, for methods other than GET, HEAD and OPTIONS, if the redirect is
    not a 307 or 308 (RFC 9110 section 15.4).
    """

    def __init__(self, request: _RoutedRequest) -> None:
        redirect = request.routing_exception
        assert isinstance(redirect, RequestRedirect)
        message = (
            f"The request was sent to '{request.url}', and routing answers with a redirect to"
            f" the canonical URL '{redirect.new_url}'."
        )

        if redirect.new_url.partition("?")[0] == f"{request.base_url}/":
            message += (
                " The rule ends with a slash and the request does not, so the redirect adds it."
            )

        super().__init__(
            f"{message} A browser would drop the form data on the way. Send the request to the"
            " canonical URL, or have routing redirect with 307 or 308.\n\n"
            "This error is raised in debug mode only."
        )


def wrong_return_value(rv: object, ctx: RequestContext | None) -> str:
    """Return what is wrong with the value *rv* of a view, hook or error handler, what to write
    instead, and where the function is."""
    if rv is None:
        problem = " It returned None, or ended without a return statement."
    elif isinstance(rv, tuple):
        problem = (
            " A tuple must have the form (body, status, headers), (body, status) or (body,"
            " headers)."
        )
    else:
        kind = type(rv).__name__
        article = "an" if kind[0] in "aeiou" else "a"
        problem = (
            " The return type must be a string, dict, list, tuple with headers or status,"
            " Response instance, iterator, async iterator, or WSGI callable, but it was"
            f" {article} {kind}.{_instead(rv)}"
        )
    who, where = _function_of(ctx)
    noun = "response tuple" if isinstance(rv, tuple) else "response"
    return f"{who} did not return a valid {noun}.{problem}{where}"


def _function_of(ctx: RequestContext | None) -> tuple[str, str]:
    """Return which function answered the request, and a sentence with its place."""
    if ctx is None:
        return "The view function", ""
    if ctx.answered_by is not None:
        kind, function = ctx.answered_by
        return f"The {kind} {getattr(function, '__name__', repr(function))!r}", where(
            ctx.app, function
        )
    return f"The view function for {ctx.request.endpoint!r}", where_view(ctx)


def where_view(ctx: RequestContext) -> str:
    """Return `where` for a request's view; for a class, for the method that handles the
    request."""
    request = ctx.request
    view: Any = ctx.app.view_functions.get(request.endpoint or "")
    cls = getattr(view, "view_class", None)
    if cls is None:
        return where(ctx.app, view)
    method = getattr(cls, request.method.lower(), None)
    if method is None and request.method == "HEAD":
        method = getattr(cls, "get", None)
    return where(ctx.app, method or cls.dispatch_request, view)


def where(app: Flask, function: Any, outside: Any = None) -> str:
    """Return a sentence with the line where *function* is defined, and those of the user's
    decorators around it, one of which may lack a 'return'. *outside*: the registered function,
    if that is another one. Empty if there is no Python function."""
    chain = [*_unwrapped(outside), *_unwrapped(function)] or [None]
    *wrappers, inner = (_place(each, app.root_path) for each in chain)
    if not inner:
        return ""
    wrappers = list(filter(None, wrappers))
    wrapped = f", wrapped by {' and '.join(wrappers)}" if wrappers else ""
    return f" The function is {inner}{wrapped}."


def _unwrapped(function: Any) -> Iterator[Any]:
    """Yield *function* and the functions it wraps, outermost first."""
    seen = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        yield function
        function = getattr(function, "__wrapped__", None) or getattr(function, "func", None)


def _place(function: Any, root: str) -> str:
    """Return ``'def index' in app.py:12``, or nothing for code that is not the user's, in
    *root*."""
    from .blocking import (
        Line,
        is_users,
        shown,
    )  # imported late: finding Python's library folders takes time

    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType) or not is_users(code, root):
        return ""
    number = code.co_firstlineno  # the line of its first decorator
    lines = linecache.getlines(code.co_filename)[number - 1 :]
    beginnings = ("def ", "async def ")
    if code.co_name != "<lambda>":
        found = (i for i, text in enumerate(lines) if text.lstrip().startswith(beginnings))
        number += next(found, 0)
    keyword = "async def" if is_async(function) else "def"
    name = code.co_qualname.rpartition("<locals>.")[2]
    what = name if name == "<lambda>" else f"{keyword} {name}"
    return f"{what!r} in {shown(Line(code.co_filename, number, name))}"


def _instead(rv: object) -> str:
    if isinstance(rv, CoroutineType):
        return f" {await_it(rv)}"
    if isinstance(rv, (set, frozenset)):
        return " Write 'list(...)' or 'sorted(...)': JSON has no sets."
    if isinstance(rv, int) and not isinstance(rv, bool) and 100 <= rv <= 599:
        return f" If {rv} is the status, write 'return \"\", {rv}'; if not, 'str(...)'."
    if isinstance(rv, (int, float)):
        return " Write 'str(...)' for text, or 'jsonify(...)' for JSON."
    return ""


def add_advice(error: Exception, request: Request, websocket: object) -> None:
    """Add a note with advice to an error that is typical of code written for Quart, or of an
    extension that uses the real Flask."""
    advise(error)
    if isinstance(error, TypeError) and "'await' expression" in str(error):
        error.add_note(
            "If this awaits 'request', 'render_template', 'make_response' or the like: remove"
            " 'await'. They return values here, in 'async def' functions too."
        )
    elif isinstance(error, AttributeError) and type(error.obj).__name__ == "State":
        error.add_note(_no_state(error))
    elif isinstance(error, AttributeError) and error.name == "state" and hasattr(error.obj, "cli"):
        error.add_note(
            "What the lifespan yields is in each request's 'request.state'. For data of the"
            " app, use an attribute of your own or 'app.extensions'."
        )
    elif isinstance(error, AttributeError) and websocket is not None and error.obj is websocket:
        name = str(error.name)
        if hasattr(request, name):
            error.add_note(f"'request' is the WebSocket's handshake: write 'request.{name}'.")


def _no_state(error: AttributeError) -> str:
    state = getattr(error.obj, "_state", None)
    if state:
        return f"'request.state' has what the lifespan yields: {', '.join(map(repr, state))}."
    return (
        "'request.state' has what the lifespan yields. It is empty here: the app has no"
        " lifespan that yields a dict, or was not started. In tests, write 'with"
        " app.test_client(lifespan=True) as client:', or 'async with AsyncClient(app) as"
        " client:'."
    )


def attach_enctype_error_multidict(request: Request) -> None:
    """Make ``request.files[...]`` raise :exc:`DebugFilesKeyError` for a key that is in
    ``request.form``."""
    files = request.files
    base: type[Any] = type(files)

    def getitem(self: object, key: str) -> Any:
        try:
            return base.__getitem__(self, key)
        except KeyError as e:
            if key not in request.form:
                raise

            raise DebugFilesKeyError(request, key).with_traceback(e.__traceback__) from None

    # The class keeps its name, since it may be printed.
    namespace = {"__getitem__": getitem, "__module__": base.__module__}
    files.__class__ = type(base.__name__, (base,), namespace)


def _dump_loader_info(loader: BaseLoader) -> Iterator[str]:
    yield f"class: {type(loader).__module__}.{type(loader).__name__}"

    for key, value in sorted(vars(loader).items()):
        if key.startswith("_"):
            continue

        if isinstance(value, (str, int, float, bool)):
            yield f"{key}: {value!r}"
        elif isinstance(value, (tuple, list)) and all(isinstance(item, str) for item in value):
            yield f"{key}:"
            yield from (f"  - {item}" for item in value)


def _describe(owner: Any) -> str:
    if hasattr(owner, "url_prefix"):
        return f"blueprint {owner.name!r} ({owner.import_name})"

    if hasattr(owner, "import_name"):
        return f"application {owner.import_name!r}"

    return repr(owner)


def explain_template_loading_attempts(
    app: Flask,
    template: str,
    attempts: list[
        tuple[BaseLoader, object, tuple[str, str | None, Callable[[], bool] | None] | None]
    ],
) -> None:
    """Log where a template was searched for (``EXPLAIN_TEMPLATE_LOADING``).

    :param attempts: for each loader: the loader, its app or blueprint, and what it found.
    """
    lines = [f"Locating template {template!r}:"]
    hits = 0

    for number, (loader, owner, source) in enumerate(attempts, start=1):
        lines.append(f"{number:5}: trying loader of {_describe(owner)}")
        lines.extend(f"       {line}" for line in _dump_loader_info(loader))

        if source is None:
            lines.append("       -> no match")
        else:
            lines.append(f"       -> found ({source[1] or '<string>'!r})")
            hits += 1

    if hits == 0:
        lines.append("Error: the template could not be found.")
    elif hits > 1:
        lines.append("Warning: more than one loader has this template; the first one counts.")

    ctx = _cv_request.get(None)
    blueprint = None if ctx is None else ctx.request.blueprint

    if blueprint is not None and hits != 1:
        lines.append(
            "  The template was looked up from an endpoint that belongs to the blueprint"
            f" {blueprint!r}."
        )
        lines.append("  Is it in the template folder of that blueprint?")
        lines.append("  See https://flask.palletsprojects.com/blueprints/#templates")

    app.logger.info("\n".join(lines))
