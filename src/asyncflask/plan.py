"""Plans: what a request to an endpoint calls, in order, worked out once; and the check that a
plan is still valid.

Registries, attributes and methods can change at any time. Registries report nothing: a `Plan`
is *compared* with them, in a few calls that run in C, and remade if it differs, so they remain
ordinary dicts and lists. Functions are compared by identity, since a wrapper may compare equal
to what it wraps. Setting an attribute of an app or its class is recorded in `CHANGES`, and
leads to a new `Setup`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator
from copy import copy
from functools import partial
from itertools import chain, repeat
from operator import and_, attrgetter, eq, is_, methodcaller
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from werkzeug.routing import Rule

from .asgi import proxy
from .asgi.nonblocking import Nonblocking, may_run_on_loop
from .asgi.pool import limit_threads
from .asgi.threads import is_async
from .ctx import AppContext, _cv_request, current_app_ctx, current_request_ctx
from .entry import CHANGES, AppType
from .routing import Map
from .signals import appcontext_tearing_down, request_tearing_down
from .teardown import SILENT, Hook, Teardown
from .wrappers import Request, Response

if TYPE_CHECKING:
    from .app import Flask

METHODS: Final = (
    "full_dispatch_request",
    "preprocess_request",
    "dispatch_request",
    "handle_http_exception",
    "handle_user_exception",
    "finalize_request",
    "process_response",
    "handle_exception",
    "do_teardown_request",
    "do_teardown_appcontext",
    "update_template_context",
    "make_response",
    "create_url_adapter",
    "app_context",
    "log_exception",
    "make_default_options_response",
    "wsgi_app",
)
"""The methods of an app that are steps of a request. If one is replaced, it is user code."""

REGISTRIES: Final = (
    "url_value_preprocessors",
    "before_request_funcs",
    "after_request_funcs",
    "teardown_request_funcs",
)

WATCHED: Final = frozenset(
    {
        *METHODS,
        *REGISTRIES,
        "__class__",
        "_asks",
        "_loop_guard",
        "_mounts",
        "asgi_app",
        "config",
        "request_class",
        "response_class",
        "session_interface",
        "subdomain_matching",
        "teardown_appcontext_funcs",
        "url_map",
        "view_functions",
    }
)
"""The app attributes that a `Setup` depends on. Setting one leads to a new `Setup`."""

_methods_of = attrgetter(*METHODS)
_registries_of = attrgetter(*REGISTRIES)


class Setup:
    """What applies to all requests of *app*, and the plans of its endpoints.

    *original*: the methods of `Flask` itself, by name.
    """

    def __init__(self, app: Flask, original: dict[str, object]) -> None:
        # First: any later change must lead to a new setup.
        self.since = CHANGES["last"]
        classes = type(app).__mro__
        last = max(n for n, cls in enumerate(classes) if isinstance(cls, AppType))
        # A mixin's class does not report changes.
        mixed = any(not isinstance(cls, AppType) for cls in classes[:last])
        self.methods = _methods_of(type(app)) if mixed else None
        self.version = None if mixed else self.since
        """`CHANGES["last"]` while this setup is current; `None` if `is_current` must decide."""
        self.replaced: dict[str, Callable[..., Any]] = {}
        for name in METHODS:
            if name in app._replaced or getattr(type(app), name) is not original[name]:
                self.replaced[name] = _taking_ctx(name, getattr(app, name))
        self.wsgi_app = app.wsgi_app if "wsgi_app" in self.replaced else None
        """The replacement of `Flask.wsgi_app`, if any."""
        self.wsgi_middleware = _middleware(app, self.wsgi_app, original["wsgi_app"])
        looked_at = app._mounts or app._asks is not None or app._loop_guard is not None
        self.direct = "http" if self.wsgi_app is None and not looked_at else None
        """The scope type that can go straight to the flow."""
        self.lazy_session: bool = app._opens_session_lazily()
        self.app_context: Callable[[Flask], AppContext] = AppContext
        if "app_context" in self.replaced:
            self.app_context = methodcaller("app_context")
        request_class = app.request_class
        self.request_class = request_class
        self.names_blueprints = all(
            getattr(request_class, name) is getattr(Request, name)
            for name in ("endpoint", "blueprint", "blueprints")
        )
        self.lazy_request = request_class.__init__ is Request.__init__
        self._paths = self._map_of_paths(app)
        # Allows finding the rule before anything else in the request is read.
        early = self.lazy_request and self.lazy_session and self.names_blueprints
        self.find = self._paths.find if early and self._paths is not None else _find_nothing
        self.plans: dict[Any, Plan] = {}
        self.by_path: dict[int, Plan] = {}
        """By the id of the rule, for rules matched by path alone; see `plan_by_path`."""
        limit_threads(app.config["MAX_THREADS"])

    def is_current(self, app: Flask) -> bool:
        """Return `True` if the app has not changed."""
        return self.since is CHANGES["last"] and (
            self.methods is None or all(map(is_, self.methods, _methods_of(type(app))))
        )

    def _map_of_paths(self, app: Flask) -> Map | None:
        """Return the URL map if a path alone may match a rule, else `None`."""
        url_map = app.url_map
        if (
            not isinstance(url_map, Map)
            or app.subdomain_matching
            or "create_url_adapter" in self.replaced
        ):
            return None
        return url_map

    def paths(self, app: Flask) -> Map | None:
        """Return the URL map if the host plays no part in matching and building, else `None`."""
        paths = self._paths
        if (
            paths is None
            or paths.host_matching
            or self.request_class.trusted_hosts is not None
            or app.config["TRUSTED_HOSTS"] is not None
        ):
            return None
        return paths

    def plan_by_path(self, app: Flask, rule: Rule) -> Plan | None:
        """Return the plan for requests that *rule* matched by path alone, before anything else
        was read. `None` if that is not allowed at the moment."""
        if (
            not self.is_current(app)
            or self.paths(app) is None
            or rule.methods is None  # the method may be in lower case
        ):
            return None
        plan = self.by_path[id(rule)] = self.plan(app, rule)
        return plan

    def plan(self, app: Flask, rule: Rule | None, names: tuple[str, ...] | None = None) -> Plan:
        """Return the plan for requests that *rule* matched; `None` for no rule. *names*: the
        blueprints whose hooks run, innermost first. Default: those of the rule's endpoint."""
        key = id(rule) if names is None else (id(rule), names)
        plan = self.plans.get(key)
        if plan is None or not next(plan.as_it_was):
            # A `Request` class may take names from its client: only keep plans for known
            # names.
            keep = names is None or (
                len(set(names)) == len(names) and app.blueprints.keys() >= set(names)
            )
            if names is None:
                names = () if rule is None else blueprints_of(rule.endpoint)
            plan = Plan(app, self, rule, names)
            if keep:
                self.plans[key] = plan
        return plan


