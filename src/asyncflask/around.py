"""ASGI middleware, mounted apps and health checks of an app. Methods import what few apps need."""

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
    """The methods of `Flask` for what surrounds the app."""

    asgi_app: Any
    before_request_funcs: dict[Any, Any]
    _mounts: Mounts

    def __init__(self, *args: object, **kwargs: object) -> None:
        self._guarded: list[ASGIApp] = []
        """Mounted apps that this app's hooks guard; they are reached by routes."""
        self._drain_seconds = 0.0
        """Seconds that the app continues to serve after SIGTERM; see `health`."""
        super().__init__(*args, **kwargs)

    def add_middleware(
        self, middleware_class: Callable[..., ASGIApp] | Middleware, *args: Any, **kwargs: Any
    ) -> None:
        """Wrap the app in ASGI middleware, outside of the middleware added earlier (Starlette:
        `Starlette.add_middleware`)."""
        from starlette.middleware import Middleware  # not every app needs it

        if isinstance(middleware_class, Middleware):
            args, kwargs = (*middleware_class.args, *args), {**middleware_class.kwargs, **kwargs}
            middleware_class = middleware_class.cls
        self.asgi_app = middleware_class(self.asgi_app, *args, **kwargs)

    def mount(
        self, path: str, app: ASGIApp, name: str | None = None, *, guarded: bool | None = None
    ) -> None:
        """Mount an ASGI app under *path*. Its lifespan runs together with this app's.

        The mounted app is asked before the routes, or after them if *path* is ``"/"``. *path*
        without a trailing slash redirects to ``path/``, unless a route matches it.

        This app's hooks and error handlers do not run for the mounted app, unless you pass
        ``guarded=True``: then its requests and WebSockets are handled as this app's, with
        `before_request` functions, session, `g`, `current_app` and teardown, and *app* takes
        the place of the view. Routes of this app under *path* then come first.

        :param name: the name of the Starlette `Mount`. If guarded, it is the endpoint, by default
            ``mount:`` and the path.
        :param guarded: see above. With the default, `None`, you get a warning if this app has
            `before_request` functions; pass `False` to suppress it.
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
        """Add URLs for the probes of an orchestrator such as Kubernetes. No hooks run for them.

        :param live: the URL that answers 200 as long as the app serves; `None` for none.
        :param ready: the URL that answers 200 if the `before_serving` functions have run and
            all *checks* pass, otherwise 503; `None` for none.
        :param checks: functions, sync or async. A check fails if it raises an exception or
            returns `False`, or takes longer than *timeout*.
        :param timeout: seconds that the checks have.
        :param drain: seconds after SIGTERM in which *ready* answers 503 while the app serves as
            before; then the server stops.
        """
        from .health import add_health

        add_health(cast("Flask", self), live, ready, tuple(checks), timeout, drain)
