"""Jinja: the environment, where templates are found, and the functions that render them.

`render_template` and `stream_template` are sync functions, for sync and async code.
`render_template_async` and `stream_template_async` are for templates that call coroutine
functions, or whose context processors are async.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import cached_property
from types import CoroutineType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Union, cast

from jinja2 import BaseLoader, Template, TemplateNotFound
from jinja2 import Environment as BaseEnvironment
from jinja2.runtime import Context as BaseContext
from jinja2.runtime import new_context

from .asgi.threads import is_async, on_loop
from .asgi.waiting import CannotWait, wait
from .ctx import _cv_request, current_app_ctx, run_sync
from .debughelpers import explain_template_loading_attempts
from .helpers import _default_template_ctx_processor as _default_template_ctx_processor
from .helpers import stream_with_context
from .signals import before_render_template, emit, send, template_rendered

if TYPE_CHECKING:
    from .app import Flask

Source = tuple[str, str | None, Callable[[], bool] | None]
TemplateName = Union[str, Template, "list[str | Template]"]


_call_of_jinja = BaseContext.call


class Context(BaseContext):
    """The variables of a template. In sync code, a template's calls of coroutine functions return
    values."""

    def call(self, obj: Callable[..., Any], /, *args: object, **kwargs: object) -> Any:
        func = obj.__func__ if type(obj) is MethodType else obj
        if type(func) is FunctionType and not hasattr(func, "jinja_pass_arg"):
            # As in Jinja, which checks four times whether to pass something extra: nothing
            # here.
            if kwargs:
                kwargs.pop("_block_vars", None)
                kwargs.pop("_loop_vars", None)
            try:
                value = obj(*args, **kwargs)
            except StopIteration:
                return self.environment.undefined(f"{func.__name__!r} raised StopIteration.")
        else:
            value = _call_of_jinja(self, obj, *args, **kwargs)
        if type(value) is CoroutineType and not self.environment.is_async:
            if on_loop():
                value.close()
                name = getattr(obj, "__name__", repr(obj))
                raise RuntimeError(
                    f"The template {self.name!r} calls {name!r}, which is async, but the"
                    " template was rendered by sync code on the event loop. Write 'await"
                    " render_template_async(...)' instead of 'render_template(...)'."
                )
            return wait(value)
        return value


class _Template(Template):
    """A Jinja template that reads all globals each time it is rendered."""

    def new_context(
        self,
        vars: dict[str, object] | None = None,
        shared: bool = False,
        locals: Mapping[str, object] | None = None,
    ) -> BaseContext:
        names = self.globals
        if isinstance(names, ChainMap):
            # Flattened: Jinja would look each name up in the chain, twice.
            chained = names
            names = {}
            for mapping in reversed(chained.maps):
                names.update(mapping)
        return new_context(self.environment, self.name, self.blocks, vars, shared, names, locals)


class Environment(BaseEnvironment):
    """A Jinja environment that loads templates from the app and its blueprints."""

    context_class = Context
    template_class = _Template

    def __init__(self, app: Flask, **options: Any) -> None:
        if "loader" not in options:
            options["loader"] = app.create_global_jinja_loader()
        super().__init__(**options)
        self.app = app

    @cached_property
    def asynchronous(self) -> BaseEnvironment:
        """The same environment for templates rendered asynchronously."""
        return self.overlay(enable_async=True)


class DispatchingJinjaLoader(BaseLoader):
    """Finds templates in the app's template folder first, then in those of its blueprints."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    def get_source(self, environment: BaseEnvironment, template: str) -> Source:
        if self.app.config["EXPLAIN_TEMPLATE_LOADING"]:
            return self._get_source_explained(environment, template)
        return self._get_source_fast(environment, template)

    def _get_source_explained(self, environment: BaseEnvironment, template: str) -> Source:
        attempts: list[tuple[BaseLoader, Any, Source | None]] = []
        result: Source | None = None
        for owner, loader in self._iter_loaders(template):
            source: Source | None = None
            try:
                source = loader.get_source(environment, template)
            except TemplateNotFound:
                pass
            result = result or source
            attempts.append((loader, owner, source))
        explain_template_loading_attempts(self.app, template, attempts)
        if result is None:
            raise self._not_found(template)
        return result

    def _get_source_fast(self, environment: BaseEnvironment, template: str) -> Source:
        for _, loader in self._iter_loaders(template):
            try:
                return loader.get_source(environment, template)
            except TemplateNotFound:
                continue
        raise self._not_found(template)

    def _not_found(self, template: str) -> TemplateNotFound:
        places = [
            str(folder)
            for _, loader in self._iter_loaders(template)
            for folder in getattr(loader, "searchpath", (loader,))
        ]
        error = TemplateNotFound(template)
        if places:
            error.add_note(f"{template!r} was not found in: {', '.join(places)}")
        else:
            error.add_note("The app has no template folder: 'template_folder' is None.")
        return error

    def _iter_loaders(self, template: str) -> Iterator[tuple[Any, BaseLoader]]:
        for owner in (self.app, *self.app.iter_blueprints()):
            loader = owner.jinja_loader
            if loader is not None:
                yield owner, loader

    def list_templates(self) -> list[str]:
        names: set[str] = set()
        for _, loader in self._iter_loaders(""):
            names.update(loader.list_templates())
        return list(names)