class _NoSetup:
    """Stands in for a `Setup` before an app's first request."""

    version: Final = None

    def is_current(self, app: Flask) -> bool:
        """Return `False`."""
        return False


NO_SETUP: Final = _NoSetup()


def _find_nothing(path: str, method: str, websocket: bool = False) -> None:
    """`Map.find` for apps in which a path alone decides nothing."""


def _middleware(app: Flask, wsgi_app: Any, original: Any) -> Any:
    """Return what to call in place of `wsgi_app`, inside any `ProxyFix`, which is applied to
    the scope instead. `None` if that is the app's own."""
    within = proxy.within(wsgi_app)
    # By type: a wrapper may have all attributes of the wrapped object.
    if type(within) is MethodType and within.__func__ is original and within.__self__ is app:
        return None
    return within


class Route(NamedTuple):
    """A matched rule as ASGI middleware sees it (Starlette: `scope["route"]`)."""

    path: str
    path_format: str
    name: str
    methods: set[str] | None


class Plan:
    """What to call for a request that *rule* matched: the functions of all registries in order,
    and the methods that replaced steps."""

    __slots__ = {
        "after": "The `after_request` functions.",
        "as_it_was": "`next` is `True` if nothing has changed, if the setup is current.",
        "bare": "`True` if nothing in the app needs a response object.",
        "before": "The `before_request` functions.",
        "cancel": "`True` if the view is cancelled when the client leaves.",
        "direct": "`True` if only the view is called, if it is `view`: a coroutine function.",
        "dispatch": "The method that replaced `dispatch_request`, or `None`. Likewise:",
        "end_app": "The functions to call at the end of the app context.",
        "end_request": "The functions to call at the end of the request context.",
        "ends": "`True` if any of these contains a function.",
        "finalize": "Replaced `finalize_request`.",
        "full_dispatch": "Replaced `full_dispatch_request`.",
        "in_scope": "The rule's entries in the scope, for ASGI middleware.",
        "make_response": "Replaced `make_response`.",
        "preprocess": "Replaced `preprocess_request`.",
        "preprocessors": "The `url_value_preprocessor` functions.",
        "process": "Replaced `process_response`.",
        "rule": "The matched rule, or `None`.",
        "same": "Like `as_it_was`, but also checks the setup; never `True` if it cannot tell.",
        "setup": "The app's setup.",
        "starts": "`True` if anything is called before the view.",
        "supervised": "`True` if the view may be ended from outside: `cancel`, or a `timeout`.",
        "teardown_app": "The `teardown_appcontext` functions.",
        "teardown_request": "The `teardown_request` functions.",
        "timeout": "Seconds that the view may take, or `None`.",
        "view": "The view of the rule's endpoint.",
    }

    def __init__(
        self, app: Flask, setup: Setup, rule: Rule | None, blueprints: tuple[str, ...]
    ) -> None:
        self.rule = rule
        self.setup = setup
        innermost_first: tuple[str | None, ...] = (*blueprints, None)
        if getattr(rule, "without_hooks", False):
            innermost_first = ()
        names = tuple(reversed(innermost_first))
        registries = _registries_of(app)
        app_teardown = {None: app.teardown_appcontext_funcs}
        dicts = (*(d for d in registries for _ in names), app_teardown)
        keys = (*innermost_first * len(registries), None)
        self.as_it_was = _watch(app, setup.since, dicts, keys)
        self.same = self.as_it_was if setup.version is not None else repeat(False)
        preprocessors, before, after, teardown = registries
        replaced = setup.replaced.get
        hooks = partial(_hooks, nonblocking=self._nonblocking_of(app))
        self.preprocessors = hooks(f for name in names for f in preprocessors.get(name, ()))
        self.before = hooks(f for name in names for f in before.get(name, ()))
        self.after = hooks(f for name in innermost_first for f in reversed(after.get(name, ())))
        self.preprocess = replaced("preprocess_request")
        self.process = replaced("process_response")
        self.full_dispatch = replaced("full_dispatch_request")
        self.finalize = replaced("finalize_request")
        self.make_response = replaced("make_response")
        self.dispatch = replaced("dispatch_request")
        self.teardown_request = Teardown(
            hooks(f for name in innermost_first for f in reversed(teardown.get(name, ()))),
            request_tearing_down,
            "request",
        )
        self.teardown_app = Teardown(
            hooks(reversed(app.teardown_appcontext_funcs)), appcontext_tearing_down, "app"
        )
        self.end_request = self.teardown_request
        self.end_app = self.teardown_app
        if (step := replaced("do_teardown_request")) is not None:
            self.end_request = Teardown(_hooks([step]), SILENT, "request")
        if (step := replaced("do_teardown_appcontext")) is not None:
            self.end_app = Teardown(_hooks([step]), SILENT, "app")
        self.starts = bool(self.before or self.preprocessors or self.preprocess)
        self.ends = bool(self.end_request.functions or self.end_app.functions)
        self.bare = (
            not self.after
            and self.process is None
            and self.finalize is None
            and self.make_response is None
            and app.response_class is Response
        )
        self._look_at_view(app, rule)

    def _nonblocking_of(self, app: Flask) -> Collection[str] | None:
        """Return `NONBLOCKING_HOOKS` if the view is async; otherwise `None`, as it needs a
        thread anyway."""
        view = None if self.rule is None else app.view_functions.get(self.rule.endpoint)
        return app.config["NONBLOCKING_HOOKS"] if view is not None and is_async(view) else None

    def _look_at_view(self, app: Flask, rule: Any) -> None:
        cancel = getattr(rule, "cancel_on_disconnect", None)
        self.cancel: bool = app.config["CANCEL_ON_DISCONNECT"] if cancel is None else cancel
        self.timeout: float | None = getattr(rule, "timeout", None)
        self.supervised = self.cancel or self.timeout is not None
        self.view: Any = None if rule is None else app.view_functions.get(rule.endpoint)
        self.in_scope: dict[str, object] = {}
        if rule is not None:
            route = Route(rule.rule, rule.rule, rule.endpoint, rule.methods)
            self.in_scope = {"route": route, "endpoint": self.view}
        self.direct = bool(
            self.view is not None
            and is_async(self.view)
            and not (rule.websocket or self.supervised or self.dispatch)
        )

    def is_current(self, app: Flask) -> bool:
        """Return `True` if neither the app nor the registries have changed."""
        return next(self.same) or (self.setup.is_current(app) and next(self.as_it_was))


