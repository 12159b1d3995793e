"""The app before any request: its configuration, URL map, blueprints, templates and hooks.

Registration only. The steps of a request are in `dispatch.py`, the entry points of an app in
`app.py`. Only `_find_error_handler`, `inject_url_defaults` and the error predicates are called per
request; they read the registries.
"""

from __future__ import annotations

import logging
import os
import sys
import typing as t
from collections.abc import Callable, ValuesView
from datetime import timedelta
from functools import wraps
from itertools import chain
from types import CoroutineType

from werkzeug.exceptions import Aborter, BadRequest, BadRequestKeyError
from werkzeug.routing import BuildError, Rule
from werkzeug.routing import Map as MapBase
from werkzeug.utils import cached_property, redirect
from werkzeug.wrappers import Response

from .. import ctx
from .. import typing as ft
from ..asgi.threads import is_async
from ..asgi.waiting import wait
from ..asgi.websocket_rules import WebSocketOptions, disconnect_type
from ..config import Config, ConfigAttribute
from ..ctx import _AppCtxGlobals
from ..debughelpers import described
from ..helpers import FOUND, _split_blueprint_path, get_debug_flag
from ..json.provider import DefaultJSONProvider, JSONProvider
from ..lazy import Lazy
from ..logging import create_logger
from ..routing import Map
from .blueprints import Blueprint, T_template_filter, T_template_global, T_template_test
from .packages import find_package
from .route_options import ROUTE_OPTIONS, check_http_options, check_websocket_options
from .scaffold import (
    F,
    Scaffold,
    T_serving,
    T_teardown,
    _check_serving_generator,
    _check_serving_hook,
    _endpoint_from_view_func,
    register_named,
    setupmethod,
)

if t.TYPE_CHECKING:
    from ..app import Flask
    from ..templating import DispatchingJinjaLoader, Environment

T_shell_context_processor = t.TypeVar(
    "T_shell_context_processor", bound=ft.ShellContextProcessorCallable
)


def _make_timedelta(value: timedelta | int | None) -> t.Any:  # timedelta, and None for None
    if value is None or isinstance(value, timedelta):
        return value
    return timedelta(seconds=value)


class _JinjaEnvironment:
    """`App.jinja_environment`, for the app and for the class."""

    def __get__(self, app: App | None, cls: type[App]) -> type[Environment]:
        from ..templating import Environment  # imports Jinja, so only if there are templates

        return Environment


