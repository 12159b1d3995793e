"""`Api`: marks functions as typed, and serves the documents that describe them and their page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, overload

from markupsafe import Markup
from werkzeug.exceptions import NotFound

from ..ctx import current_request_ctx
from ..helpers import send_from_directory
from ..sansio.scaffold import Scaffold
from ..wrappers import Response
from .asyncapi import asyncapi
from .markers import SecurityScheme
from .openapi import Info, Json, openapi
from .operation import Operation, check_is_below, guard, names_within, typed

if TYPE_CHECKING:
    from ..app import Flask

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])

PAGE_PACKAGE: Final = "flask_swagger_ui"
"""The package with the files of Swagger UI. Only the files are used; it is not imported."""

PAGE_FILES: Final = frozenset({"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"})

PAGE: Final = Markup("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="{here}/favicon-32x32.png">
<link rel="stylesheet" href="{here}/swagger-ui.css">
<body style="margin: 0">
<div id="page" data-document="{document}"></div>
<script src="{here}/swagger-ui-bundle.js"></script>
<script src="{here}/start.js"></script>
""")

START: Final = """"use strict";
const page = document.getElementById("page");
SwaggerUIBundle({
  domNode: page,
  url: page.dataset.document,
  deepLinking: true,
  validatorUrl: null,
  withCredentials: true,
});
"""


class Api:
    """Typed views of an app or a blueprint, and the documents about them.

    :param app: the app or blueprint. You can pass it to `init_app` later.
    :param title: the title in the documents. Default: the app's name.
    :param version: the API's version in the documents. Default: ``"1.0.0"``.
    :param description: the description in the documents.
    :param docs: the URL of the documentation page; `None` for none. Default: ``"/docs"``.
    :param openapi: the URL of the OpenAPI document; `None` for none. Default:
        ``"/openapi.json"``.
    :param asyncapi: the URL of the AsyncAPI document; `None` for none. Default:
        ``"/asyncapi.json"``.
    :param invalid_status: the status for requests that do not match the annotations. Default:
        422.
    """

    def __init__(
        self,
        app: Scaffold | None = None,
        *,
        title: str | None = None,
        version: str = "1.0.0",
        description: str | None = None,
        docs: str | None = "/docs",
        openapi: str | None = "/openapi.json",
        asyncapi: str | None = "/asyncapi.json",
        invalid_status: int = 422,
    ) -> None:
        self.title = title
        self.version = version
        self.description = description
        self.invalid_status = invalid_status
        self._urls = docs, openapi, asyncapi
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Scaffold) -> None:
        """Serve the documents and the page from *app*. Those of a blueprint contain its views
        only."""
        docs, openapi_url, asyncapi_url = self._urls
        add = app.add_url_rule
        if openapi_url is not None:
            add(openapi_url, "asyncflask_openapi", partial(self._serve, self.openapi))
        if asyncapi_url is not None:
            add(asyncapi_url, "asyncflask_asyncapi", partial(self._serve, self.asyncapi))
        if docs is not None and openapi_url is not None:
            add(docs, "asyncflask_docs", self._page)
            add(f"{docs.rstrip('/')}/<name>", "asyncflask_docs_file", self._page_file)

    # -- marking functions --------------------------------------------------------------------

    # `Any`: a view may return anything that can be made a response.
    @overload
    def typed(self, func: Callable[P, Any]) -> Callable[P, Any]: ...
    @overload
    def typed(
        self,
        *,
        summary: str | None = ...,
        description: str | None = ...,
        tags: Sequence[str] | None = ...,
        deprecated: bool | None = ...,
        responses: Mapping[int, Any] | None = ...,
        operation_id: str | None = ...,
        receives: Any = ...,
        sends: Any = ...,
        hidden: bool = ...,
    ) -> Callable[[Callable[P, Any]], Callable[P, Any]]: ...
    def typed(self, func: Any = None, **options: Any) -> Any:
        """Mark a view, a WebSocket handler or a method of a class-based view as typed. Put it
        below the decorator that registers the function.

        :param summary: the summary. Default: the docstring's first line, or made from the name.
        :param description: the description. Default: the rest of the docstring.
        :param tags: the tags. Default: the blueprint's name.
        :param deprecated: mark it as deprecated. Default: `True` if `warnings.deprecated` is
            applied.
        :param responses: other responses by status: a text, for problem details, or a type.
        :param operation_id: the operation's id. Default: the endpoint, with the method if there
            are several.
        :param receives: the type of messages from a WebSocket's client, a union for several.
            Default: those that the handler itself passes to `receive_as`.
        :param sends: the type of messages to the client. Default: those passed to `send_as`.
        :param hidden: leave the function out of the documents. Default: `False`.
        """
        if func is None:
            return partial(self._typed, options=options, depth=1)
        return self._typed(func, options, depth=2)

    def _typed(
        self, func: Callable[..., Any], options: dict[str, Any], depth: int = 1
    ) -> Callable[..., Any]:
        if isinstance(func, type):
            raise TypeError(
                f"'@api.typed' decorates functions, but {func.__name__} is a class. Put it on"
                " each method that handles requests."
            )
        check_is_below(func, "@api.typed", depth)
        operation = Operation(func, self.invalid_status, names_within(func, depth), options)
        return typed(operation)

    def guard(self, scheme: SecurityScheme) -> Callable[[F], F]:
        """Decorate a decorator that guards views: the views it is applied to are documented to
        require *scheme*, and its errors become problem details."""

        def mark(decorator: F) -> F:
            return partial(guard, decorator, scheme)  # type: ignore[return-value]

        return mark

    # -- the documents ------------------------------------------------------------------------

    def openapi(self, app: Flask, blueprint: str = "", root: str = "") -> Json:
        """Return the OpenAPI document of *app*, or of one blueprint. *root*: the path that the
        app is mounted under."""
        return openapi(app, self._info(app), blueprint, root)

    def asyncapi(self, app: Flask, blueprint: str = "", root: str = "") -> Json:
        """Return the AsyncAPI document, for WebSockets and streams. Parameters as for
        `openapi`."""
        return asyncapi(app, self._info(app), blueprint, root)

    def _info(self, app: Flask) -> Info:
        info: Info = {"title": self.title or app.name, "version": self.version}
        if self.description is not None:
            info["description"] = self.description
        return info

    def _serve(self, make: Callable[[Flask, str, str], Json]) -> Response:
        ctx = current_request_ctx()
        request = ctx.request
        document = make(ctx.app, request.blueprint or "", request.script_root)
        # Unsorted: the page shows this order.
        return ctx.app.response_class(dumps(document), mimetype="application/json")

    def _page(self) -> str:
        ctx = current_request_ctx()
        prefix = f"{ctx.request.blueprint}." if ctx.request.blueprint else ""
        app = ctx.app
        _page_folder()
        return PAGE.format(
            title=self.title or app.name,
            here=app.url_for(f"{prefix}asyncflask_docs").rstrip("/"),
            document=app.url_for(f"{prefix}asyncflask_openapi"),
        )

    def _page_file(self, name: str) -> Response:
        if name == "start.js":
            return current_request_ctx().app.response_class(START, mimetype="text/javascript")
        if name not in PAGE_FILES:
            raise NotFound()
        return send_from_directory(_page_folder(), name, max_age=86_400)


def _page_folder() -> Path:
    spec = find_spec(PAGE_PACKAGE)
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "The API's documentation page needs Swagger UI. Install it with: pip install"
            " 'asyncflask[api]'. For no page, write Api(app, docs=None)."
        )
    return Path(spec.origin).parent / "dist"