_NONE: Final = repeat(())


def _watch(
    app: Flask, since: object, registries: tuple[dict[Any, Any], ...], keys: tuple[Any, ...]
) -> Iterator[bool]:
    """Return an iterator whose `next` is `True` as long as the lists in *registries* under *keys*
    and the settings that plans depend on are unchanged, and no change followed *since*.

    It consists of endless iterators, so that a comparison is one call into C. They keep no state
    between calls, so any thread may call `next`.
    """
    settings = (
        "TRUSTED_HOSTS",
        "CANCEL_ON_DISCONNECT",
        "NONBLOCKING_HOOKS",
        "host_matching",
        "last",
    )
    dicts = (*registries, app.config, app.config, app.config, vars(app.url_map), CHANGES)
    now = map(partial(map, dict.get), repeat(dicts), repeat((*keys, *settings)), _NONES)
    lists = tuple(map(copy, map(dict.get, registries, keys, _NONE)))
    then = (*lists, *tuple(next(now))[len(lists) : -1], since)
    same = map(eq, map(tuple, now), repeat(then))
    functions = tuple(chain.from_iterable(lists))
    if not functions:
        return same
    # By identity: a wrapper may compare equal to what it wraps.
    now = map(partial(map, dict.get), repeat(registries), repeat(keys), _NONES)
    each = map(partial(map, is_), map(chain.from_iterable, now), repeat(functions))
    return map(and_, same, map(all, each))


