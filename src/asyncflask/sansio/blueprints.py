"""Blueprints: registrations that are recorded now and applied to an app later. Nothing here
runs a view or uses a request. Commands and files are in `asyncflask.blueprints`."""

from __future__ import annotations

import os
import typing as t
from collections import defaultdict
from collections.abc import Callable
from functools import update_wrapper

from .. import typing as ft
from ..lazy import Lazy
from .route_options import check_parentheses
from .scaffold import (
    Scaffold,
    T_after_request,
    T_after_websocket,
    T_before_request,
    T_error_handler,
    T_serving,
    T_teardown,
    T_template_context_processor,
    T_url_defaults,
    T_url_value_preprocessor,
    _check_serving_generator,
    _check_serving_hook,
    _endpoint_from_view_func,
    _sentinel,
    register_named,
    setupmethod,
)

if t.TYPE_CHECKING:
    from click import Group

App: t.TypeAlias = t.Any
"""A `sansio.app.App`. Not imported: that module imports this one."""

DeferredSetupFunction = Callable[["BlueprintSetupState"], None]
T_template_filter = t.TypeVar("T_template_filter", bound=ft.TemplateFilterCallable)
T_template_global = t.TypeVar("T_template_global", bound=ft.TemplateGlobalCallable)
T_template_test = t.TypeVar("T_template_test", bound=ft.TemplateTestCallable)


class BlueprintSetupState:
    """The registration of *blueprint* on *app*; functions passed to `Blueprint.record` receive it.

    *options* are those of `register_blueprint`; where they leave a value out, the blueprint's own
    applies. *first_registration* is true if the blueprint was not registered on the app before.
    """

    def __init__(
        self, blueprint: Blueprint, app: App, options: t.Any, first_registration: bool
    ) -> None:
        self.app = app
        self.blueprint = blueprint
        self.options = options
        self.first_registration = first_registration

        self.subdomain: str | None = _first(options.get("subdomain"), blueprint.subdomain)
        self.url_prefix: str | None = _first(options.get("url_prefix"), blueprint.url_prefix)
        self.name: str = options.get("name", blueprint.name)
        self.name_prefix: str = options.get("name_prefix", "")
        self.url_defaults: dict[str, t.Any] = {
            **blueprint.url_values_defaults,
            **dict(options.get("url_defaults", ())),
        }

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: ft.RouteCallable | None = None,
        **options: t.Any,
    ) -> None:
        """Add a rule to the app with the blueprint's URL prefix, subdomain, defaults and name."""
        if self.url_prefix is not None:
            rule = _join_prefixes(self.url_prefix, rule) if rule else self.url_prefix
        if endpoint is None:
            endpoint = _endpoint_from_view_func(view_func)
        options.setdefault("subdomain", self.subdomain)
        defaults = self.url_defaults
        if "defaults" in options:
            defaults = {**defaults, **options.pop("defaults")}

        self.app.add_url_rule(
            rule,
            f"{self.name_prefix}.{self.name}.{endpoint}".lstrip("."),
            view_func,
            defaults=defaults,
            **options,
        )


