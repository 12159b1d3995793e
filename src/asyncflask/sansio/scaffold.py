"""The common base of apps and blueprints: where their files are, and the registries that their
decorators fill.

Registration only: nothing here runs a registered function or uses a request. The registries are
live and have Flask's shapes, since extensions read and write them.
"""

from __future__ import annotations

import functools
import inspect
import os
import typing as t
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakSet

from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.utils import cached_property

from .. import typing as ft
from ..asgi.threads import is_async
from ..ctx import _cv_request
from ..helpers import _default_template_ctx_processor, get_root_path
from ..lazy import Lazy
from .packages import find_package as find_package  # exported: Flask has it here
from .route_options import check_parentheses

if t.TYPE_CHECKING:
    from jinja2 import BaseLoader

_sentinel: t.Any = object()
"""Means "not given" where `None` has another meaning."""

F = t.TypeVar("F", bound=Callable[..., t.Any])
T_after_request = t.TypeVar("T_after_request", bound=ft.AfterRequestCallable[t.Any])
T_before_request = t.TypeVar("T_before_request", bound=ft.BeforeRequestCallable)
T_error_handler = t.TypeVar("T_error_handler", bound=ft.ErrorHandlerCallable)
T_teardown = t.TypeVar("T_teardown", bound=ft.TeardownCallable)
T_template_context_processor = t.TypeVar(
    "T_template_context_processor", bound=ft.TemplateContextProcessorCallable
)
T_url_defaults = t.TypeVar("T_url_defaults", bound=ft.URLDefaultCallable)
T_url_value_preprocessor = t.TypeVar(
    "T_url_value_preprocessor", bound=ft.URLValuePreprocessorCallable
)
T_route = t.TypeVar("T_route", bound=ft.RouteCallable)
T_after_websocket = t.TypeVar("T_after_websocket", bound=Callable[[t.Any], t.Any])
T_websocket = t.TypeVar("T_websocket", bound=Callable[..., t.Any])
T_serving = t.TypeVar("T_serving", bound=Callable[[], t.Any])


_decorated: WeakSet[t.Any] = WeakSet()
"""The views that `Scaffold.route` decorated."""


def is_decorated_view(f: object) -> bool:
    """Return `True` if `route`, or a decorator like `get`, registered *f*."""
    try:
        return f in _decorated
    except TypeError:  # cannot have weak references
        return False


def setupmethod(f: F) -> F:
    """Mark a method that may only be called while the app or blueprint is being set up."""
    name = f.__name__

    @functools.wraps(f)
    def checked(self: Scaffold, *args: object, **kwargs: object) -> t.Any:
        self._check_setup_finished(name)
        return f(self, *args, **kwargs)

    return t.cast(F, checked)


def register_named(add: Callable[..., None], name: F | str | None) -> F | Callable[[F], F]:
    """Return a decorator that registers a function through *add*, as *name* or under its own name.
    In a decorator written without parentheses, *name* is the function."""
    if callable(name):
        add(name)
        return name

    def decorator(f: F) -> F:
        add(f, name=name)
        return f

    return decorator


