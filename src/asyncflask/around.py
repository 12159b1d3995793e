"""What an app has round it and beside it: ASGI middleware, mounted apps, health checks.

What few apps use is imported by the method that sets it up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast
from warnings import warn

from starlette.types import ASGIApp

from .entry import AppType
from .mounts import Mounts

if TYPE_CHECKING:
    from starlette.middleware import Middleware

    from .app import Flask


class Around(metaclass=AppType):
    """The methods of `Flask` for it."""

    asgi_app: Any
    before_request_funcs: dict[Any, Any]
    _mounts: Mounts

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._guarded: list[ASGIApp] = []
        """Mounted apps that the app's own hooks guard: routes lead to them."""
        self._drain_seconds = 0.0
        """How long the app still serves after SIGTERM: see `health`."""
        super().__init__(*args, **kwargs)

    def add_middleware(
        self, middleware_class: Callable[..., ASGIApp] | Middleware, *args: Any, **kwargs: Any
    ) -> None:
        """Wrap the app in an ASGI middleware, outside of those before it (Starlette:
        `Starlette.add_middleware`)."""
        from starlette.middleware import Middleware  # which not every app has

        if isinstance(middleware_class, Middleware):
            args, kwargs = (*middleware_class.args, *args), {**middleware_class.kwargs, **kwargs}
            middleware_class = middleware_class.cls
        self.asgi_app = middleware_class(self.asgi_app, *args, **kwargs)

    def mount(
        self, path: str, app: ASGIApp, name: str | None = None, *, guarded: bool | None = None
    ) -> None:
        """Have the ASGI *app* answer all below *path*; its lifespan is run with this app's. It
        is asked before the routes, but at ``"/"`` after them. *path* itself is redirected to
        ``path/``, if no route has it.

        Hooks and error handlers of this app are not run for it, unless it is *guarded*: then its
        requests and WebSockets are this app's, with `before_request` functions, session, `g`,
        `current_app` and teardown, and *app* answers in the place of a view. Routes of this app
        below *path* come first then.
        """
        if guarded:
            from .guarded import mount

            mount(cast("Flask", self), path, app, name)
            return
        if guarded is None and self.before_request_funcs.get(None):
            warn(
                f"The app mounted at {path!r} is not protected by this app's 'before_request'"
                f" functions. To run them for it, write 'app.mount({path!r}, ...,"
                " guarded=True)'; if it needs no protection, 'guarded=False'.",
                stacklevel=2,
            )
        self._mounts = self._mounts.with_mount(path, app, name)

    def health(
        self,
        live: str | None = "/livez",
        ready: str | None = "/readyz",
        *,
        checks: Sequence[Callable[[], Any]] = (),
        timeout: float = 5.0,
        drain: float = 3.0,
    ) -> None:
        """Answer the probes of an orchestrator, such as Kubernetes. No hooks are run for them.

        *live* gets a 200 as long as the app serves. *ready* gets a 200 once the `before_serving`
        functions have run, while all *checks* pass; otherwise a 503. A check is a function, sync
        or async, that raises an exception or returns `False` if it fails; so does one that takes
        longer than *timeout* seconds. At SIGTERM, *ready* gets a 503 for *drain* seconds, in
        which the app serves as before; then the server stops.
        """
        from .health import add_health

        add_health(cast("Flask", self), live, ready, tuple(checks), timeout, drain)
