"""What a request to an endpoint runs, in order, as a plan that is made once; and how it is known
that a plan still holds.

Users fill registries, set attributes and replace methods at any time. The registries tell
nobody: a `Plan` is *compared* with what it was made of, in a few calls that run in C, and made
anew when that differs. So they stay ordinary dicts and lists. Functions are compared by identity,
since a wrapper may say that it equals what it wraps. An attribute that is set, of an app or of
its class, is noted in `CHANGES`, which makes another `Setup`.
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
"""The methods of an app that are steps of a request: one that was replaced is user code."""

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
"""The attributes of an app of which a `Setup` is made: one that is set makes another."""

_methods_of = attrgetter(*METHODS)
_registries_of = attrgetter(*REGISTRIES)


class Setup:
    """What is true of all requests of *app*, and the plans of its endpoints.

    *original*: by name the methods as they are in `Flask` itself.
    """

    def __init__(self, app: Flask, original: dict[str, object]) -> None:
        # First: what changes from here on makes another setup.
        self.since = CHANGES["last"]
        classes = type(app).__mro__
        last = max(n for n, cls in enumerate(classes) if isinstance(cls, AppType))
        # The class of a mixin does not tell that it was changed.
        mixed = any(not isinstance(cls, AppType) for cls in classes[:last])
        self.methods = _methods_of(type(app)) if mixed else None
        self.version = None if mixed else self.since
        """`CHANGES["last"]` as long as this setup is current. `None`: ask `is_current`."""
        self.replaced: dict[str, Callable[..., Any]] = {}
        for name in METHODS:
            if name in app._replaced or getattr(type(app), name) is not original[name]:
                self.replaced[name] = _taking_ctx(name, getattr(app, name))
        self.wsgi_app = app.wsgi_app if "wsgi_app" in self.replaced else None
        """What took the place of `Flask.wsgi_app`."""
        self.wsgi_middleware = _middleware(app, self.wsgi_app, original["wsgi_app"])
        looked_at = app._mounts or app._asks is not None or app._loop_guard is not None
        self.direct = "http" if self.wsgi_app is None and not looked_at else None
        """The type of the scopes that are for the flow, without a look at anything else."""
        self.lazy_session: bool = app._opens_session_lazily()
        self.app_context: Callable[[Flask], AppContext] = AppContext
        if "app_context" in self.replaced:
            self.app_context = methodcaller("app_context")
        request_class: Any = app.request_class
        self.request_class = request_class
        self.names_blueprints = all(
            getattr(request_class, name) is getattr(Request, name)
            for name in ("endpoint", "blueprint", "blueprints")
        )
        self.lazy_request = request_class.__init__ is Request.__init__
        self._paths = self._map_of_paths(app)
        # Before anything of a request is looked at, if that is what all of these do.
        early = self.lazy_request and self.lazy_session and self.names_blueprints
        self.find = self._paths.find if early and self._paths is not None else _find_nothing
        self.plans: dict[Any, Plan] = {}
        self.by_path: dict[int, Plan] = {}
        """By the id of the rule, where a path alone has decided: see `plan_by_path`."""
        limit_threads(app.config["MAX_THREADS"])

    def is_current(self, app: Flask) -> bool:
        """Whether the app is what it was."""
        return self.since is CHANGES["last"] and (
            self.methods is None or all(map(is_, self.methods, _methods_of(type(app))))
        )

    def _map_of_paths(self, app: Flask) -> Map | None:
        """The URL map, where a path alone may match a rule."""
        url_map = app.url_map
        if (
            not isinstance(url_map, Map)
            or app.subdomain_matching
            or "create_url_adapter" in self.replaced
        ):
            return None
        return url_map

    def paths(self, app: Flask) -> Map | None:
        """The URL map, where the host has no part in matching and building."""
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
        """The plan for requests that *rule* matched by their path alone, before anything else of
        them was looked at. `None` if that may not be, as things are now."""
        if (
            not self.is_current(app)
            or self.paths(app) is None
            or rule.methods is None  # the method may be one in small letters
        ):
            return None
        plan = self.by_path[id(rule)] = self.plan(app, rule)
        return plan

    def plan(self, app: Flask, rule: Rule | None, names: tuple[str, ...] | None = None) -> Plan:
        """The plan for requests that *rule* matched, or `None`. *names*: of the blueprints whose
        hooks are run, innermost first; by default those of the rule's endpoint."""
        key = id(rule) if names is None else (id(rule), names)
        plan = self.plans.get(key)
        if plan is None or not next(plan.as_it_was):
            # A `Request` class may take names from its client: keep no plan for others than these.
            keep = names is None or (
                len(set(names)) == len(names) and app.blueprints.keys() >= set(names)
            )
            if names is None:
                names = () if rule is None else blueprints_of(rule.endpoint)
            plan = Plan(app, self, rule, names)
            if keep:
                self.plans[key] = plan
        return plan