class Scaffold:
    """The common base of `App` and `Blueprint`. Use one of those.

    :param import_name: the module or package that defines the object; usually `__name__`.
    :param static_folder: a folder of files to serve, relative to `root_path`. Default: `None`, no
        static files.
    :param static_url_path: the URL prefix of the static files. Default: the name of the folder.
    :param template_folder: a folder of templates, relative to `root_path`. Default: `None`.
    :param root_path: the directory that relative paths start from. Default: the directory of
        `import_name`.
    """

    cli: Lazy[t.Any]
    """The commands: a `click.Group`."""
    name: str
    _static_folder: str | None = None
    _static_url_path: str | None = None

    def __init__(
        self,
        import_name: str,
        static_folder: str | os.PathLike[str] | None = None,
        static_url_path: str | None = None,
        template_folder: str | os.PathLike[str] | None = None,
        root_path: str | None = None,
    ) -> None:
        self.import_name = import_name
        self.static_folder = static_folder
        self.static_url_path = static_url_path
        self.template_folder = template_folder
        self.root_path = get_root_path(import_name) if root_path is None else root_path

        # In the registries, the outer key is the name of the blueprint whose requests an entry
        # is for; `None` is every request of the app, or in a blueprint, its own requests.

        self.view_functions: dict[str, ft.RouteCallable] = {}
        """The view of each endpoint."""

        self.error_handler_spec: dict[
            ft.AppOrBlueprintKey,
            dict[int | None, dict[type[Exception], ft.ErrorHandlerCallable]],
        ] = defaultdict(lambda: defaultdict(dict))
        """By scope, then by HTTP status (`None`: not an HTTP error), then by exception class."""

        self.before_request_funcs: dict[ft.AppOrBlueprintKey, list[ft.BeforeRequestCallable]] = (
            defaultdict(list)
        )
        self.after_request_funcs: dict[
            ft.AppOrBlueprintKey, list[ft.AfterRequestCallable[t.Any]]
        ] = defaultdict(list)
        self.teardown_request_funcs: dict[ft.AppOrBlueprintKey, list[ft.TeardownCallable]] = (
            defaultdict(list)
        )
        self.template_context_processors: dict[
            ft.AppOrBlueprintKey, list[ft.TemplateContextProcessorCallable]
        ] = defaultdict(list, {None: [_default_template_ctx_processor]})
        self.url_value_preprocessors: dict[
            ft.AppOrBlueprintKey, list[ft.URLValuePreprocessorCallable]
        ] = defaultdict(list)
        self.url_default_functions: dict[ft.AppOrBlueprintKey, list[ft.URLDefaultCallable]] = (
            defaultdict(list)
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def _check_setup_finished(self, f_name: str) -> None:
        raise NotImplementedError

    # -- files ------------------------------------------------------------------------------

    @property
    def static_folder(self) -> str | None:
        """The absolute path of the static folder, or `None`. Assign a relative path to resolve it
        against `root_path`."""
        if self._static_folder is None:
            return None
        return os.path.join(self.root_path, self._static_folder)

    @static_folder.setter
    def static_folder(self, value: str | os.PathLike[str] | None) -> None:
        self._static_folder = None if value is None else os.fspath(value).rstrip(r"\/")

    @property
    def has_static_folder(self) -> bool:
        """`True` if `static_folder` is set."""
        return self.static_folder is not None

    @property
    def static_url_path(self) -> str | None:
        """The URL prefix of the static files, or `None` without a static folder. Default: the name
        of the folder."""
        if self._static_url_path is not None:
            return self._static_url_path
        if self.static_folder is None:
            return None
        return f"/{os.path.basename(self.static_folder)}".rstrip("/")

    @static_url_path.setter
    def static_url_path(self, value: str | None) -> None:
        self._static_url_path = None if value is None else value.rstrip("/")

    @cached_property
    def jinja_loader(self) -> BaseLoader | None:
        """The Jinja loader for `template_folder`, or `None` without one. Override it to load
        templates from somewhere else, such as a package or a database."""
        if self.template_folder is None:
            return None
        from jinja2 import FileSystemLoader  # which only templates need

        return FileSystemLoader(os.path.join(self.root_path, self.template_folder))

    # -- routes -----------------------------------------------------------------------------

    def _method_route(
        self, method: str, rule: str, options: dict[str, t.Any]
    ) -> Callable[[T_route], T_route]:
        check_parentheses(rule, f"@app.{method.lower()}")
        if "methods" in options:
            raise TypeError(
                f"'{method.lower()}' registers one method and does not accept 'methods'."
                f" Write .route({rule!r}, methods={options['methods']!r}) instead."
            )
        return self.route(rule, methods=[method], **options)

    @setupmethod
    def get(self, rule: str, **options: t.Any) -> Callable[[T_route], T_route]:
        """Register a view for GET requests, and with them HEAD. Short for `route` with
        `methods=["GET"]`; the options are the same."""
        return self._method_route("GET", rule, options)

    @setupmethod
    def post(self, rule: str, **options: t.Any) -> Callable[[T_route], T_route]:
        """Register a view for POST requests. Short for `route` with `methods=["POST"]`."""
        return self._method_route("POST", rule, options)

    @setupmethod
    def put(self, rule: str, **options: t.Any) -> Callable[[T_route], T_route]:
        """Register a view for PUT requests. Short for `route` with `methods=["PUT"]`."""
        return self._method_route("PUT", rule, options)

    @setupmethod
    def delete(self, rule: str, **options: t.Any) -> Callable[[T_route], T_route]:
        """Register a view for DELETE requests. Short for `route` with `methods=["DELETE"]`."""
        return self._method_route("DELETE", rule, options)

    @setupmethod
    def patch(self, rule: str, **options: t.Any) -> Callable[[T_route], T_route]:
        """Register a view for PATCH requests. Short for `route` with `methods=["PATCH"]`."""
        return self._method_route("PATCH", rule, options)

    @setupmethod
    def websocket(self, rule: str, **options: t.Any) -> Callable[[T_websocket], T_websocket]:
        """Register the decorated function as the handler of WebSockets at *rule*. ::

            @app.websocket("/echo")
            async def echo():
                async for message in websocket:
                    await websocket.send(message)

        The hooks, error handlers and session of HTTP views apply to it as well.

        :param allowed_origins: the origins, such as `https://example.org`, that may connect in
            addition to the app's own. Default: the `WEBSOCKET_ALLOWED_ORIGINS` setting.
        :param options: the fields of `WebSocketOptions`, which default to the `WEBSOCKET_*`
            settings, and the options of `add_url_rule` except `methods`.
        :raises TypeError, ValueError: if an option has an invalid value or does not apply to
            WebSockets.
        """
        check_parentheses(rule, "@app.websocket")
        return self.route(rule, websocket=True, **options)

    @setupmethod
    def route(self, rule: str, **options: t.Any) -> Callable[[T_route], T_route]:
        """Register the decorated view for a URL rule. ::

            @app.route("/notes/<int:id>", methods=["GET", "POST"])
            async def note(id):
                ...

        The view may be `def` or `async def`. It receives the variables of the rule as keyword
        arguments. The decorator returns the view unchanged, so you can stack several routes on it.

        :param rule: the URL, in which `<name>` or `<converter:name>` marks a variable.
        :param endpoint: the name that `url_for` uses. Default: the view's `__name__`.
        :param options: passed to `add_url_rule`: `methods`, `defaults`, `timeout` and others.
        :raises TypeError: if you write the decorator without parentheses.
        """
        check_parentheses(rule, "@app.route")

        def decorator(f: T_route) -> T_route:
            endpoint = options.pop("endpoint", None)
            self.add_url_rule(rule, endpoint, f, **options)
            with suppress(TypeError):  # not every callable can have weak references
                _decorated.add(f)
            return f

        return decorator

    @setupmethod
    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: ft.RouteCallable | None = None,
        provide_automatic_options: bool | None = None,
        **options: t.Any,
    ) -> None:
        """Register a URL rule and, with *view_func*, the view for its endpoint. `route` is the
        decorator for it. ::

            app.add_url_rule("/", view_func=index)

        You can register several rules for one endpoint, as long as they all use the same view.

        :param rule: the URL, in which `<name>` or `<converter:name>` marks a variable.
        :param endpoint: the name that `url_for` uses. Default: the view's `__name__`.
        :param view_func: the view. You can add it later with `endpoint`. If it has the attributes
            `methods`, `required_methods` or `provide_automatic_options`, they are used for the
            rule.
        :param provide_automatic_options: `True` to answer OPTIONS requests automatically. Default:
            the `PROVIDE_AUTOMATIC_OPTIONS` setting, unless `methods` contains OPTIONS.
        :param methods: a collection of HTTP methods. Default: GET. GET includes HEAD.
        :param websocket: `True` to register a WebSocket handler; see `websocket`.
        :param stream: `True` to call the view before the body has arrived. Read it with `async for
            chunk in request.stream`.
        :param cancel_on_disconnect: `True` to cancel an `async def` view when its client
            disconnects. Default: the `CANCEL_ON_DISCONNECT` setting.
        :param timeout: the seconds after which the client gets a 503 if the view has not returned.
            An `async def` view is cancelled; a sync view keeps running and its return value is
            discarded.
        :param max_content_length: the largest body accepted, in bytes; a larger one is rejected
            with 413. Default: the `MAX_CONTENT_LENGTH` setting.
        :param options: anything else is passed to `werkzeug.routing.Rule`: `defaults`,
            `subdomain`, `host`, `strict_slashes`, `redirect_to` and others.
        :raises TypeError: if options contradict each other.
        :raises AssertionError: if the endpoint already has a different view.
        """
        raise NotImplementedError

    @setupmethod
    def endpoint(self, endpoint: str) -> Callable[[F], F]:
        """Register the decorated function as the view of *endpoint*, for a rule that was added
        without a view. ::

            app.add_url_rule("/about", endpoint="about")

            @app.endpoint("about")
            def about():
                ...
        """
        check_parentheses(endpoint, "@app.endpoint", '"name"')

        def decorator(f: F) -> F:
            self.view_functions[endpoint] = f
            return f

        return decorator

    # -- hooks ------------------------------------------------------------------------------

    @setupmethod
    def before_request(self, f: T_before_request) -> T_before_request:
        """Call *f* without arguments before each request, in the order of registration. On a
        blueprint: before each request that the blueprint handles. ::

            @app.before_request
            def load_user():
                g.user = users.get(session.get("user_id"))

        If *f* returns anything but `None`, that value becomes the response: neither the remaining
        functions nor the view are called.
        """
        self.before_request_funcs.setdefault(None, []).append(f)
        return f

    @setupmethod
    def after_request(self, f: T_after_request) -> T_after_request:
        """Call *f* with the response of each request; it must return this response or another one.
        On a blueprint: for each request that the blueprint handles. ::

            @app.after_request
            def no_sniffing(response):
                response.headers["X-Content-Type-Options"] = "nosniff"
                return response

        The functions run in reverse order of registration. If one raises, the rest are skipped:
        put cleanup in `teardown_request`.
        """
        self.after_request_funcs.setdefault(None, []).append(f)
        return f

    @setupmethod
    def teardown_request(self, f: T_teardown) -> T_teardown:
        """Call *f* when the request context ends, after the response is complete, even if the
        request failed. On a blueprint: for each request that the blueprint handles.

        The functions run in reverse order of registration. Each receives the unhandled exception,
        or `None` if there was none or an error handler took care of it. Return values are ignored.
        A teardown function should not raise.
        """
        self.teardown_request_funcs.setdefault(None, []).append(f)
        return f

    @setupmethod
    def before_websocket(self, f: T_before_request) -> T_before_request:
        """`before_request` for WebSockets only, with Quart's name. If *f* returns anything but
        `None`, that value is the response that rejects the handshake."""
        self.before_request(t.cast(ft.BeforeRequestCallable, _for_websockets(f)))
        return f

    @setupmethod
    def after_websocket(self, f: T_after_websocket) -> T_after_websocket:
        """`after_request` for WebSockets only, with Quart's name. *f* receives the response that
        rejects a handshake, and returns it or another one. For an accepted connection, *f* is
        called with `None` when the connection ends."""
        self.after_request(_for_websockets(f))
        self.teardown_request(_for_websockets(f, accepted=True))
        return f

    @setupmethod
    def teardown_websocket(self, f: T_teardown) -> T_teardown:
        """`teardown_request` for WebSockets only, with Quart's name."""
        self.teardown_request(_for_websockets(f))
        return f

    @setupmethod
    def context_processor(self, f: T_template_context_processor) -> T_template_context_processor:
        """Call *f* without arguments when a template is rendered, and add the dict it returns to
        the template's variables. On a blueprint: for templates rendered by the blueprint's views.
        ::

            @app.context_processor
            def add_version():
                return {"version": __version__}

        Values passed to `render_template` take precedence.
        """
        self.template_context_processors[None].append(f)
        return f

    @setupmethod
    def url_value_preprocessor(self, f: T_url_value_preprocessor) -> T_url_value_preprocessor:
        """Call *f* with the endpoint and the dict of URL values before the `before_request`
        functions run. *f* may change the dict. ::

            @app.url_value_preprocessor
            def take_language(endpoint, values):
                g.language = values.pop("language", "en")

        On a blueprint: for each request that the blueprint handles. Return values are ignored.
        """
        self.url_value_preprocessors[None].append(f)
        return f

    @setupmethod
    def url_defaults(self, f: T_url_defaults) -> T_url_defaults:
        """Call *f* with the endpoint and the dict of values whenever a URL is built. *f* may
        change the dict, usually to add a value that every URL has::

            @app.url_defaults
            def add_language(endpoint, values):
                values.setdefault("language", g.language)

        On a blueprint: for the blueprint's endpoints. *f* must be `def`, since URLs are built by
        sync code.
        """
        self.url_default_functions[None].append(f)
        return f

    # -- errors -----------------------------------------------------------------------------

    @setupmethod
    def errorhandler(
        self, code_or_exception: type[Exception] | int
    ) -> Callable[[T_error_handler], T_error_handler]:
        """Register the decorated function, `def` or `async def`, as the handler of an HTTP status
        or an exception class. ::

            @app.errorhandler(404)
            def not_found(error):
                return render_template("missing.html"), 404

        The handler receives the exception, and its return value becomes the response. The handler
        for the closest class in the exception's inheritance wins; a blueprint's handlers take
        precedence over the app's for errors raised while the blueprint handles a request. A 404
        for an unknown URL belongs to no blueprint, so only the app's handler sees it.

        :param code_or_exception: an HTTP status from 400 up, or a subclass of `Exception`.
        :raises ValueError, TypeError: as for `register_error_handler`.
        """
        check_parentheses(code_or_exception, "@app.errorhandler", "404")

        def decorator(f: T_error_handler) -> T_error_handler:
            self.register_error_handler(code_or_exception, f)
            return f

        return decorator

    @setupmethod
    def register_error_handler(
        self, code_or_exception: type[Exception] | int, f: ft.ErrorHandlerCallable
    ) -> None:
        """Register *f* as the handler of an HTTP status or an exception class, as the decorator
        `errorhandler` does.

        :raises ValueError: if the status is unknown or the class is not a subclass of `Exception`.
        :raises TypeError: if you pass an exception instead of its class.
        """
        exc_class, code = self._get_exc_class_and_code(code_or_exception)
        self.error_handler_spec[None][code][exc_class] = f

    @staticmethod
    def _get_exc_class_and_code(
        exc_class_or_code: type[Exception] | int,
    ) -> tuple[type[Exception], int | None]:
        """Return the exception class for a handler, and its HTTP status if it has one."""
        exc_class: t.Any = exc_class_or_code  # checked, since callers get it wrong

        if isinstance(exc_class, int):
            if exc_class not in default_exceptions:
                raise ValueError(
                    f"'{exc_class}' is not a recognized HTTP error code. Use a subclass of"
                    " HTTPException that has it as its 'code', and register that."
                )
            exc_class = default_exceptions[exc_class]

        wanted = "Register an error handler for an exception class or an HTTP error code."
        if not isinstance(exc_class, type):
            raise TypeError(f"{exc_class!r} is an instance, not a class. {wanted}")
        if not issubclass(exc_class, Exception):
            raise ValueError(f"'{exc_class.__name__}' is not a subclass of Exception. {wanted}")

        return exc_class, exc_class.code if issubclass(exc_class, HTTPException) else None


