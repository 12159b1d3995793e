"""`Api`: marks functions as typed, and serves the documents that describe them and their page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from json import dumps
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar, overload

from markupsafe import Markup
from werkzeug.exceptions import NotFound

from ..ctx import current_request_ctx
from ..helpers import send_from_directory
from ..sansio.scaffold import Scaffold
from .asyncapi import asyncapi
from .markers import SecurityScheme
from .openapi import Info, openapi
from .operation import Operation, guard, names_within, typed

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])

PAGE_PACKAGE: Final = "flask_swagger_ui"
"""Has the files of Swagger UI. Only they are used: the package is not imported."""

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
    """Typed views of *app*, an app or a blueprint, and the documents about them. Without *app*,
    `init_app` is to be called.

    *title*, *version* and *description* are for the documents. *docs*, *openapi* and *asyncapi*
    are the URLs of the page and of the documents, `None` for none of it. *invalid_status* is what
    a request is answered with that is not as the annotations say.
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
        """Serve the documents and the page from *app*. Of a blueprint they have its own views."""
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

    # Of `Any`: what a view returns is made a response, whatever it is.
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
        """Mark a view, a WebSocket handler or a method of a class-based view as typed: below the
        decorator that registers it.

        :param summary: by default the first line of the docstring, or made of the name.
        :param description: by default the rest of the docstring.
        :param tags: by default the name of the blueprint.
        :param deprecated: by default whether `warnings.deprecated` was applied.
        :param responses: what else may be answered, by status: a text, for problem details, or a
            type.
        :param operation_id: by default the endpoint, with the method if it has several.
        :param receives: the type of messages from a WebSocket's client, a union for several. By
            default those that the handler itself names in `receive_as`.
        :param sends: likewise, of those to the client, and `send_as`.
        :param hidden: leave it out of the documents.
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
        operation = Operation(func, self.invalid_status, names_within(func, depth), options)
        return typed(operation)

    def guard(self, scheme: SecurityScheme) -> Callable[[F], F]:
        """For a decorator that guards views: the views it is put on are documented to ask for
        what *scheme* says, and its errors are problem details."""

        def mark(decorator: F) -> F:
            return partial(guard, decorator, scheme)  # type: ignore[return-value]

        return mark

    # -- the documents ------------------------------------------------------------------------

    def openapi(self, app: Any, blueprint: str = "", root: str = "") -> dict[str, Any]:
        """The OpenAPI document of *app*, or of one blueprint. *root*: what the app is mounted
        under."""
        return openapi(app, self._info(app), blueprint, root)

    def asyncapi(self, app: Any, blueprint: str = "", root: str = "") -> dict[str, Any]:
        """The AsyncAPI document: WebSockets and streams."""
        return asyncapi(app, self._info(app), blueprint, root)

    def _info(self, app: Any) -> Info:
        info: Info = {"title": self.title or app.name, "version": self.version}
        if self.description is not None:
            info["description"] = self.description
        return info

    def _serve(self, make: Callable[..., dict[str, Any]]) -> Any:
        ctx = current_request_ctx()
        request = ctx.request
        document = make(ctx.app, request.blueprint or "", request.script_root)
        # In its own order, which the page shows.
        return ctx.app.response_class(dumps(document), mimetype="application/json")

    def _page(self) -> Any:
        ctx = current_request_ctx()
        prefix = f"{ctx.request.blueprint}." if ctx.request.blueprint else ""
        app = ctx.app
        _page_folder()
        return PAGE.format(
            title=self.title or app.name,
            here=app.url_for(f"{prefix}asyncflask_docs").rstrip("/"),
            document=app.url_for(f"{prefix}asyncflask_openapi"),
        )

    def _page_file(self, name: str) -> Any:
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
