"""Errors and explanations for developers; serving requests does not need them. Apps and
blueprints are told apart by attributes, so that this file can be below both."""

from __future__ import annotations

import inspect
import linecache
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from difflib import get_close_matches
from traceback import walk_tb
from types import CodeType, CoroutineType
from typing import TYPE_CHECKING, Any, Final, Protocol

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
    return where(ctx.app, *_view_of(ctx))


def _view_of(ctx: RequestContext) -> tuple[Any, Any]:
    """Return a request's view, or the method that handles the request, and in that case the
    registered function."""
    request = ctx.request
    view: Any = ctx.app.view_functions.get(request.endpoint or "")
    cls = getattr(view, "view_class", None)
    if cls is None:
        return view, None
    method = getattr(cls, request.method.lower(), None)
    if method is None and request.method == "HEAD":
        method = getattr(cls, "get", None)
    return method or cls.dispatch_request, view


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


def described(app: Any, function: Any) -> str:
    """Return ``'def index' in app.py:12`` for a function of the user's, or for the one that it
    wraps; the `repr` of anything else."""
    *_, inner = _unwrapped(function)
    return _place(inner, app.root_path) or repr(function)


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
    # Imported late: finding Python's library folders takes time.
    from .blocking import Line, is_users, shown

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


def add_advice(error: Exception, ctx: RequestContext) -> None:
    """Add notes with advice to an error that left a view or hook."""
    advise(error)
    for note in _advice(error, ctx):
        _add_once(error, note)


def _add_once(error: Exception, note: str) -> None:
    """Add *note* unless *error* has it: an exception may be raised again."""
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def _advice(error: Exception, ctx: RequestContext) -> Iterator[str]:
    if isinstance(error, AttributeError) and _is_state(error.obj):
        yield _no_state(error)
        return
    if isinstance(error, AttributeError) and error.name == "state" and hasattr(error.obj, "cli"):
        yield (
            "What the lifespan yields is in each request's 'request.state'. For data of the"
            " app, use an attribute of your own or 'app.extensions'."
        )
        return
    if isinstance(error, AttributeError) and ctx.websocket is not None:
        name = str(error.name)
        if error.obj is ctx.websocket and name in dir(ctx.request):  # not read: that may fail
            yield f"'request' is the WebSocket's handshake: write 'request.{name}'."
            return
    if isinstance(error, TypeError):
        yield from _about_type_error(str(error), error, ctx)
    if functions := _not_run(error, ctx.app):
        yield (
            f"The {functions} functions of this app have not run. If they set up what is missing"
            " here: in tests, write 'with app.test_client(lifespan=True) as client:', or 'async"
            " with AsyncClient(app) as client:'. In production, use a server that runs the ASGI"
            " lifespan, such as uvicorn; a WSGI server does not."
        )


def _about_type_error(message: str, error: TypeError, ctx: RequestContext) -> Iterator[str]:
    if "'await' expression" in message or "can't be awaited" in message:
        yield (
            "If this awaits 'request', 'render_template', 'make_response' or the like: remove"
            " 'await'. They return values here, in 'async def' functions too. If this awaits a"
            " view, as a decorator does: write 'async def' for the view, or 'def' for the"
            " decorator's function."
        )
    elif "JSON serializable" in message and not _in_users_code(error, ctx.app):
        if place := _function_of(ctx)[1]:
            yield place.strip()
    elif call := _WRONG_CALL.match(message):
        function, registered = _view_of(ctx)
        views = [*_unwrapped(registered), *_unwrapped(function)]
        view = next((v for v in views if getattr(v, "__qualname__", "") == call["name"]), None)
        if view is not None:
            names = re.findall(r"'(\w+)'", call["names"])
            yield f"{_about_arguments(view, names, call['what'], ctx)}{where_view(ctx)}".strip()


_WRONG_CALL: Final = re.compile(
    r"(?P<name>\S+)\(\) (?P<what>missing|got an unexpected) [\w -]*arguments?:? (?P<names>'\w+'.*)"
)
"""Python's error for a call that the function's signature does not allow."""