def _endpoint_from_view_func(view_func: ft.RouteCallable | None) -> str:
    """Return the default endpoint of a rule: the view's name."""
    assert view_func is not None, (
        "A rule needs a view function, or an endpoint if you add the view later."
    )
    return view_func.__name__


def _for_websockets(f: Callable[..., t.Any], accepted: bool = False) -> Callable[..., t.Any]:
    """Wrap *f* in a hook that ignores HTTP requests, since every hook runs for both. The hook
    is async if *f* is, so that it costs requests no thread change.

    *accepted*: a teardown function, which calls *f* with `None` for an accepted connection.
    """

    def concerned() -> bool:
        ctx = _cv_request.get(None)
        websocket = None if ctx is None else ctx.websocket
        return websocket is not None and (websocket.accepted or not accepted)

    def hook(*args: object) -> t.Any:
        if not concerned():
            return args[0] if args else None  # the response is unchanged
        return f(None) if accepted else f(*args)

    async def async_hook(*args: object) -> t.Any:
        value = hook(*args)
        return await value if concerned() else value

    return functools.wraps(f)(async_hook if is_async(f) else hook)


def _check_serving_hook(f: Callable[[], t.Any], name: str) -> None:
    """Check that *f* is a function without arguments, not a generator function."""
    if inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f):
        raise TypeError(
            f"'{name}' takes a sync or async function, but {f!r} is a generator function, whose"
            " body would never run. To run code before and after a 'yield', use"
            f" '{name.replace('before', 'while').replace('after', 'while')}' instead."
        )
    if not callable(f):
        raise TypeError(f"'{name}' takes a function without arguments, not {f!r}.")


def _check_serving_generator(f: Callable[[], t.Any], name: str) -> None:
    """Check that *f* is a generator function."""
    if not (inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f)):
        raise TypeError(
            f"'{name}' takes a generator function, 'def' or 'async def', that yields once"
            f" between startup and shutdown. {f!r} is not one. (Remove '@asynccontextmanager' if"
            " you used it.)"
        )