class Blueprint(Scaffold):
    """A collection of routes, hooks, error handlers and templates, recorded until it is registered
    on an app. `asyncflask.Blueprint` describes the parameters.

    :raises ValueError: if the name is empty or contains a dot.
    """

    command_group_class: t.Any
    """The class of `cli`."""
    _got_registered_once = False

    def __init__(
        self,
        name: str,
        import_name: str,
        static_folder: str | os.PathLike[str] | None = None,
        static_url_path: str | None = None,
        template_folder: str | os.PathLike[str] | None = None,
        url_prefix: str | None = None,
        subdomain: str | None = None,
        url_defaults: dict[str, t.Any] | None = None,
        root_path: str | None = None,
        cli_group: str | None = _sentinel,
    ) -> None:
        super().__init__(
            import_name=import_name,
            static_folder=static_folder,
            static_url_path=static_url_path,
            template_folder=template_folder,
            root_path=root_path,
        )
        if not name:
            raise ValueError("A blueprint needs a name, which prefixes its endpoints.")
        _refuse_dot(name, "name of a blueprint")

        self.name = name
        self.url_prefix = url_prefix
        self.subdomain = subdomain
        self.deferred_functions: list[DeferredSetupFunction] = []
        self.url_values_defaults: dict[str, t.Any] = {} if url_defaults is None else url_defaults
        self.cli_group = cli_group
        self._blueprints: list[tuple[Blueprint, dict[str, t.Any]]] = []

    @Lazy
    def cli(self) -> Group:
        """The blueprint's commands."""
        # Named, so that it can also be added to another program's commands.
        group: Group = self.command_group_class(name=self.name)
        return group

    def _check_setup_finished(self, f_name: str) -> None:
        if self._got_registered_once:
            raise AssertionError(
                f"The setup method '{f_name}' was called on the blueprint '{self.name}' after it"
                " was registered, so its app would not see the change. Register the blueprint"
                " after importing all modules that add to it."
            )

    def send_static_file(self, filename: str) -> t.Any:
        """The view of the blueprint's static files."""
        raise NotImplementedError

    # -- recording --------------------------------------------------------------------------

    @setupmethod
    def record(self, func: DeferredSetupFunction) -> None:
        """Call *func* with the `BlueprintSetupState` each time the blueprint is registered. It can
        set up the app in ways that the other methods do not cover::

            @blueprint.record
            def read_config(state):
                state.blueprint.per_page = state.app.config["PER_PAGE"]
        """
        self.deferred_functions.append(func)

    @setupmethod
    def record_once(self, func: DeferredSetupFunction) -> None:
        """Like `record`, but call *func* only for the first registration on an app."""

        def once(state: BlueprintSetupState) -> None:
            if state.first_registration:
                func(state)

        self.record(update_wrapper(once, func))

    @setupmethod
    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: ft.RouteCallable | None = None,
        provide_automatic_options: bool | None = None,
        **options: t.Any,
    ) -> None:
        """Register a URL rule and view for the blueprint. The options are those of
        `Flask.add_url_rule`; the blueprint's URL prefix and name are added at registration.

        :raises ValueError: if the endpoint or the view's name contains a dot.
        """
        if endpoint:
            _refuse_dot(endpoint, "endpoint in a blueprint")
        if view_func:
            _refuse_dot(getattr(view_func, "__name__", ""), "name of a view in a blueprint")

        self.record(
            lambda state: state.add_url_rule(
                rule,
                endpoint,
                view_func,
                provide_automatic_options=provide_automatic_options,
                **options,
            )
        )

    @setupmethod
    def register_blueprint(self, blueprint: Blueprint, **options: t.Any) -> None:
        """Nest *blueprint* in this one. Its URL prefix, subdomain and name are appended to this
        blueprint's. The options are those of `Flask.register_blueprint`.

        :raises ValueError: if *blueprint* is this blueprint itself.
        """
        if blueprint is self:
            raise ValueError(f"The blueprint '{self.name}' cannot be nested in itself.")
        self._blueprints.append((blueprint, options))

    # -- registration -----------------------------------------------------------------------

    def make_setup_state(
        self, app: App, options: dict[str, t.Any], first_registration: bool = False
    ) -> BlueprintSetupState:
        """Create the state of one registration. Override it to use a subclass of
        `BlueprintSetupState`."""
        return BlueprintSetupState(self, app, options, first_registration)

    def register(self, app: App, options: dict[str, t.Any]) -> None:
        """Set up *app* with everything the blueprint has recorded. `app.register_blueprint` calls
        this; override it to change the registration.

        :param options: the keyword arguments of `register_blueprint`.
        :raises ValueError: if the name is already registered.
        """
        name = f"{options.get('name_prefix', '')}.{options.get('name', self.name)}".lstrip(".")
        self._check_name_is_free(app, name)

        first_registration = all(blueprint is not self for blueprint in app.blueprints.values())
        app.blueprints[name] = self
        self._got_registered_once = True
        state = self.make_setup_state(app, options, first_registration)

        if self.has_static_folder:
            state.add_url_rule(
                f"{self.static_url_path}/<path:filename>",
                view_func=self.send_static_file,
                endpoint="static",
            )
        self._merge_blueprint_funcs(app, name)
        for deferred in self.deferred_functions:
            deferred(state)
        self._register_commands(app, name, options.get("cli_group", self.cli_group))
        for blueprint, nested in self._blueprints:
            blueprint.register(app, _nested_options(state, name, blueprint, nested))

    def _check_name_is_free(self, app: App, name: str) -> None:
        taken_by = app.blueprints.get(name)
        if taken_by is not None:
            if taken_by is self:
                raise ValueError(
                    f"Blueprint '{name}' is already registered. Pass another name as"
                    " register_blueprint(..., name=...) to register it a second time."
                )
            raise ValueError(
                f"Another blueprint is already registered as '{name}'. Pass another name as"
                " register_blueprint(..., name=...)."
            )

    def _merge_blueprint_funcs(self, app: Scaffold, name: str) -> None:
        """Copy the registries into the app's, under the name of this registration."""

        def scope(key: ft.AppOrBlueprintKey) -> str:
            return name if key is None else f"{name}.{key}"

        for key, by_code in self.error_handler_spec.items():
            app.error_handler_spec[scope(key)] = defaultdict(
                dict, {code: dict(handlers) for code, handlers in by_code.items()}
            )
        app.view_functions.update(self.view_functions)

        registries: tuple[tuple[t.Any, t.Any], ...] = (
            (self.before_request_funcs, app.before_request_funcs),
            (self.after_request_funcs, app.after_request_funcs),
            (self.teardown_request_funcs, app.teardown_request_funcs),
            (self.url_default_functions, app.url_default_functions),
            (self.url_value_preprocessors, app.url_value_preprocessors),
            (self.template_context_processors, app.template_context_processors),
        )
        for ours, of_app in registries:
            for key, funcs in ours.items():
                of_app[scope(key)].extend(funcs)

    def _register_commands(self, app: Scaffold, name: str, group: str | None) -> None:
        if "cli" not in vars(self) or not self.cli.commands:
            return
        if group is None:
            app.cli.commands.update(self.cli.commands)
        else:
            self.cli.name = name if group is _sentinel else group
            app.cli.add_command(self.cli)

    # -- hooks of the app -------------------------------------------------------------------

    @setupmethod
    def before_app_request(self, f: T_before_request) -> T_before_request:
        """Like `before_request`, but for every request of the app, not only the blueprint's."""
        self.record_once(lambda s: s.app.before_request_funcs.setdefault(None, []).append(f))
        return f

    @setupmethod
    def after_app_request(self, f: T_after_request) -> T_after_request:
        """Like `after_request`, but for every request of the app, not only the blueprint's."""
        self.record_once(lambda s: s.app.after_request_funcs.setdefault(None, []).append(f))
        return f

    @setupmethod
    def teardown_app_request(self, f: T_teardown) -> T_teardown:
        """Like `teardown_request`, but for every request of the app, not only the blueprint's."""
        self.record_once(lambda s: s.app.teardown_request_funcs.setdefault(None, []).append(f))
        return f

    @setupmethod
    def before_app_websocket(self, f: T_before_request) -> T_before_request:
        """Like `before_websocket`, but for every WebSocket of the app, not only the
        blueprint's."""
        self.record_once(lambda s: s.app.before_websocket(f))
        return f

    @setupmethod
    def after_app_websocket(self, f: T_after_websocket) -> T_after_websocket:
        """Like `after_websocket`, but for every WebSocket of the app, not only the blueprint's."""
        self.record_once(lambda s: s.app.after_websocket(f))
        return f

    @setupmethod
    def teardown_app_websocket(self, f: T_teardown) -> T_teardown:
        """Like `teardown_websocket`, but for every WebSocket of the app, not only the
        blueprint's."""
        self.record_once(lambda s: s.app.teardown_websocket(f))
        return f

    @setupmethod
    def app_context_processor(
        self, f: T_template_context_processor
    ) -> T_template_context_processor:
        """Like `context_processor`, but for every template of the app."""
        self.record_once(
            lambda s: s.app.template_context_processors.setdefault(None, []).append(f)
        )
        return f

    @setupmethod
    def app_url_value_preprocessor(self, f: T_url_value_preprocessor) -> T_url_value_preprocessor:
        """Like `url_value_preprocessor`, but for every request of the app."""
        self.record_once(lambda s: s.app.url_value_preprocessors.setdefault(None, []).append(f))
        return f

    @setupmethod
    def app_url_defaults(self, f: T_url_defaults) -> T_url_defaults:
        """Like `url_defaults`, but for every URL the app builds."""
        self.record_once(lambda s: s.app.url_default_functions.setdefault(None, []).append(f))
        return f

    @setupmethod
    def app_errorhandler(
        self, code: type[Exception] | int
    ) -> Callable[[T_error_handler], T_error_handler]:
        """Like `errorhandler`, but for errors in every request of the app, unknown URLs
        included."""
        check_parentheses(code, "@blueprint.app_errorhandler", "404")

        def decorator(f: T_error_handler) -> T_error_handler:
            self.record_once(lambda s: s.app.errorhandler(code)(f))
            return f

        return decorator

    @setupmethod
    def before_app_serving(self, f: T_serving) -> T_serving:
        """Register *f* on the app, as `Flask.before_serving` does."""
        _check_serving_hook(f, "before_app_serving")
        self.record_once(lambda s: s.app.before_serving(f))
        return f

    @setupmethod
    def after_app_serving(self, f: T_serving) -> T_serving:
        """Register *f* on the app, as `Flask.after_serving` does."""
        _check_serving_hook(f, "after_app_serving")
        self.record_once(lambda s: s.app.after_serving(f))
        return f

    @setupmethod
    def while_app_serving(self, f: T_serving) -> T_serving:
        """Register *f* on the app, as `Flask.while_serving` does."""
        _check_serving_generator(f, "while_app_serving")
        self.record_once(lambda s: s.app.while_serving(f))
        return f

    # -- templates of the app ---------------------------------------------------------------

    @t.overload
    def app_template_filter(self, name: T_template_filter) -> T_template_filter: ...
    @t.overload
    def app_template_filter(
        self, name: str | None = None
    ) -> Callable[[T_template_filter], T_template_filter]: ...
    @setupmethod
    def app_template_filter(
        self, name: T_template_filter | str | None = None
    ) -> T_template_filter | Callable[[T_template_filter], T_template_filter]:
        """Register a template filter on the app, as the decorator `Flask.template_filter` does."""
        return register_named(self.add_app_template_filter, name)

    @setupmethod
    def add_app_template_filter(
        self, f: ft.TemplateFilterCallable, name: str | None = None
    ) -> None:
        """Register *f* as a template filter on the app, under *name* or its own name."""
        self.record_once(lambda s: s.app.add_template_filter(f, name=name))

    @t.overload
    def app_template_test(self, name: T_template_test) -> T_template_test: ...
    @t.overload
    def app_template_test(
        self, name: str | None = None
    ) -> Callable[[T_template_test], T_template_test]: ...
    @setupmethod
    def app_template_test(
        self, name: T_template_test | str | None = None
    ) -> T_template_test | Callable[[T_template_test], T_template_test]:
        """Register a template test on the app, as the decorator `Flask.template_test` does."""
        return register_named(self.add_app_template_test, name)

    @setupmethod
    def add_app_template_test(self, f: ft.TemplateTestCallable, name: str | None = None) -> None:
        """Register *f* as a template test on the app, under *name* or its own name."""
        self.record_once(lambda s: s.app.add_template_test(f, name=name))

    @t.overload
    def app_template_global(self, name: T_template_global) -> T_template_global: ...
    @t.overload
    def app_template_global(
        self, name: str | None = None
    ) -> Callable[[T_template_global], T_template_global]: ...
    @setupmethod
    def app_template_global(
        self, name: T_template_global | str | None = None
    ) -> T_template_global | Callable[[T_template_global], T_template_global]:
        """Register a template global on the app, as the decorator `Flask.template_global` does."""
        return register_named(self.add_app_template_global, name)

    @setupmethod
    def add_app_template_global(
        self, f: ft.TemplateGlobalCallable, name: str | None = None
    ) -> None:
        """Register *f* as a template global on the app, under *name* or its own name."""
        self.record_once(lambda s: s.app.add_template_global(f, name=name))


