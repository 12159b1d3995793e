"""Functions for views: URLs, redirects, flashed messages, files, streams. They find the current
app and request themselves. The framework passes its context explicitly and does not use them."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextvars import Token
from datetime import datetime
from functools import update_wrapper
from typing import IO, Any, AnyStr, Final, NoReturn, ParamSpec, Self, cast, overload

import werkzeug.utils
from werkzeug.exceptions import abort as _wz_abort
from werkzeug.utils import redirect as _wz_redirect
from werkzeug.wrappers import Response as BaseResponse

from .ctx import (
    AppContext,
    RequestContext,
    _cv_app,
    _cv_request,
    current_app_ctx,
    current_request_ctx,
)
from .signals import message_flashed, send
from .wrappers import Response
from .wrappers import _split_blueprint_path as _split_blueprint_path  # Flask has it here

P = ParamSpec("P")


def get_debug_flag() -> bool:
    """Return ``True`` if the environment variable ``FLASK_DEBUG`` enables debug mode: if it is set
    to anything but ``0``, ``false`` or ``no``."""
    value = os.environ.get("FLASK_DEBUG")
    return value is not None and value.lower() not in {"", "0", "false", "no"}


def get_load_dotenv(default: bool = True) -> bool:
    """Return ``True`` if ``.env`` files should be loaded. The environment variable
    ``FLASK_SKIP_DOTENV`` turns that off, unless its value is ``0``, ``false`` or ``no``.

    :param default: the result if the variable is unset or empty.
    """
    value = os.environ.get("FLASK_SKIP_DOTENV")
    return value.lower() in {"0", "false", "no"} if value else default


def _default_template_ctx_processor() -> dict[str, object]:
    """Return `request` and `g` if they are available: the context processor that every app and
    blueprint starts with. Not in `templating.py`, which is only loaded if there are templates."""
    app_ctx, ctx = _cv_app.get(None), _cv_request.get(None)
    values: dict[str, object] = {}
    if app_ctx is not None:
        values["g"] = app_ctx.g
    if ctx is not None:
        values["request"] = ctx.request
        # The session is a Jinja global instead: a template that does not use it must not count
        # as having accessed it.
    return values


class _Active:
    """A context manager that makes a request's contexts current, if they are not.

    It binds and unbinds them, without push and pop: cheap enough for each step of a stream, and
    correct if one step runs in another task or thread than the last.
    """

    __slots__ = ("app_ctx", "ctx", "tokens")

    def __init__(self, app_ctx: AppContext, ctx: RequestContext) -> None:
        self.app_ctx = app_ctx
        self.ctx = ctx
        self.tokens: tuple[Token[AppContext], Token[RequestContext]] | None = None

    def __enter__(self) -> None:
        if _cv_request.get(None) is not self.ctx:
            self.tokens = _cv_app.set(self.app_ctx), _cv_request.set(self.ctx)

    def __exit__(self, *_: object) -> None:
        if self.tokens is not None:
            _cv_request.reset(self.tokens[1])
            _cv_app.reset(self.tokens[0])


def _stream(
    app_ctx: AppContext, ctx: RequestContext, source: Iterator[AnyStr]
) -> Iterator[AnyStr]:
    try:
        # Advanced to here when created, so that close() reaches the `finally`.
        yield cast(AnyStr, None)

        while True:
            with _Active(app_ctx, ctx):
                try:
                    item = next(source)
                except StopIteration:
                    return

            yield item
    finally:
        try:
            # Not only generators have it; a WSGI iterable may too (PEP 3333).
            if (close := getattr(source, "close", None)) is not None:
                with _Active(app_ctx, ctx):
                    close()
        finally:
            ctx.release()


class _AsyncStream(AsyncIterator[AnyStr]):
    """:func:`_stream` for an async source.

    A class, since sync code cannot start an async generator, and one that never started would
    not run its ``finally``.
    """

    def __init__(
        self, app_ctx: AppContext, ctx: RequestContext, source: AsyncIterator[AnyStr]
    ) -> None:
        self._app_ctx = app_ctx
        self._ctx = ctx
        self._source: AsyncIterator[AnyStr] = source
        self._started = False
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AnyStr:
        if self._ended:
            raise StopAsyncIteration

        self._started = True

        try:
            with _Active(self._app_ctx, self._ctx):
                return await anext(self._source)
        except GeneratorExit:  # the task was discarded: nothing can be awaited any more
            self.__del__()
            raise
        except BaseException:  # the end, an error or a cancellation: no more chunks follow
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """End the stream: close its source, then release the context."""
        if self._ended:
            return

        self._ended = True

        try:
            if (aclose := getattr(self._source, "aclose", None)) is not None:
                with _Active(self._app_ctx, self._ctx):
                    await aclose()
        finally:
            self._ctx.release()

    def close(self) -> None:
        """End a stream that was never read, for ``Response.close()`` in sync code. One that has
        started is closed by :meth:`aclose`."""
        if not self._started:
            self.__del__()

    def __del__(self) -> None:
        if not self._ended:
            self._ended = True
            self._ctx.release()


@overload
def stream_with_context(
    generator_or_function: Iterator[AnyStr],
) -> Iterator[AnyStr]: ...


@overload
def stream_with_context(
    generator_or_function: AsyncIterator[AnyStr],
) -> AsyncIterator[AnyStr]: ...


@overload
def stream_with_context(
    generator_or_function: Callable[P, Iterator[AnyStr]],
) -> Callable[P, Iterator[AnyStr]]: ...


@overload
def stream_with_context(
    generator_or_function: Callable[P, AsyncIterator[AnyStr]],
) -> Callable[P, AsyncIterator[AnyStr]]: ...


def stream_with_context(generator_or_function: Any) -> Any:
    """Keep the request context active while a response is streamed, so that the generator can use
    ``request``, ``session`` and ``g``.

    Pass it a generator, or use it as a decorator of a generator function; both may be sync or
    async::

        @app.get("/rows")
        async def rows():
            @stream_with_context
            async def generate():
                async for row in database.rows(request.args["table"]):
                    yield f"{row}\\n"

            return Response(generate())

    Teardown functions run when the stream has ended. Headers have been sent by then, so the
    generator can no longer change the session's cookie.

    :raises RuntimeError: if there is no request context; for a function, when it is called.
    """
    source: Any

    if hasattr(generator_or_function, "__aiter__"):
        source = aiter(generator_or_function)
        return _AsyncStream(*_held_contexts(), source)

    try:
        source = iter(generator_or_function)
    except TypeError:

        def decorator(*args: object, **kwargs: object) -> Any:
            return stream_with_context(generator_or_function(*args, **kwargs))

        return update_wrapper(decorator, generator_or_function)

    stream = _stream(*_held_contexts(), source)
    next(stream)
    return stream


def _held_contexts() -> tuple[AppContext, RequestContext]:
    ctx = _cv_request.get(None)

    if ctx is None:
        raise RuntimeError(
            "'stream_with_context' keeps the current request context, but no request is"
            " active. Call it in a view, or decorate a generator function that the view calls."
        )

    app_ctx = _cv_app.get()
    ctx.hold()
    return app_ctx, ctx


def make_response(*args: object) -> Response:
    """Turn a view's return value into a response object, for example to set headers on it::

        response = make_response(render_template("missing.html"), 404)
        response.headers["X-Reason"] = "gone"

    Without arguments you get an empty response. One argument is handled like a view's return
    value, several are handled like a tuple.

    :raises TypeError: if a view could not return this value.
    """
    app = current_app_ctx().app
    response: Response

    if not args:
        response = app.response_class()
    else:
        response = app.make_response(args[0] if len(args) == 1 else args)

    return response


def url_for(
    endpoint: str,
    *,
    _anchor: str | None = None,
    _method: str | None = None,
    _scheme: str | None = None,
    _external: bool | None = None,
    **values: object,
) -> str:
    """Build the URL of an endpoint, through ``app.url_for``. ::

        url_for("note", id=7, page=2)  # "/notes/7?page=2"

    Outside of a request, set ``SERVER_NAME`` first; URLs are then external.

    :param endpoint: the endpoint. ``".name"`` is relative to the blueprint of the current request.
    :param _anchor: the fragment to append after ``#``.
    :param _method: choose the rule for this HTTP method, if there are several.
    :param _scheme: the scheme of an external URL, such as ``https``.
    :param _external: ``True`` to include scheme and host. Default: only outside of a request.
    :param values: the variables of the rule; anything else becomes the query string.
    :raises werkzeug.routing.BuildError: if no rule fits the endpoint and values.
    :raises RuntimeError: if there is no app context, or no ``SERVER_NAME`` outside of a request.
    """
    url: str = current_app_ctx().app.url_for(
        endpoint,
        _anchor=_anchor,
        _method=_method,
        _scheme=_scheme,
        _external=_external,
        **values,
    )
    return url


class _Default(int):
    """A status code that the caller did not choose."""

    __repr__ = int.__repr__


FOUND: Final = _Default(302)
"""The default of `redirect`. Flask 3.2 changes it to 303."""


def redirect(
    location: str, code: int = FOUND, Response: type[BaseResponse] | None = None
) -> BaseResponse:
    """Create a response that redirects the client, through ``app.redirect`` if an app is active.
    ::

        return redirect(url_for("login"))

    :param location: the URL or path to redirect to.
    :param code: 301, 302, 303, 305, 307 or 308 (RFC 9110 section 15.4). Default: 302.
    :param Response: the class of the response; only used without an app context.
    """
    if (ctx := _cv_app.get(None)) is not None:
        response: BaseResponse = ctx.app.redirect(location, code=code)
        return response

    return _wz_redirect(location, code=code, Response=Response)


def abort(code: int | BaseResponse, *args: object, **kwargs: object) -> NoReturn:
    """Raise the :exc:`~werkzeug.exceptions.HTTPException` for a status, through ``app.aborter`` if
    an app is active. ::

        abort(404, "There is no such note.")

    :param code: the status, or a response object to answer the request with.
    :param args: passed to the exception together with ``kwargs``; the first one is its
        description.
    :raises LookupError: if the status has no exception.
    """
    if (ctx := _cv_app.get(None)) is not None:
        ctx.app.aborter(code, *args, **kwargs)

    _wz_abort(code, *args, **kwargs)


def get_template_attribute(template_name: str, attribute: str) -> Any:
    """Return a macro or variable that a template defines, to use it in Python. ::

        pager = get_template_attribute("macros.html", "pager")
        return pager(page=2)

    :raises jinja2.TemplateNotFound: if the template does not exist.
    :raises AttributeError: if the template does not define the name.
    """
    template = current_app_ctx().app.jinja_env.get_template(template_name)
    return getattr(template.module, attribute)


def flash(message: str, category: str = "message") -> None:
    """Store a message in the session for the next request, in which a template shows it with
    :func:`get_flashed_messages`. ::

        flash("Your changes were saved.", "info")

    :param category: any string; ``message``, ``error``, ``info`` and ``warning`` are common.
    :raises RuntimeError: if there is no request context, or no secret key for the session.
    """
    session = current_request_ctx().session
    # Assigned rather than changed: a session may not notice changes inside a value.
    session["_flashes"] = [*session.get("_flashes", ()), (category, message)]
    app = current_app_ctx().app
    send(message_flashed, app, message=message, category=category)


def get_flashed_messages(
    with_categories: bool = False, category_filter: Iterable[str] = ()
) -> list[str] | list[tuple[str, str]]:
    """Remove the flashed messages from the session and return them. Later calls in the same
    request return them again. ::

        {% for category, message in get_flashed_messages(with_categories=true) %}
          <p class="{{ category }}">{{ message }}</p>
        {% endfor %}

    :param with_categories: ``True`` to return pairs of category and message. Default: ``False``,
        only the messages.
    :param category_filter: return only messages of these categories. Default: all.
    """
    ctx = current_request_ctx()

    if ctx.flashes is None:
        # Checked first: removing something from a session counts as a change.
        ctx.flashes = ctx.session.pop("_flashes") if "_flashes" in ctx.session else []

    flashes: list[tuple[str, str]] = ctx.flashes

    if category_filter:
        flashes = [flash for flash in flashes if flash[0] in category_filter]

    return flashes if with_categories else [message for _, message in flashes]


def _prepare_send_file_kwargs(**kwargs: object) -> dict[str, Any]:
    app = current_app_ctx().app

    if kwargs.get("max_age") is None:
        kwargs["max_age"] = app.get_send_file_max_age

    kwargs.update(
        environ=current_request_ctx().request.environ,
        use_x_sendfile=app.config["USE_X_SENDFILE"],
        response_class=app.response_class,
        _root_path=app.root_path,
    )
    return kwargs


def send_file(
    path_or_file: os.PathLike[AnyStr] | str | IO[bytes],
    mimetype: str | None = None,
    as_attachment: bool = False,
    download_name: str | None = None,
    conditional: bool = True,
    etag: bool | str = True,
    last_modified: datetime | int | float | None = None,
    max_age: int | Callable[[str | None], int | None] | None = None,
) -> Response:
    """Create a response with the contents of a file. ::

        return send_file("reports/2026.pdf", as_attachment=True)

    Never pass a path that comes from the client: use :func:`send_from_directory` for those.

    :param path_or_file: a path, relative to the app's root path; or a file open in binary mode and
        positioned at its start.
    :param mimetype: the MIME type. Default: guessed from the file name.
    :param as_attachment: ``True`` to have browsers save the file instead of showing it.
    :param download_name: the file name for the browser. Default: the name of the file. Without a
        name, a file object also needs ``mimetype``.
    :param conditional: answer conditional and range requests (RFC 9110 sections 13 and 14).
        Default: ``True``.
    :param etag: ``True`` to derive the ETag from the file's size and time, ``False`` for none, or
        a string to use. Default: ``True``.
    :param last_modified: the time of the last change. Default: that of the file.
    :param max_age: the seconds for which browsers may cache the file, or a function that returns
        them for a path. Default: ``app.get_send_file_max_age``.
    :raises FileNotFoundError: if the file does not exist.
    :raises ValueError: if the file object was opened in text mode.
    """
    response = werkzeug.utils.send_file(
        **_prepare_send_file_kwargs(
            path_or_file=path_or_file,
            mimetype=mimetype,
            as_attachment=as_attachment,
            download_name=download_name,
            conditional=conditional,
            etag=etag,
            last_modified=last_modified,
            max_age=max_age,
        )
    )
    return cast(Response, response)


def send_from_directory(
    directory: os.PathLike[str] | str, path: os.PathLike[str] | str, **kwargs: Any
) -> Response:
    """Send a file whose path comes from the client, like :func:`send_file`, but only from inside a
    directory. ::

        @app.get("/reports/<path:name>")
        def report(name):
            return send_from_directory("reports", name, max_age=3600)

    :param directory: the directory, relative to the app's root path. Never from the client.
    :param path: the path of the file, relative to the directory.
    :param kwargs: passed to :func:`send_file`.
    :raises werkzeug.exceptions.NotFound: if the path is not a file inside the directory.
    """
    response = werkzeug.utils.send_from_directory(
        directory, path, **_prepare_send_file_kwargs(**kwargs)
    )
    return cast(Response, response)


def get_root_path(import_name: str) -> str:
    """Return the directory of a module or package, or the current directory for one without a
    file, as in an interactive session. The module is imported only if its file cannot be found
    otherwise.

    :raises RuntimeError: if an importable module has no file, such as a namespace package.
    """
    filename: str | None = getattr(sys.modules.get(import_name), "__file__", None)

    if filename is not None:
        return os.path.dirname(os.path.abspath(filename))

    try:
        spec = importlib.util.find_spec(import_name)
    except (ImportError, ValueError):  # ValueError: a module without a spec, such as __main__
        spec = None

    loader: Any = None if spec is None else spec.loader

    if loader is None:
        return os.getcwd()

    if hasattr(loader, "get_filename"):
        filename = loader.get_filename(import_name)
    else:
        filename = getattr(importlib.import_module(import_name), "__file__", None)

    if filename is None:
        raise RuntimeError(
            f"{import_name!r} has no file, so its root path is unknown: it is a namespace"
            " package, or was created by an import hook. Pass the path as 'root_path='."
        )

    return os.path.dirname(os.path.abspath(filename))