_NONES: Final = repeat(_NONE)


def _hooks(
    functions: Iterable[Callable[..., Any]], nonblocking: Collection[str] | None = None
) -> tuple[Hook, ...]:
    """Mark which functions are async. *nonblocking*: the `NONBLOCKING_HOOKS`, or `None` if no sync
    hook may run on the loop."""
    hooks = []
    for func in functions:
        asynchronous = is_async(func)
        if nonblocking is not None and not asynchronous and may_run_on_loop(func, nonblocking):
            func = Nonblocking(func)
        hooks.append((func, asynchronous))
    return tuple(hooks)


def _taking_ctx(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return *method* in the form that Flask 3.1 calls. If its first parameter is a context, as in
    Flask 3.2, that is passed to it."""
    try:
        first = next(iter(inspect.signature(method).parameters.values()), None)
    except (TypeError, ValueError):  # not a Python function
        return method
    annotation = getattr(first, "annotation", None)
    of_a_context = str(getattr(annotation, "__name__", annotation)).endswith("AppContext")
    if first is None or not (first.name == "ctx" or of_a_context):
        return method
    current = _CURRENT.get(name, current_request_ctx)
    if is_async(method):

        async def with_ctx(*args: object) -> Any:
            return await method(current(), *args)

        return with_ctx
    return lambda *args: method(current(), *args)


_CURRENT: dict[str, Callable[[], Any]] = {
    "do_teardown_appcontext": current_app_ctx,
    "update_template_context": partial(_cv_request.get, None),
}


def blueprints_of(endpoint: str) -> tuple[str, ...]:
    """Return the names of an endpoint's blueprint and those it is nested in, innermost first."""
    names = []
    while endpoint := endpoint.rpartition(".")[0]:
        names.append(endpoint)
    return tuple(names)