def _find_nothing(path: str, method: str, websocket: bool = False) -> None:
    """`Map.find`, where a path alone decides nothing."""


def _middleware(app: Flask, wsgi_app: Any, original: Any) -> Any:
    """What is to be called in place of `wsgi_app`, inside of each `ProxyFix`, which is applied to
    the scope. `None` if that is the app's own."""
    within = proxy.within(wsgi_app)
    # By type: a wrapper may have all attributes of what it wraps.
    if type(within) is MethodType and within.__func__ is original and within.__self__ is app:
        return None
    return within


class Route(NamedTuple):
    """A matched rule as ASGI middleware looks at it (Starlette: `scope["route"]`)."""

    path: str
    path_format: str
    name: str
    methods: set[str] | None


class Plan:
    """What is done for a request that *rule* matched: the functions of all registries in the
    order in which they run, and the methods that took the places of steps."""

    __slots__ = {
        "after": "The `after_request` functions.",
        "as_it_was": "`next` says whether everything is as it was, if the setup is current.",
        "bare": "Whether nothing of the app wants to see a response.",
        "before": "The `before_request` functions.",
        "cancel": "Whether the view is cancelled when the client leaves.",
        "direct": "Whether nothing but the view is called, if it is `view`: a coroutine function.",
        "dispatch": "The method in the place of `dispatch_request`, or `None`. So the others:",
        "end_app": "What is called at the end of the app context.",
        "end_request": "What is called at the end of the request context.",
        "ends": "Whether one of these is any function.",
        "finalize": "In the place of `finalize_request`.",
        "full_dispatch": "In the place of `full_dispatch_request`.",
        "in_scope": "What ASGI middleware is told of the rule.",
        "make_response": "In its own.",
        "preprocess": "In the place of `preprocess_request`.",
        "preprocessors": "The `url_value_preprocessor` functions.",
        "process": "In the place of `process_response`.",
        "rule": "The matched rule, or `None`.",
        "same": "As `as_it_was`, and whether the setup is current; never so if it cannot tell.",
        "setup": "Of the app.",
        "starts": "Whether anything is called before the view.",
        "supervised": "Whether the view may be ended from outside: `cancel`, or a `timeout`.",
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
        """`NONBLOCKING_HOOKS`, if the view is async: otherwise it needs a thread anyway."""
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
        """Whether the app is what it was, and its registries hold what they did."""
        return next(self.same) or (self.setup.is_current(app) and next(self.as_it_was))


_NONE: Final = repeat(())


def _watch(
    app: Flask, since: object, registries: tuple[dict[Any, Any], ...], keys: tuple[Any, ...]
) -> Iterator[bool]:
    """What is true each time it is asked (by `next`) while the lists in *registries* by *keys* and
    the settings that plans are made of are what they are now, and nothing was changed *since*.

    Made of iterators without an end, so that a comparison is one call into C. (None of them keeps
    anything from one time to the next: any thread may ask.)"""
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
    # By identity: a wrapper may say that it equals what it wraps.
    now = map(partial(map, dict.get), repeat(registries), repeat(keys), _NONES)
    each = map(partial(map, is_), map(chain.from_iterable, now), repeat(functions))
    return map(and_, same, map(all, each))


_NONES: Final = repeat(_NONE)


def _hooks(
    functions: Iterable[Callable[..., Any]], nonblocking: Collection[str] | None = None
) -> tuple[Hook, ...]:
    """*nonblocking*: the `NONBLOCKING_HOOKS`; `None` if no sync hook is to run on the loop."""
    hooks = []
    for func in functions:
        asynchronous = is_async(func)
        if nonblocking is not None and not asynchronous and may_run_on_loop(func, nonblocking):
            func = Nonblocking(func)
        hooks.append((func, asynchronous))
    return tuple(hooks)


def _taking_ctx(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """*method* as Flask 3.1 calls it. Flask 3.2 gives the context first to one that names it."""
    try:
        first = next(iter(inspect.signature(method).parameters.values()), None)
    except (TypeError, ValueError):  # no Python function
        return method
    annotation = getattr(first, "annotation", None)
    of_a_context = str(getattr(annotation, "__name__", annotation)).endswith("AppContext")
    if first is None or not (first.name == "ctx" or of_a_context):
        return method
    current = _CURRENT.get(name, current_request_ctx)
    if is_async(method):

        async def with_ctx(*args: Any) -> Any:
            return await method(current(), *args)

        return with_ctx
    return lambda *args: method(current(), *args)


_CURRENT: dict[str, Callable[[], Any]] = {
    "do_teardown_appcontext": current_app_ctx,
    "update_template_context": partial(_cv_request.get, None),
}


def blueprints_of(endpoint: str) -> tuple[str, ...]:
    """The names of an endpoint's blueprint and of those round it, innermost first."""
    names = []
    while endpoint := endpoint.rpartition(".")[0]:
        names.append(endpoint)
    return tuple(names)