def _first(option: str | None, default: str | None) -> str | None:
    return default if option is None else option


def _refuse_dot(name: str, what: str) -> None:
    # A dot separates a blueprint's name from the endpoint.
    if "." in name:
        raise ValueError(f"The {what} must not contain a dot: {name!r}.")


def _join_prefixes(outer: str, inner: str) -> str:
    return f"{outer.rstrip('/')}/{inner.lstrip('/')}"


def _nested_options(
    state: BlueprintSetupState, name: str, blueprint: Blueprint, options: dict[str, t.Any]
) -> dict[str, t.Any]:
    """Return the options for registering *blueprint*, nested in *state*'s, as *name*."""
    subdomain = _first(options.get("subdomain"), blueprint.subdomain)
    prefix = _first(options.get("url_prefix"), blueprint.url_prefix)

    if subdomain is None or state.subdomain is None:
        subdomain = _first(subdomain, state.subdomain)
    else:
        subdomain = f"{subdomain}.{state.subdomain}"
    if prefix is None or state.url_prefix is None:
        prefix = _first(prefix, state.url_prefix)
    else:
        prefix = _join_prefixes(state.url_prefix, prefix)

    nested = {**options, "name_prefix": name}
    if subdomain is not None:
        nested["subdomain"] = subdomain
    if prefix is not None:
        nested["url_prefix"] = prefix
    return nested
