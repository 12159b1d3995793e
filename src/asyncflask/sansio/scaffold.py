"""What apps and blueprints have in common: the location of their files, and the registries that
their decorators fill.

Registration only. Nothing here runs a registered function or knows about requests. The
registries are live and have Flask's shapes: extensions read them and write to them.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import os
import pathlib
import sys
import typing as t
from collections import defaultdict
from collections.abc import Callable

from click import Group
from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.utils import cached_property

from .. import typing as ft
from ..asgi.threads import is_async
from ..ctx import _cv_request
from ..helpers import _default_template_ctx_processor, get_root_path

if t.TYPE_CHECKING:
    from jinja2 import BaseLoader

_sentinel: t.Any = object()
"""Stands for "not given" where `None` has a meaning of its own."""

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


def setupmethod(f: F) -> F:
    """Mark a method that may only be called while the app or blueprint is being set up."""
    name = f.__name__

    @functools.wraps(f)
    def checked(self: Scaffold, *args: t.Any, **kwargs: t.Any) -> t.Any:
        self._check_setup_finished(name)
        return f(self, *args, **kwargs)

    return t.cast(F, checked)


def register_named(add: Callable[..., None], name: F | str | None) -> F | Callable[[F], F]:
    """A decorator that registers a function by *add*, under *name* or its own name. *name* is
    the function itself where the decorator is written without parentheses."""
    if callable(name):
        add(name)
        return name

    def decorator(f: F) -> F:
        add(f, name=name)
        return f

    return decorator


class Scaffold:
    """The common base of `App` and `Blueprint`.

    :param import_name: the module or package that this object is defined in, as `__name__`.
    :param static_folder: a folder of files to serve, relative to `root_path`. `None`: no files.
    :param static_url_path: the URL prefix of these files. Default: the folder's name.
    :param template_folder: a folder of templates, relative to `root_path`.
    :param root_path: what the folders are relative to. Default: found through `import_name`.
    """

    cli: Group
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
        # is for, or None: every request of the app; inside a blueprint, None: its own requests.

        self.view_functions: dict[str, ft.RouteCallable] = {}
        """The view of each endpoint."""

        self.error_handler_spec: dict[
            ft.AppOrBlueprintKey,
            dict[int | None, dict[type[Exception], ft.ErrorHandlerCallable]],
        ] = defaultdict(lambda: defaultdict(dict))
        """By scope, by HTTP status (`None`: not an HTTP error), by exception class."""

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
        """The absolute path of the static folder, or `None`."""
        if self._static_folder is None:
            return None
        return os.path.join(self.root_path, self._static_folder)

    @static_folder.setter
    def static_folder(self, value: str | os.PathLike[str] | None) -> None:
        self._static_folder = None if value is None else os.fspath(value).rstrip(r"\/")

    @property
    def has_static_folder(self) -> bool:
        """Whether there is a `static_folder`."""
        return self.static_folder is not None

    @property
    def static_url_path(self) -> str | None:
        """The URL prefix of the static files. Unless set, the folder's name."""
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
        """The loader of this object's templates: its `template_folder`, or `None`."""
        if self.template_folder is None:
            return None
        from jinja2 import FileSystemLoader  # which only templates need

        return FileSystemLoader(os.path.join(self.root_path, self.template_folder))

    # -- routes -----------------------------------------------------------------------------

    def _method_route(
        self, method: str, rule: str, options: dict[str, t.Any]
    ) -> Callable[[T_route], T_route]:
        if "methods" in options:
            raise TypeError(
                f"'{method.lower()}' registers one method and does not accept 'methods'."
                f" Write .route({rule!r}, methods={options['methods']!r}) instead."
            )
        return self.route(rule, methods=[method], **options)

    @setupmethod
    def get(self, rule: str, **options: t.Any) -> Callable[[T_route], T_route]:
        """`route` for GET (and so HEAD) only."""
        return self._method_route("GET", rule, options)

    @setupmethod
    def post(self, rule: str, **options: t.Any) -> Callable[[T_route], T_route]:
        """`route` for POST only."""
        return self._method_route("POST", rule, options)

    @setupmethod
    def put(self, rule: str, **options: t.Any) -> Callable[[T_route], T_route]:
        """`route` for PUT only."""
        return self._method_route("PUT", rule, options)

    @setupmethod
    def delete(self, rule: str, **options: t.Any) -> Callable[[T_route], T_route]:
        """`route` for DELETE only."""
        return self._method_route("DELETE", rule, options)

    @setupmethod
    def patch(self, rule: str, **options: t.Any) -> Callable[[T_route], T_route]:
        """`route` for PATCH only."""
        return self._method_route("PATCH", rule, options)

    @setupmethod
    def websocket(self, rule: str, **options: t.Any) -> Callable[[T_websocket], T_websocket]:
        """Decorate the handler of WebSockets at *rule*. The same hooks, error handlers and
        session as for a view apply.

        :param allowed_origins: the origins, as `https://example.org`, that may connect besides
            the app's. Default: what the config's `WEBSOCKET_ALLOWED_ORIGINS` says.
        :param options: those of `WebSocketOptions`, whose defaults are the config's, under the
            same names after `WEBSOCKET_`; and as for `add_url_rule`, without `methods`.
        :raises TypeError, ValueError: for options that make no sense.
        """
        return self.route(rule, websocket=True, **options)

    @setupmethod
    def route(self, rule: str, **options: t.Any) -> Callable[[T_route], T_route]:
        """Decorate a view to register it at *rule*. The options, `endpoint` among them, are
        those of `add_url_rule`."""

        def decorator(f: T_route) -> T_route:
            endpoint = options.pop("endpoint", None)
            self.add_url_rule(rule, endpoint, f, **options)
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
        """Register a URL rule, and the view of its endpoint.

        :param endpoint: the name for `url_for`. Default: the view's `__name__`.
        :param view_func: the view. May come later, by `endpoint`. Its attributes `methods`,
            `required_methods` and `provide_automatic_options` count, if it has them.
        :param provide_automatic_options: answer OPTIONS. Default: unless `methods` has it, as
            the config's `PROVIDE_AUTOMATIC_OPTIONS` says.
        :param methods: a collection of HTTP methods. Default: GET. With GET comes HEAD.
        :param websocket: the rule is for WebSockets; see `websocket`.
        :param stream: leave the body to the view, to be iterated with
            `async for chunk in request.stream`; nothing is received beforehand.
        :param cancel_on_disconnect: cancel an `async def` view when its client leaves.
            Default: as the app's config says.
        :param timeout: seconds after which a view that has not returned is answered for with a
            503. An `async def` view is cancelled; a sync one runs on, and nobody sees its value.
        :param max_content_length: refuse a longer body with 413, in place of the config's
            `MAX_CONTENT_LENGTH`.
        :param options: the rest is for `werkzeug.routing.Rule`.
        :raises TypeError: for options that do not go together.
        :raises AssertionError: if the endpoint has another view already.
        """
        raise NotImplementedError

    @setupmethod
    def endpoint(self, endpoint: str) -> Callable[[F], F]:
        """Decorate the view of an endpoint whose rule was added without one."""

        def decorator(f: F) -> F:
            self.view_functions[endpoint] = f
            return f

        return decorator

    # -- hooks ------------------------------------------------------------------------------

    @setupmethod
    def before_request(self, f: T_before_request) -> T_before_request:
        """Call *f* without arguments before each request (of a blueprint: before each of its
        own). What it returns, unless `None`, is the response, and the view is not called."""
        self.before_request_funcs.setdefault(None, []).append(f)
        return f

    @setupmethod
    def after_request(self, f: T_after_request) -> T_after_request:
        """Call *f* with each response; it returns that one or another. It is left out if an
        earlier one raises: what must happen belongs into `teardown_request`."""
        self.after_request_funcs.setdefault(None, []).append(f)
        return f

    @setupmethod
    def teardown_request(self, f: T_teardown) -> T_teardown:
        """Call *f* at the end of each request, whatever happened, with the exception that no
        error handler took, or `None`. What it returns is ignored."""
        self.teardown_request_funcs.setdefault(None, []).append(f)
        return f

    @setupmethod
    def before_websocket(self, f: T_before_request) -> T_before_request:
        """`before_request` for WebSockets only: what *f* returns, unless `None`, refuses the
        handshake (Quart: `before_websocket`)."""
        self.before_request(t.cast(ft.BeforeRequestCallable, _for_websockets(f)))
        return f

    @setupmethod
    def after_websocket(self, f: T_after_websocket) -> T_after_websocket:
        """Call *f* with the response that refuses a WebSocket's handshake, of which it returns
        that or another; and with `None` at the end of each connection that was accepted (Quart:
        `after_websocket`)."""
        self.after_request(_for_websockets(f))
        self.teardown_request(_for_websockets(f, accepted=True))
        return f

    @setupmethod
    def teardown_websocket(self, f: T_teardown) -> T_teardown:
        """`teardown_request` for WebSockets only (Quart: `teardown_websocket`)."""
        self.teardown_request(_for_websockets(f))
        return f

    @setupmethod
    def context_processor(self, f: T_template_context_processor) -> T_template_context_processor:
        """Add what *f* returns, a dict, to the variables of each template."""
        self.template_context_processors[None].append(f)
        return f

    @setupmethod
    def url_value_preprocessor(self, f: T_url_value_preprocessor) -> T_url_value_preprocessor:
        """Call *f* with the endpoint and the view's arguments, a dict that it may change,
        before the `before_request` functions."""
        self.url_value_preprocessors[None].append(f)
        return f

    @setupmethod
    def url_defaults(self, f: T_url_defaults) -> T_url_defaults:
        """Call *f* with the endpoint and the values, a dict that it may change, whenever a URL
        is built."""
        self.url_default_functions[None].append(f)
        return f

    # -- errors -----------------------------------------------------------------------------

    @setupmethod
    def errorhandler(
        self, code_or_exception: type[Exception] | int
    ) -> Callable[[T_error_handler], T_error_handler]:
        """Decorate the handler of an HTTP status or of an exception class. It is called with
        the exception, and what it returns is the response."""

        def decorator(f: T_error_handler) -> T_error_handler:
            self.register_error_handler(code_or_exception, f)
            return f

        return decorator

    @setupmethod
    def register_error_handler(
        self, code_or_exception: type[Exception] | int, f: ft.ErrorHandlerCallable
    ) -> None:
        """`errorhandler` without the decorator.

        :raises ValueError: not a known status, or not a class of exceptions.
        :raises TypeError: an exception in place of its class.
        """
        exc_class, code = self._get_exc_class_and_code(code_or_exception)
        self.error_handler_spec[None][code][exc_class] = f

    @staticmethod
    def _get_exc_class_and_code(
        exc_class_or_code: type[Exception] | int,
    ) -> tuple[type[Exception], int | None]:
        """The exception class that a handler is for, and its HTTP status if it has one."""
        exc_class: t.Any = exc_class_or_code  # Callers get it wrong: checked, not trusted.

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
    """The endpoint of a rule that names none."""
    assert view_func is not None, (
        "A rule needs a view function, or an endpoint if you add the view later."
    )
    return view_func.__name__