def _about_arguments(view: Any, names: list[str], what: str, ctx: RequestContext) -> str:
    """Return what is wrong with the rule, or the view, if *names* are missing or unexpected;
    nothing if a decorator is to blame."""
    rule = ctx.request.url_rule
    passed: dict[str, Any] = ctx.request.view_args or {}
    if rule is None:
        return ""
    if what == "missing":
        lacking = [name for name in names if name not in passed and name != "self"]
        return missing_variables(rule.rule, lacking) if lacking else ""
    if names[0] not in passed:
        return ""
    if names[0] in inspect.signature(view).parameters:  # those of the function that it wraps
        return (
            f"A decorator of {view.__name__!r} does not take {names[0]!r}. Its function must take"
            " '*args, **kwargs' and pass them on."
        )
    return unknown_variable(rule.rule, names[0], view, passed)


def missing_variables(rule: str, names: Iterable[str]) -> str:
    """Return what to write if a view takes *names*, but its rule does not have them."""
    variables = [f"<{name}>" for name in names]
    write = "/".join((rule.rstrip("/"), *variables))
    return (
        f"The rule {rule!r} has no {' and no '.join(map(repr, variables))}. Write {write!r}, give"
        " the parameter a default, or pass it from a decorator."
    )


def unknown_variable(rule: str, name: str, view: Any, passed: Collection[str]) -> str:
    """Return what to write if the rule has a variable that *view* does not take. *passed*: all
    arguments that the view gets."""
    problem = (
        f"The rule {rule!r} has the variable {name!r}, but {view.__name__!r} has no such"
        " parameter."
    )
    free = [each for each in inspect.signature(view).parameters if each not in passed]
    if near := get_close_matches(name, free, 1):
        return f"{problem} Did you mean {near[0]!r}? Use the same name in both."
    return f"{problem} Add the parameter {name!r}, or remove the variable from the rule."


def _in_users_code(error: Exception, app: Flask) -> bool:
    """Return `True` if the traceback has a line of the user's."""
    from .blocking import is_users  # see `_place`

    return any(is_users(frame.f_code, app.root_path) for frame, _ in walk_tb(error.__traceback__))


START_FUNCTIONS: Final = {
    "lifespan": "lifespan",
    "before_serving": "before_serving_funcs",
    "while_serving": "while_serving_gens",
}
"""The functions that run before the first request, with the app's attributes."""


def _not_run(error: Exception, app: Flask) -> str:
    """Return which of the app's functions should have run by now, if *error* may come from
    something that they set up."""
    if isinstance(error, TypeError):
        if "NoneType" not in str(error):
            return ""
    elif not isinstance(error, (AssertionError, AttributeError, LookupError, NameError)):
        return ""
    conversations = app._conversations
    if conversations.starting or conversations.state is not None:
        return ""
    if isinstance(error, HTTPException):
        return ""
    names = [
        name
        for name, attribute in START_FUNCTIONS.items()
        if any(map(_is_own, _listed(getattr(app, attribute))))
    ]
    return " and ".join(map(repr, names))


def _listed(functions: Any) -> list[Any]:
    return functions if isinstance(functions, list) else [functions]


def _is_own(function: Any) -> bool:
    """Return `True` if it is a function, and not ours (those of `Rooms`)."""
    module = getattr(function, "__module__", None) or ""
    return function is not None and module.partition(".")[0] != __package__


def add_advice_to_command(error: Exception, app: Any) -> None:
    """Add a note to an error that left a command of an app that is not started."""
    if functions := _not_run(error, app):
        _add_once(
            error,
            f"The {functions} functions of this app have not run. If they set up what is missing"
            " here: write '@app.cli.command(lifespan=True)', or run the command with"
            " 'asyncflask --lifespan'.",
        )


def _is_state(value: object) -> bool:
    """Return `True` if it is `request.state`. By names: only apps that use it import it."""
    kind = type(value)
    return (kind.__module__, kind.__name__) == ("starlette.datastructures", "State")


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