class App(Scaffold):
    """The registries of an app. Use `Flask`, which has the same parameters.

    :raises ValueError: if `instance_path` is relative.
    """

    # Subclasses may override these.
    aborter_class = Aborter
    jinja_environment: type[Environment] = _JinjaEnvironment()  # type: ignore[assignment]
    """Default: `templating.Environment`."""
    app_ctx_globals_class = _AppCtxGlobals
    config_class = Config
    json_provider_class: type[JSONProvider] = DefaultJSONProvider
    flask_api: tuple[int, int] = (3, 1)
    """The Flask version to follow where two versions differ. With ``(3, 2)``, `redirect`
    answers with 303, and a request never shares an app context that was pushed around it."""
    jinja_options: dict[str, t.Any] = {}
    url_rule_class = Rule
    url_map_class: type[MapBase] = Map
    test_client_class: type[t.Any] | None = None
    """`None`: `testing.FlaskClient`."""
    test_cli_runner_class: type[t.Any] | None = None
    """`None`: `testing.FlaskCliRunner`."""
    default_config: t.Mapping[str, t.Any]
    response_class: type[Response]

    testing = ConfigAttribute[bool]("TESTING")
    secret_key = ConfigAttribute[str | bytes | None]("SECRET_KEY")
    permanent_session_lifetime = ConfigAttribute[timedelta](
        "PERMANENT_SESSION_LIFETIME", get_converter=_make_timedelta
    )

    def __init__(
        self,
        import_name: str,
        static_url_path: str | None = None,
        static_folder: str | os.PathLike[str] | None = "static",
        static_host: str | None = None,
        host_matching: bool = False,
        subdomain_matching: bool = False,
        template_folder: str | os.PathLike[str] | None = "templates",
        instance_path: str | None = None,
        instance_relative_config: bool = False,
        root_path: str | None = None,
    ) -> None:
        super().__init__(
            import_name=import_name,
            static_folder=static_folder,
            static_url_path=static_url_path,
            template_folder=template_folder,
            root_path=root_path,
        )
        if instance_path is None:
            instance_path = self.auto_find_instance_path()
        elif not os.path.isabs(instance_path):
            raise ValueError(
                f"'instance_path' must be absolute, but {instance_path!r} is relative. Write"
                f" os.path.abspath({instance_path!r})."
            )
        self.instance_path = instance_path
        self.config = self.make_config(instance_relative_config)
        self.aborter = self.make_aborter()
        self.json: JSONProvider = self.json_provider_class(self._as_flask)

        self.url_build_error_handlers: list[
            Callable[[Exception, str, dict[str, t.Any]], str | None]
        ] = []
        """Functions called by `handle_url_build_error` with the error, the endpoint and the
        values."""
        self.teardown_appcontext_funcs: list[ft.TeardownCallable] = []
        self.shell_context_processors: list[ft.ShellContextProcessorCallable] = []
        self.before_serving_funcs: list[Callable[[], t.Any]] = []
        self.after_serving_funcs: list[Callable[[], t.Any]] = []
        self.while_serving_gens: list[Callable[[], t.Any]] = []
        """Generator functions, sync and async."""
        self.blueprints: dict[str, Blueprint] = {}
        """The blueprints by registered name, in order of registration."""
        self.extensions: dict[str, t.Any] = {}
        """Data of extensions, by extension name."""
        self.url_map = self.url_map_class(host_matching=host_matching)
        self.subdomain_matching = subdomain_matching
        self._got_first_request = False

    @property
    def _as_flask(self) -> Flask:
        # Higher layers implement the rest of it.
        return t.cast("Flask", self)

    def _check_setup_finished(self, f_name: str) -> None:
        if self._got_first_request:
            raise AssertionError(
                f"The setup method '{f_name}' was called on an app that has already handled its"
                " first request, so some requests would not see the change. Import and call"
                " everything that sets up the app before you run it."
            )

    def ensure_sync(self, func: Callable[..., t.Any]) -> Callable[..., t.Any]:
        """Wrap *func* so that sync code can call it. Implemented in the layers above."""
        raise NotImplementedError

    def app_context(self) -> ctx.AppContext:
        """A context of the app, for `with`. Implemented in the layers above."""
        raise NotImplementedError

    # -- what belongs to the app ------------------------------------------------------------

    @cached_property
    def name(self) -> str:
        """The app's name, used for its logger and in messages: the import name or, for a script,
        the name of its file. You may assign another one."""
        if self.import_name != "__main__":
            return self.import_name
        filename: str | None = getattr(sys.modules["__main__"], "__file__", None)
        if filename is None:
            return "__main__"
        return os.path.splitext(os.path.basename(filename))[0]

    @cached_property
    def logger(self) -> logging.Logger:
        """The app's logger, a standard `logging.Logger` with the app's name. In debug mode its
        level is DEBUG unless you set one. If logging is not configured, it writes to standard
        error."""
        return create_logger(self._as_flask)

    @Lazy
    def jinja_env(self) -> Environment:
        """The Jinja environment, created from `jinja_options` at the first access. Set the options
        before that; add filters, tests and globals at any time during setup."""
        return self.create_jinja_environment()

    def create_jinja_environment(self) -> Environment:
        """Create `jinja_env`. Implemented in the layers above."""
        raise NotImplementedError

    def create_global_jinja_loader(self) -> DispatchingJinjaLoader:
        """Create the loader of `jinja_env`, which finds the templates of the app and its
        blueprints."""
        from ..templating import DispatchingJinjaLoader  # as above

        return DispatchingJinjaLoader(self._as_flask)

    def select_jinja_autoescape(self, filename: str | None) -> bool:
        """Return `True` if autoescaping applies to a template: for HTML, XML and SVG file names,
        and for templates from a string (*filename* is `None`). Override it to escape other
        files."""
        return filename is None or filename.endswith((".html", ".htm", ".xml", ".xhtml", ".svg"))

    def make_config(self, instance_relative: bool = False) -> Config:
        """Create `config` from `default_config` and the environment variable `FLASK_DEBUG`.
        *instance_relative*: resolve relative file names against `instance_path`."""
        root_path = self.instance_path if instance_relative else self.root_path
        return self.config_class(root_path, {**self.default_config, "DEBUG": get_debug_flag()})

    def make_aborter(self) -> Aborter:
        """Create the app's `aborter`, which `abort` calls. Override it or `aborter_class` to add
        statuses."""
        return self.aborter_class()

    def auto_find_instance_path(self) -> str:
        """Return the default `instance_path`: the folder `instance` next to the module or package,
        or `var/NAME-instance` under the prefix that the package is installed in."""
        prefix, package_path = find_package(self.import_name)
        if prefix is None:
            return os.path.join(package_path, "instance")
        return os.path.join(prefix, "var", f"{self.name}-instance")

    @property
    def debug(self) -> bool:
        """Debug mode, the `DEBUG` setting: errors show the debugger, templates and code reload.
        Set it with `--debug` or `FLASK_DEBUG`, and never in production."""
        debug: bool = self.config["DEBUG"]
        return debug

    @debug.setter
    def debug(self, value: bool) -> None:
        self.config["DEBUG"] = value
        if self.config["TEMPLATES_AUTO_RELOAD"] is None:
            self.jinja_env.auto_reload = value

    # -- blueprints -------------------------------------------------------------------------

    @setupmethod
    def register_blueprint(self, blueprint: Blueprint, **options: t.Any) -> None:
        """Register *blueprint* on the app. Its routes, hooks and commands become the app's. ::

            app.register_blueprint(shop, url_prefix="/shop")

        :param name: register the blueprint under another name, for example to register it twice.
        :param url_prefix: overrides the blueprint's own.
        :param subdomain: overrides the blueprint's own.
        :param url_defaults: added to the blueprint's own, and preferred to them.
        :param cli_group: overrides the blueprint's own.
        :param options: anything else is available to functions passed to `Blueprint.record`.
        :raises ValueError: if the name is already registered.
        """
        blueprint.register(self, options)

    def iter_blueprints(self) -> ValuesView[Blueprint]:
        """Return the registered blueprints, in order of registration."""
        return self.blueprints.values()

    # -- routes -----------------------------------------------------------------------------

    @setupmethod
    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: ft.RouteCallable | None = None,
        provide_automatic_options: bool | None = None,
        **options: t.Any,
    ) -> None:
        if endpoint is None:
            endpoint = _endpoint_from_view_func(view_func)
        self._check_endpoint_is_free(endpoint, view_func)

        attributes = {key: options.pop(key, value) for key, value in ROUTE_OPTIONS.items()}
        of_websocket = {
            key: options.pop(key) for key in WebSocketOptions.__slots__ if key in options
        }
        methods = options.pop("methods", None)
        if options.get("websocket"):
            check_websocket_options(rule, methods, attributes)
            disconnect_type()  # now, not while the first client waits
            WebSocketOptions(**of_websocket)  # validates them
            methods, automatic_options = {"GET"}, False  # RFC 6455, 4.1: the handshake is a GET.
        else:
            check_http_options(rule, {**attributes, **of_websocket})
            methods, automatic_options = self._http_methods(
                view_func, methods, provide_automatic_options
            )

        rule_obj = self.url_rule_class(rule, methods=methods, endpoint=endpoint, **options)
        vars(rule_obj).update(attributes, provide_automatic_options=automatic_options)
        vars(rule_obj)["websocket_options"] = of_websocket
        self.url_map.add(rule_obj)
        if view_func is not None:
            self.view_functions[endpoint] = view_func

    def _check_endpoint_is_free(self, endpoint: str, view_func: ft.RouteCallable | None) -> None:
        present = self.view_functions.get(endpoint)
        if view_func is not None and present is not None and present != view_func:
            raise AssertionError(
                f"Registering {described(self, view_func)} would overwrite an existing endpoint"
                f" function: '{endpoint}' is {described(self, present)}. Pass another name as"
                " 'endpoint='. If a decorator returned both, use functools.wraps in it."
            )

    def _http_methods(
        self, view_func: ft.RouteCallable | None, methods: t.Any, automatic_options: bool | None
    ) -> tuple[set[str], bool]:
        """The rule's methods, and True if the app answers OPTIONS for it. The view's attributes
        apply where the options leave a value out."""
        if methods is None:
            methods = getattr(view_func, "methods", None) or ("GET",)
        if isinstance(methods, str):
            raise TypeError(f"'methods' must be a list of strings. Write methods=[{methods!r}].")

        methods = {method.upper() for method in methods}
        required = set(getattr(view_func, "required_methods", ()))
        if automatic_options is None:
            automatic_options = getattr(view_func, "provide_automatic_options", None)
        if automatic_options is None:
            automatic_options = "OPTIONS" not in methods and bool(
                self.config["PROVIDE_AUTOMATIC_OPTIONS"]
            )
        if automatic_options:
            required.add("OPTIONS")
        return methods | required, automatic_options

    # -- templates --------------------------------------------------------------------------

    @t.overload
    def template_filter(self, name: T_template_filter) -> T_template_filter: ...
    @t.overload
    def template_filter(
        self, name: str | None = None
    ) -> Callable[[T_template_filter], T_template_filter]: ...
    @setupmethod
    def template_filter(
        self, name: T_template_filter | str | None = None
    ) -> T_template_filter | Callable[[T_template_filter], T_template_filter]:
        """Register the decorated function as a template filter, under *name* or its own name. ::

            @app.template_filter("shout")
            def to_upper(text):
                return text.upper()

        The parentheses may be left out. The function may be `async def`.
        """
        return register_named(self.add_template_filter, name)

    @setupmethod
    def add_template_filter(self, f: ft.TemplateFilterCallable, name: str | None = None) -> None:
        """Register *f* as a template filter, as the decorator `template_filter` does."""
        self.jinja_env.filters[name or f.__name__] = self._for_templates(f)

    @t.overload
    def template_test(self, name: T_template_test) -> T_template_test: ...
    @t.overload
    def template_test(
        self, name: str | None = None
    ) -> Callable[[T_template_test], T_template_test]: ...
    @setupmethod
    def template_test(
        self, name: T_template_test | str | None = None
    ) -> T_template_test | Callable[[T_template_test], T_template_test]:
        """Register the decorated function as a template test, under *name* or its own name, for
        use as `{% if number is even %}`. May be written without parentheses; the function may be
        `async def`."""
        return register_named(self.add_template_test, name)

    @setupmethod
    def add_template_test(self, f: ft.TemplateTestCallable, name: str | None = None) -> None:
        """Register *f* as a template test, as the decorator `template_test` does."""
        self.jinja_env.tests[name or f.__name__] = self._for_templates(f)

    @t.overload
    def template_global(self, name: T_template_global) -> T_template_global: ...
    @t.overload
    def template_global(
        self, name: str | None = None
    ) -> Callable[[T_template_global], T_template_global]: ...
    @setupmethod
    def template_global(
        self, name: T_template_global | str | None = None
    ) -> T_template_global | Callable[[T_template_global], T_template_global]:
        """Register the decorated function as a global of templates, under *name* or its own name,
        for use as `{{ double(21) }}`. May be written without parentheses; the function may be
        `async def`."""
        return register_named(self.add_template_global, name)

    @setupmethod
    def add_template_global(self, f: ft.TemplateGlobalCallable, name: str | None = None) -> None:
        """Register *f* as a global of templates, as the decorator `template_global` does."""
        self.jinja_env.globals[name or f.__name__] = self._for_templates(f)

    def _for_templates(self, f: F) -> F:
        """Wrap an async *f* in a sync function that waits for the coroutine, unless the template
        itself is rendered asynchronously and awaits it."""
        if not is_async(f):
            return f

        from jinja2 import pass_environment  # as above

        @pass_environment
        @wraps(f)
        def call(environment: Environment, *args: object, **kwargs: object) -> t.Any:
            value = f(*args, **kwargs)
            return value if environment.is_async else wait(value)

        # In async templates, Jinja must not evaluate the coroutine as a constant.
        call.__dict__["jinja_async_variant"] = True
        return t.cast(F, call)

    # -- hooks of the app -------------------------------------------------------------------

    @setupmethod
    def teardown_appcontext(self, f: T_teardown) -> T_teardown:
        """Call *f* when an app context ends: after each request and command, and after `with
        app.app_context()`. ::

            @app.teardown_appcontext
            def close_database(exception):
                if (database := g.pop("database", None)) is not None:
                    database.close()

        *f* receives the unhandled exception or `None`. Its return value is ignored, and it should
        not raise. The functions run in reverse order of registration.
        """
        self.teardown_appcontext_funcs.append(f)
        return f

    @setupmethod
    def shell_context_processor(self, f: T_shell_context_processor) -> T_shell_context_processor:
        """Call *f* without arguments when `asyncflask shell` starts, and add the dict it returns
        to the names in the shell."""
        self.shell_context_processors.append(f)
        return f

    @setupmethod
    def before_serving(self, f: T_serving) -> T_serving:
        """Call *f*, sync or async, in an app context before the server accepts the first request.
        If *f* raises, the server does not start.

        :raises TypeError: if *f* is a generator function; use `while_serving` for those.
        """
        _check_serving_hook(f, "before_serving")
        self.before_serving_funcs.append(f)
        return f

    @setupmethod
    def after_serving(self, f: T_serving) -> T_serving:
        """Call *f*, sync or async, in an app context after the last request, when the server
        stops.

        :raises TypeError: if *f* is a generator function; use `while_serving` for those.
        """
        _check_serving_hook(f, "after_serving")
        self.after_serving_funcs.append(f)
        return f

    @setupmethod
    def while_serving(self, f: T_serving) -> T_serving:
        """Run a generator function, `def` or `async def`, up to its `yield` before the first
        request and to its end after the last one. ::

            @app.while_serving
            async def database():
                app.pool = await asyncpg.create_pool(app.config["DATABASE_URL"])
                yield
                await app.pool.close()

        :raises TypeError: if *f* is not a generator function.
        """
        _check_serving_generator(f, "while_serving")
        self.while_serving_gens.append(f)
        return f

    # -- questions that a request asks ------------------------------------------------------

    def _find_error_handler(
        self, e: Exception, blueprints: list[str]
    ) -> ft.ErrorHandlerCallable | None:
        """Return the handler for *e*: by status first, then by class; in each, the innermost
        blueprint first and the app last. It only reads, so concurrent requests are safe."""
        exc_class, code = self._get_exc_class_and_code(type(e))
        for wanted in (None,) if code is None else (code, None):
            for name in (*blueprints, None):
                handlers = self.error_handler_spec.get(name, {}).get(wanted, {})
                for cls in exc_class.__mro__ if handlers else ():
                    if (handler := handlers.get(cls)) is not None:
                        return handler
        return None

    def trap_http_exception(self, e: Exception) -> bool:
        """Return `True` to leave an HTTP error unhandled, so that the debugger shows it. Follows
        the `TRAP_HTTP_EXCEPTIONS` and `TRAP_BAD_REQUEST_ERRORS` settings. If the latter is `None`,
        a missing form key is left unhandled in debug mode. Override it for other errors."""
        if self.config["TRAP_HTTP_EXCEPTIONS"]:
            return True
        trap_bad_request = self.config["TRAP_BAD_REQUEST_ERRORS"]
        if trap_bad_request:
            return isinstance(e, BadRequest)
        return trap_bad_request is None and self.debug and isinstance(e, BadRequestKeyError)

    def should_ignore_error(self, error: BaseException | None) -> bool:
        """Return `True` to call teardown functions with `None` instead of *error*. Default:
        `False`. Override it to hide errors from them."""
        return False

    def redirect(self, location: str, code: int = FOUND) -> Response:
        """Create a redirect response; the function `redirect` calls this. Override it to change
        how your app redirects.

        :param location: the URL or path to redirect to.
        :param code: the status. Default: 302, or 303 if `flask_api` is Flask 3.2's.
        """
        if code is FOUND and self.flask_api >= (3, 2):
            code = 303
        return redirect(location, code=code, Response=self.response_class)

    def inject_url_defaults(self, endpoint: str, values: dict[str, t.Any]) -> None:
        """Call the `url_defaults` functions of the app and of the endpoint's blueprints, which may
        add to *values* before a URL is built.

        :raises TypeError: if one of the functions is `async def`.
        """
        if not self.url_default_functions:
            return

        names: t.Iterable[str | None] = (None,)
        if "." in endpoint:  # Not `request.blueprints`: there may be no request.
            blueprint = endpoint.rpartition(".")[0]
            names = chain(names, reversed(_split_blueprint_path(blueprint)))

        for name in names:
            for func in self.url_default_functions.get(name, ()):
                made: object = func(endpoint, values)
                if isinstance(made, CoroutineType):
                    made.close()
                    raise TypeError(
                        f"The url_defaults function {made.__qualname__!r} is async, but sync"
                        " code builds URLs. Write 'def'."
                    )

    def handle_url_build_error(
        self, error: BuildError, endpoint: str, values: dict[str, t.Any]
    ) -> str:
        """Called by `url_for` if no rule fits *endpoint* and *values*. Returns the first URL from
        a function in `url_build_error_handlers`; a function that has none returns `None` or
        raises.

        :param error: the `BuildError` to raise in the end.
        :raises BuildError: if no function returns a URL.
        """
        for handler in self.url_build_error_handlers:
            try:
                url = handler(error, endpoint, values)
            except BuildError as e:
                error = e  # `e` is deleted after the block
            else:
                if url is not None:
                    return url

        if error is sys.exc_info()[1]:
            raise  # keeps its traceback unchanged
        raise error