def _for_websockets(f: Callable[..., t.Any], accepted: bool = False) -> Callable[..., t.Any]:
    """Wrap *f* in a hook that ignores HTTP requests, since every hook is called for both. The
    hook is async if *f* is, so that it costs requests no change of thread.

    *accepted*: a teardown function, which calls *f* with `None` for an accepted connection.
    """

    def concerned() -> bool:
        ctx = _cv_request.get(None)
        websocket = None if ctx is None else ctx.websocket
        return websocket is not None and (websocket.accepted or not accepted)

    def hook(*args: t.Any) -> t.Any:
        if not concerned():
            return args[0] if args else None  # a response stays what it is
        return f(None) if accepted else f(*args)

    async def async_hook(*args: t.Any) -> t.Any:
        value = hook(*args)
        return await value if concerned() else value

    return functools.wraps(f)(async_hook if is_async(f) else hook)


def _check_serving_hook(f: Callable[[], t.Any], name: str) -> None:
    """`before_serving` and `after_serving` take functions that run once, to their end."""
    if inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f):
        raise TypeError(
            f"'{name}' takes a sync or async function, but {f!r} is a generator function, whose"
            " body would never run. To run code before and after a 'yield', use"
            f" '{name.replace('before', 'while').replace('after', 'while')}' instead."
        )
    if not callable(f):
        raise TypeError(f"'{name}' takes a function without arguments, not {f!r}.")


