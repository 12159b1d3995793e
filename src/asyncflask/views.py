"""Class-based views. :meth:`View.as_view` creates the view function: ``async def``, to run on
the loop, if nothing in the class needs a thread."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection
from typing import Any, ClassVar, cast

from . import typing as ft
from .asgi.threads import is_async
from .asgi.waiting import async_to_sync
from .ctx import current_app_ctx, current_request_ctx

#: The names of :class:`MethodView` methods that handle requests.
http_method_funcs = frozenset(
    ["get", "post", "head", "options", "delete", "put", "trace", "patch"]
)


class View:
    """A class-based view. Subclass it, implement :meth:`dispatch_request` and register the
    function that :meth:`as_view` returns::

        class Page(View):
            init_every_request = False

            def __init__(self, template):
                self.template = template

            def dispatch_request(self, **variables):
                return render_template(self.template, **variables)

        app.add_url_rule("/news/<int:year>", view_func=Page.as_view("news", "news.html"))
    """

    #: The HTTP methods to register for. Default: those of a view function.
    methods: ClassVar[Collection[str] | None] = None

    #: Whether the app answers OPTIONS. Default: as for a view function.
    provide_automatic_options: ClassVar[bool | None] = None

    #: Decorators for the function that :meth:`as_view` returns, innermost first. They receive a
    #: sync function, so decorators that do not support ``async`` work too.
    decorators: ClassVar[list[Callable[..., Any]]] = []

    #: If ``False``, one instance serves all requests concurrently, so do not store a request's
    #: data on ``self``.
    init_every_request: ClassVar[bool] = True

    def dispatch_request(
        self, *args: Any, **kwargs: Any
    ) -> ft.ResponseReturnValue | Awaitable[ft.ResponseReturnValue]:
        """The view itself, ``def`` or ``async def``. It receives the URL's variables as keyword
        arguments and returns anything that a view function may return."""
        raise NotImplementedError

    @classmethod
    def _needs_no_thread(cls) -> bool:
        return is_async(cls.dispatch_request)

    @classmethod
    def as_view(cls, name: str, *class_args: object, **class_kwargs: object) -> ft.RouteCallable:
        """Create a view function from the class, to pass to ``add_url_rule``.

        The function is ``async def`` if :meth:`dispatch_request` is (for a :class:`MethodView`: if
        all of its handlers are) and there are no :attr:`decorators`; otherwise it is ``def``. For
        each request it creates an instance, unless :attr:`init_every_request` is ``False``.

        :param name: the name of the function, which is the default endpoint.
        :param class_args: passed to the class for each instance, together with ``class_kwargs``.
        """
        view: Any

        if cls.init_every_request:

            def instance() -> View:
                # Read from the function, so that its `view_class` can be replaced.
                created: View = view.view_class(*class_args, **class_kwargs)
                return created

        else:
            only = cls(*class_args, **class_kwargs)

            def instance() -> View:
                return only

        async def view_on_loop(**kwargs: object) -> object:
            value = instance().dispatch_request(**kwargs)
            return await value if inspect.isawaitable(value) else value

        def view_in_thread(**kwargs: object) -> object:
            dispatch = current_app_ctx().app.ensure_sync(instance().dispatch_request)
            return dispatch(**kwargs)

        if cls.decorators:
            view = view_in_thread
            view.__name__ = name
            view.__module__ = cls.__module__

            for decorator in cls.decorators:
                view = decorator(view)
        else:
            view = view_on_loop if cls._needs_no_thread() else view_in_thread

        view.view_class = cls
        view.__name__ = name
        view.__doc__ = cls.__doc__
        view.__module__ = cls.__module__
        view.methods = cls.methods
        view.provide_automatic_options = cls.provide_automatic_options
        return cast(ft.RouteCallable, view)


class MethodView(View):
    """A view that handles each HTTP method in a method of the same name, ``def`` or ``async def``.
    ::

        class Note(MethodView):
            async def get(self, name):
                return await notes.read(name)

            async def put(self, name):
                await notes.write(name, request.get_data())
                return "", 204

        app.add_url_rule("/notes/<name>", view_func=Note.as_view("note"))

    :attr:`methods` is derived from the handlers that the class defines or inherits. HEAD requests
        are handled by ``get`` if there is no ``head``.
    """

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)

        if cls.dispatch_request is not MethodView.dispatch_request:
            cls._let_sync_dispatch_call_async_handlers()

        if "methods" in cls.__dict__:
            return

        methods = {name.upper() for name in http_method_funcs if hasattr(cls, name)}

        for base in cls.__bases__:
            methods.update(getattr(base, "methods", None) or ())

        if methods:
            cls.methods = methods

    @classmethod
    def _let_sync_dispatch_call_async_handlers(cls) -> None:
        """Wrap async handlers so that a thread waits for their value: a sync `dispatch_request`
        in an extension, such as Flask-RESTful's, uses the return value at once."""
        if is_async(cls.dispatch_request):
            return

        for name in http_method_funcs:
            handler = getattr(cls, name, None)
            if handler is not None and is_async(handler):
                setattr(cls, name, async_to_sync(handler))

    @classmethod
    def _needs_no_thread(cls) -> bool:
        if cls.dispatch_request is not MethodView.dispatch_request:
            return super()._needs_no_thread()

        names = http_method_funcs.union(method.lower() for method in cls.methods or ())
        handlers = [getattr(cls, name) for name in names if hasattr(cls, name)]
        return bool(handlers) and all(map(is_async, handlers))

    def dispatch_request(
        self, **kwargs: Any
    ) -> ft.ResponseReturnValue | Awaitable[ft.ResponseReturnValue]:
        """Call the handler for the request's method. In a thread this returns the handler's value;
        on the loop it returns an awaitable if the handler is ``async def``."""
        method = current_request_ctx().request.method
        handler = getattr(self, method.lower(), None)

        if handler is None and method == "HEAD":
            handler = getattr(self, "get", None)

        assert handler is not None, f"Unimplemented method {method!r}"
        value: ft.ResponseReturnValue = current_app_ctx().app.ensure_sync(handler)(**kwargs)
        return value