def _check_can_render(template: Template, function: str) -> None:
    """Raise an error instead of letting Jinja run another event loop on this thread, as it does
    for sync code if the environment is async."""
    if template.environment.is_async and on_loop():
        named = "The template" if template.name is None else f"The template {template.name!r}"
        raise RuntimeError(
            f"{named} cannot be rendered by '{function}' on the event loop, because its"
            f" environment has 'enable_async'. Write 'await {function}_async(...)' instead."
        )


class _advising:
    """Adds advice to an error from an async filter or context processor that sync code called
    on the loop."""

    __slots__ = ("_function",)

    def __init__(self, function: str) -> None:
        self._function = function

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, CannotWait):
            error.add_note(
                f"A template called it: write 'await {self._function}_async(...)' instead of"
                f" '{self._function}(...)'."
            )


def _render(app: Flask, template: Template, context: dict[str, object], function: str) -> str:
    _check_can_render(template, function)
    with _advising(function):
        app.update_template_context(context)
        send(before_render_template, app, template=template, context=context)
        text = template.render(context)
    send(template_rendered, app, template=template, context=context)
    return text


def render_template(template_name_or_list: TemplateName, **context: object) -> str:
    """Render a template and return the text. ::

        return render_template("note.html", note=note)

    :param template_name_or_list: the name of the template, or several names, of which the first
        that exists is used.
    :param context: the template's variables.
    :raises jinja2.TemplateNotFound: if no such template exists.
    """
    app = current_app_ctx().app
    template = app.jinja_env.get_or_select_template(template_name_or_list)
    return _render(app, template, context, "render_template")


def render_template_string(source: str, **context: object) -> str:
    """Render a template from the string *source*, with autoescaping, and return the text.

    :param source: the template's source. Never build it from what a client sent.
    :param context: the template's variables.
    """
    app = current_app_ctx().app
    template = app.jinja_env.from_string(source)
    return _render(app, template, context, "render_template_string")


def _stream(
    app: Flask, template: Template, context: dict[str, object], function: str
) -> Iterator[str]:
    with _advising(function):
        app.update_template_context(context)
        send(before_render_template, app, template=template, context=context)

    def generate() -> Iterator[str]:
        _check_can_render(template, function)  # it may be another thread by now
        with _advising(function):
            yield from template.generate(context)
        send(template_rendered, app, template=template, context=context)

    return stream_with_context(generate()) if _cv_request.get(None) is not None else generate()


def stream_template(template_name_or_list: TemplateName, **context: object) -> Iterator[str]:
    """Render a template piece by piece. Return the iterator from a view to send each piece as soon
    as it is rendered; see `render_template` for the parameters."""
    app = current_app_ctx().app
    template = app.jinja_env.get_or_select_template(template_name_or_list)
    return _stream(app, template, context, "stream_template")


def stream_template_string(source: str, **context: object) -> Iterator[str]:
    """Render a template from a string piece by piece, like `stream_template`."""
    app = current_app_ctx().app
    template = app.jinja_env.from_string(source)
    return _stream(app, template, context, "stream_template_string")


# -- awaited ----------------------------------------------------------------------------------


async def _call(func: Callable[..., Any], /, *args: object, **kwargs: object) -> Any:
    """Call a sync function on the request's thread, which its objects may belong to."""
    if is_async(func):
        return await func(*args, **kwargs)
    if func is _default_template_ctx_processor:
        return func()
    return await run_sync(func, *args, **kwargs)


async def _prepared(
    name_or_source: TemplateName, context: dict[str, object], string: bool
) -> tuple[Flask, Template]:
    app = current_app_ctx().app
    environment = app.jinja_env.asynchronous
    template: Template
    if string:
        template = environment.from_string(cast("str", name_or_source))
    else:
        template = environment.get_or_select_template(name_or_source)
    await app._step("update_template_context")(app, _cv_request.get(None), _call, context)
    await emit(before_render_template, app, _call, template=template, context=context)
    return app, template


async def _render_async(
    name_or_source: TemplateName, context: dict[str, object], string: bool
) -> str:
    app, template = await _prepared(name_or_source, context, string)
    text = await template.render_async(context)
    await emit(template_rendered, app, _call, template=template, context=context)
    return text


async def render_template_async(template_name_or_list: TemplateName, **context: object) -> str:
    """Like `render_template`, for async code: the template and its context processors may call
    coroutine functions. ::

        return await render_template_async("note.html", note=note)
    """
    return await _render_async(template_name_or_list, context, string=False)


async def render_template_string_async(source: str, **context: object) -> str:
    """Like `render_template_string`, for async code: the template may call coroutine functions."""
    return await _render_async(source, context, string=True)


async def _stream_async(
    name_or_source: TemplateName, context: dict[str, object], string: bool
) -> AsyncIterator[str]:
    app, template = await _prepared(name_or_source, context, string)

    async def generate() -> AsyncIterator[str]:
        async for chunk in template.generate_async(context):
            yield chunk
        await emit(template_rendered, app, _call, template=template, context=context)

    if _cv_request.get(None) is None:
        return generate()
    return stream_with_context(generate())


async def stream_template_async(
    template_name_or_list: TemplateName, **context: object
) -> AsyncIterator[str]:
    """Like `stream_template`, for async code: return the async iterator from the view. The
    template may call coroutine functions. ::

        return await stream_template_async("report.html", rows=rows)
    """
    return await _stream_async(template_name_or_list, context, string=False)


async def stream_template_string_async(source: str, **context: object) -> AsyncIterator[str]:
    """Like `stream_template_string`, for async code: return the async iterator from the view."""
    return await _stream_async(source, context, string=True)