def _check_serving_generator(f: Callable[[], t.Any], name: str) -> None:
    """`while_serving` takes generator functions: one `yield`, start before, stop after it."""
    if not (inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f)):
        raise TypeError(
            f"'{name}' takes a generator function, 'def' or 'async def', that yields once"
            f" between startup and shutdown. {f!r} is not one. (Remove '@asynccontextmanager' if"
            " you used it.)"
        )


# -- where a package is ---------------------------------------------------------------------


def _find_package_path(import_name: str) -> str:
    """The folder from which *import_name*'s root package or module is imported."""
    root_name = import_name.partition(".")[0]
    try:
        spec = importlib.util.find_spec(root_name)
    except (ImportError, ValueError):  # ValueError: __main__, or not a module name at all.
        spec = None

    if spec is None:
        return os.getcwd()
    if not spec.submodule_search_locations:  # a module
        return os.path.dirname(spec.origin) if spec.origin else os.getcwd()
    if spec.origin is not None and spec.origin != "namespace":  # a package's __init__.py
        return os.path.dirname(os.path.dirname(spec.origin))

    # A namespace package has several folders: take the one that holds the subpackage.
    locations = list(spec.submodule_search_locations)
    package = importlib.util.find_spec(import_name)
    if package is not None and package.submodule_search_locations:
        path = pathlib.Path(os.path.commonpath(package.submodule_search_locations))
        locations = [place for place in locations if path.is_relative_to(place)]
    return os.path.dirname(locations[0])


def find_package(import_name: str) -> tuple[str | None, str]:
    """Where *import_name* is installed, as a prefix (`None`: it is not installed, but imported
    from the folder of a project) and the folder on `sys.path` that it is imported from."""
    package_path = _find_package_path(import_name)
    prefix = os.path.abspath(sys.prefix)

    if pathlib.PurePath(package_path).is_relative_to(prefix):
        return prefix, package_path

    above, folder = os.path.split(package_path)
    if folder.lower() != "site-packages":
        return None, package_path

    # Another environment's: lib/site-packages on Windows, lib/pythonX.Y/site-packages else.
    outer, inner = os.path.split(above)
    if inner.lower() == "lib":
        return outer, package_path
    if os.path.basename(outer).lower() == "lib":
        return os.path.dirname(outer), package_path
    return above, package_path
