"""The request class: Werkzeug's with Flask's extensions, over ASGI. Responses are in
`responses.py`.

A request is built from a scope; its parts are computed on first access. So is its environ; from
then on, headers are read from that. `request_body.py` reads bodies and parses forms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context
from functools import cache, partial
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from starlette.types import Receive, Scope
from werkzeug.datastructures import (
    Authorization,
    FileStorage,
    Headers,
    ImmutableMultiDict,
    MultiDict,
)
from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.http import parse_options_header
from werkzeug.routing import Rule
from werkzeug.sansio.http import parse_cookie
from werkzeug.sansio.utils import get_content_length, get_host
from werkzeug.wrappers import Request as RequestBase
from werkzeug.wrappers import Response as ResponseBase  # noqa: F401  (Flask has it here)
from werkzeug.wsgi import get_input_stream

from . import json
from .asgi.body import Body, BodyFile
from .asgi.environ import BLANKS, Environ, environ_of
from .asgi.scope import ORIGIN, route_path
from .asgi.stalls import Owner
from .ctx import _cv_app
from .formparser import FormDataParser
from .headers import RequestHeaders
from .lazy import Lazy
from .request_body import RequestBody
from .responses import Response as Response

if TYPE_CHECKING:
    from starlette.datastructures import State


_parse_cookies: Callable[[str | None], Any] = parse_cookie
if "cls" in signature(parse_cookie).parameters:  # Werkzeug 3.1; the only class from 3.2 on
    _parse_cookies = partial(parse_cookie, cls=ImmutableMultiDict)


Matched = tuple[Rule | None, dict[str, Any] | None, object]
"""The matched rule, the values of its placeholders, and the values still to be converted."""


def _app_here() -> Owner | None:
    ctx = _cv_app.get(None)
    return None if ctx is None else ctx.app


@cache
def _split_blueprint_path(name: str) -> list[str]:
    """Return the names of a nested blueprint and those it is nested in, innermost first."""
    parent = name.rpartition(".")[0]
    return [name, *(_split_blueprint_path(parent) if parent else ())]


def _limit(name: str, doc: str) -> Any:
    """Return a property for a request's limit: the value set on the request, otherwise its
    route's or the app's setting."""
    setting = name.upper()
    of_route = name == "max_content_length"

    def read(self: Request) -> int | None:
        if self._limits and (value := self._limits.get(name)) is not None:
            return value
        if of_route and (value := getattr(self.url_rule, name, None)) is not None:
            return cast(int, value)
        ctx = _cv_app.get(None)
        if ctx is None:
            return cast("int | None", getattr(RequestBase, name))
        return cast("int | None", ctx.app.config[setting])

    def write(self: Request, value: int | None) -> None:
        self._limits = {**self._limits, name: value}
        if (self.to_be_closed or self.asgi_content is not None) and self.asgi_body is not None:
            self.asgi_body.told = False

    return property(read, write, doc=doc)


class Request(RequestBody):
    """The request, with the attributes of Flask's and Werkzeug's. They are the same in sync and
    async code. For a WebSocket, it is the request of its handshake."""

    # Attributes that every request has and that are read often: faster than in its `__dict__`.
    __slots__ = {
        "_lines": "The scope's headers by name, if no name is repeated.",
        "asgi_content": "The body, if it has arrived and `asgi_body` was not accessed.",
        "asgi_receive": "The server's `receive`; `None` for a request from a WSGI environ.",
        "asgi_scope": "The ASGI scope; `None` for a request from a WSGI environ.",
        "json_module": "The JSON provider, the app's by default.",
        "routing_exception": "The reason why no rule matched, raised instead of calling a view.",
        "server_context": "The context that the server called in.",
        "to_be_closed": "`True` if there may be something to close at the end.",
        "url_rule": "The matched rule, or `None`.",
        "view_args": "The values of the rule's placeholders, passed to the view.",
    }

    form_data_parser_class = FormDataParser
    json_module: Any
    url_rule: Rule | None
    view_args: dict[str, Any] | None
    routing_exception: HTTPException | None

    asgi_content: bytes | None
    _lines: dict[bytes, bytes] | None
    server_context: Context | None
    asgi_receive: Receive | None
    asgi_scope: Scope | None
    to_be_closed: bool
    _limits: Mapping[str, int | None] = {}
    """The limits set on this request."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls._overrides_body = any(
            getattr(cls, name) is not getattr(Request, name)
            for name in (
                "_get_stream_for_parsing",
                "content_length",
                "max_content_length",
                "mimetype",
                "mimetype_params",
                "stream",
                "want_form_data_parsed",
            )
        )

    @classmethod
    def from_scope(
        cls,
        scope: Scope,
        receive: Receive,
        outer: Context | None = None,
        lines: dict[bytes, bytes] | None = None,
        json_module: Any = json,
        match: Matched = (None, None, None),
    ) -> Request:
        """Create the request from an ASGI scope. Its parts are computed on first access, unless
        a subclass has an `__init__`, which needs an environ."""
        if cls.__init__ is not Request.__init__:
            body = Body(scope, receive, None, None if outer is None else outer.copy())
            body.app = _app_here()
            self = cls(environ_of(scope, body))
            self.asgi_scope, self.asgi_body = scope, body
            self.json_module = json_module
            self.url_rule, self.view_args, _ = match
            return self
        self = cls.__new__(cls)
        self.asgi_scope = scope
        self.asgi_receive = receive
        self.server_context = outer
        self._lines = lines
        self.asgi_content = None
        self.to_be_closed = False
        self.json_module = json_module
        self.routing_exception = None
        self.url_rule, self.view_args, _ = match
        self.method = scope.get("method", "GET").upper()
        if scope["path"][:1] != "/" and (scope["path"] or ORIGIN not in scope):
            self.routing_exception = BadRequest("The request target does not begin with '/'.")
        return self

    def __init__(
        self, environ: Environ, populate_request: bool = True, shallow: bool = False
    ) -> None:
        self.asgi_scope = self.asgi_receive = self.server_context = self._lines = (
            self.asgi_content
        ) = None
        self.to_be_closed = True
        self.json_module = json
        self.routing_exception = self.url_rule = self.view_args = None
        super().__init__(environ, populate_request, shallow)

    # As set by Werkzeug's initializer.

    @Lazy
    def path(self) -> str:
        """The path below `root_path`, decoded, with one slash at its start."""
        return "/" + route_path(self.scope).lstrip("/")

    @Lazy
    def scheme(self) -> str:
        """The scheme of the requested URL, such as `https`."""
        return cast(str, self.scope.get("scheme", "http"))

    @Lazy
    def server(self) -> tuple[str, int | None] | None:
        """The server's address and port, or the path of its socket and `None`."""
        server = self.scope.get("server")
        return tuple(server) if server else None

    @Lazy
    def root_path(self) -> str:
        """The path that the app is mounted at, without a trailing slash."""
        path: str = (self.asgi_scope or self.scope).get("root_path", "")
        return path.rstrip("/")

    @Lazy
    def query_string(self) -> bytes:
        """The part of the URL after "?", as undecoded bytes."""
        return cast(bytes, self.scope.get("query_string", b""))

    args: Lazy[MultiDict[str, str]] = Lazy(cast(Any, RequestBase.args).fget)

    @Lazy
    def remote_addr(self) -> str | None:
        """The client's address."""
        client = self.scope.get("client")
        return client[0] if client else None

    @Lazy
    def asgi_body(self) -> Body:
        """The body; `None` for a request from a WSGI environ."""
        receive, outer = self.asgi_receive, self.server_context
        self.to_be_closed = True
        if receive is None:
            return cast(Body, None)
        context = None if outer is None else outer.copy()
        body = Body(self.scope, receive, self._lines, context)
        body.app = _app_here()
        if self.asgi_content is not None:
            body.put(self.asgi_content)
            self.asgi_content = None
        return body

    @property
    def may_have_body(self) -> bool:
        """`True` if there may be a body to receive."""
        lines = self._lines
        if lines is not None:
            if b"content-length" in lines or b"transfer-encoding" in lines:
                return True
            if self.scope.get("http_version", "1.1") < "2":
                return False
        return self.asgi_body is not None

    @Lazy
    def environ(self) -> Environ:
        """The WSGI environ of the request. What a hook changes in it shows in `headers`, and in
        what is derived from them unless that was read before."""
        scope, body = self.asgi_scope, self.asgi_body
        assert scope is not None and body is not None
        environ = environ_of(scope, body)
        environ["werkzeug.request"] = self
        cast(RequestHeaders, self.headers).follow(environ)
        return environ

    @Lazy
    def headers(self) -> Headers:
        """The header lines of the request (Werkzeug: `EnvironHeaders`). Repeated ones are joined,
        as WSGI servers do (RFC 9110 section 5.3)."""
        headers = self.scope["headers"]
        lines = self._lines
        if lines is None:
            lines = dict(headers)
            if len(lines) < len(headers):
                lines = None
        return RequestHeaders(headers, lines)

    @Lazy
    def host(self) -> str:
        """The host that the request names, with the port unless it is the scheme's default; empty
        if there is none. Raises `SecurityError` (400) if it is not in `TRUSTED_HOSTS`."""
        return get_host(self.scheme, self._sent_host(), self.server, self.trusted_hosts)

    def _sent_host(self) -> str | None:
        # Changes to the environ by a hook come too late for it, as in Flask.
        if self.asgi_scope is None:
            return self._header(b"host")
        hosts = [value for name, value in self.asgi_scope["headers"] if name == b"host"]
        return hosts[0].decode("latin-1").strip(BLANKS) if hosts else None

    # As in Werkzeug, but using `_header`.

    @Lazy
    def content_length(self) -> int | None:
        """The length of the body according to the client, or `None` if unknown."""
        value = self._header(b"content-length")
        encoding = self._header(b"transfer-encoding")
        if encoding is None and value is not None and value.isdecimal() and len(value) < 16:
            return int(value)
        return get_content_length(value, encoding)

    @Lazy
    def cookies(self) -> ImmutableMultiDict[str, str]:
        """The cookies sent by the client (RFC 6265 section 5.4)."""
        # Werkzeug 3.2 deprecates the attribute.
        kind = getattr(self, "dict_storage_class", None) or ImmutableMultiDict
        cookies: Any = _parse_cookies(self._header(b"cookie"))
        if type(cookies) is not kind:
            cookies = kind(cookies.items(multi=True))
        return cast("ImmutableMultiDict[str, str]", cookies)

    @Lazy
    def _parsed_content_type(self) -> tuple[str, dict[str, str]]:
        return parse_options_header(self._header(b"content-type"))

    def _parse_content_type(self) -> None:
        """Do nothing: it is parsed on first access."""

    @property
    def scope(self) -> Scope:
        """The ASGI scope. Raises `RuntimeError` for a request built from a WSGI environ."""
        scope = self.asgi_scope
        if scope is None:
            raise RuntimeError("This request was not received over ASGI, so it has no scope.")
        return scope

    @property
    def state(self) -> State:
        """The state from the app's lifespan, as in Starlette."""
        from starlette.datastructures import State  # only apps with a lifespan need it

        return State(self.scope.setdefault("state", {}))

    async def is_disconnected(self) -> bool:
        """Return `True` if the client has disconnected. Works once the body has been received."""
        return self.asgi_body is not None and await self.asgi_body.is_disconnected()

    @Lazy
    def stream(self) -> Any:
        """The body as a file. With `stream=True` on the route you can also iterate over it with
        `async for`, which receives each chunk of `bytes` as you read it."""
        if self.asgi_body is None or self.shallow:
            return super().stream
        body = self._limited_body()
        if getattr(self.url_rule, "stream", False):
            return BodyFile(body)
        if "environ" not in self.__dict__:
            return body.file()
        # Without the limit, which the body enforces: it would silently truncate a chunked
        # body.
        return get_input_stream(self.environ)

    @overload
    def get_data(
        self, cache: bool = ..., as_text: Literal[False] = ..., parse_form_data: bool = ...
    ) -> bytes: ...
    @overload
    def get_data(
        self, cache: bool = ..., as_text: Literal[True] = ..., parse_form_data: bool = ...
    ) -> str: ...
    def get_data(
        self, cache: bool = True, as_text: bool = False, parse_form_data: bool = False
    ) -> bytes | str:
        """Return the body, read to its end.

        :param cache: keep the body, so that you can read it again. Default: `True`.
        :param as_text: decode it as UTF-8. Default: `False`, bytes.
        :param parse_form_data: parse a form first, in which case its data is in `form` and this
            returns an empty body. Default: `False`.
        :raises werkzeug.exceptions.RequestEntityTooLarge: if the body is over
            `max_content_length`.
        """
        data = None if parse_form_data else self._take_body()
        if data is None:
            return super().get_data(cache, as_text, parse_form_data)  # type: ignore[call-overload,no-any-return]
        if cache:
            self._cached_data = data
        return data.decode(errors="replace") if as_text else data

    @Lazy
    def authorization(self) -> Authorization | None:
        """The credentials sent by the client, or `None` if there are none or they are
        malformed."""
        try:
            return Authorization.from_header(self._header(b"authorization"))
        except ValueError:  # raised by Werkzeug's parser for some malformed values
            return None

    max_content_length = _limit(
        "max_content_length",
        """The maximum size of the body in bytes; a larger one is rejected with 413. `None` for no
        limit. Set it on the request, for a route with `max_content_length=`, or for the app with
        `MAX_CONTENT_LENGTH`. Before an async view, the body is received with the limit of that
        time, so set a higher one earlier.""",
    )
    max_form_memory_size = _limit(
        "max_form_memory_size",
        """The maximum size of a form field, or of an urlencoded form, in bytes; a larger one is
        rejected with 413. Set it on the request, or for the app with `MAX_FORM_MEMORY_SIZE`.
        Default: 500,000.""",
    )
    max_form_parts = _limit(
        "max_form_parts",
        """The maximum number of fields in a form; more are rejected with 413. Set it on the
        request, or for the app with `MAX_FORM_PARTS`. Default: 1,000.""",
    )

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event the browser received before it reconnected to an event stream:
        the header `Last-Event-ID` (WHATWG HTML, section 9.2.4)."""
        value = self._header(b"last-event-id")
        return None if value is None else value.encode("latin-1").decode("utf-8", "replace")

    @property
    def endpoint(self) -> str | None:
        """The endpoint of the matched rule, or `None` if no rule matched."""
        rule = self.url_rule
        return None if rule is None else cast(str, rule.endpoint)

    @property
    def blueprint(self) -> str | None:
        """The name of the current blueprint, with those it is nested in (`"admin.users"`); `None`
        if the endpoint is not in a blueprint."""
        endpoint = self.endpoint
        if endpoint is not None and "." in endpoint:
            return endpoint.rpartition(".")[0]
        return None

    @property
    def blueprints(self) -> list[str]:
        """The names of the current blueprint and those it is nested in, innermost first."""
        name = self.blueprint
        return [] if name is None else _split_blueprint_path(name)

    def close(self) -> None:
        """Close the files of the form, if it was read."""
        if not self.to_be_closed:
            return
        if self.__dict__.get("files"):
            super().close()
        for upload in self._uploads:
            upload.close()
        if self._form_ahead is not None:
            for file in self._form_ahead[2].values():
                file.close()
        if "environ" in self.__dict__:
            self.environ["werkzeug.request"] = None  # breaks a cycle

    @Lazy
    def form(self) -> ImmutableMultiDict[str, str]:
        """The fields of the submitted form, as an `ImmutableMultiDict`. Reading a missing key with
        `form["name"]` answers with 400; `form.get("name")` returns `None`."""
        self._load_form_data()
        return cast("ImmutableMultiDict[str, str]", self.__dict__["form"])

    @Lazy
    def files(self) -> ImmutableMultiDict[str, FileStorage]:
        """The uploaded files by field name, as an `ImmutableMultiDict` of `FileStorage`. The form
        must have `enctype="multipart/form-data"`."""
        self._load_form_data()
        return cast("ImmutableMultiDict[str, FileStorage]", self.__dict__["files"])

    @property
    def want_form_data_parsed(self) -> bool:
        """`True` if there is a `Content-Type`, so that the body may be a form."""
        return bool(self._header(b"content-type"))

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """Return the body parsed as JSON. `request.json` is short for this without arguments.

        :param force: ignore the mimetype. Default: `False`.
        :param silent: return `None` instead of raising. Default: `False`.
        :param cache: keep the value for the next call. Default: `True`.
        :raises werkzeug.exceptions.UnsupportedMediaType: (415) if the mimetype is not JSON.
        :raises werkzeug.exceptions.BadRequest: (400) if the body is not valid JSON.
        """
        try:
            return super().get_json(force=force, silent=silent, cache=cache)
        except RecursionError:
            if silent:
                return None
            return self.on_json_loading_failed(ValueError("The JSON is nested too deeply."))

    def on_json_loading_failed(self, e: ValueError | None) -> Any:
        """Called if `get_json` fails to parse the body. Raises `BadRequest`, with the reason in
        debug mode only. Override it to return a value or raise another error."""
        try:
            return super().on_json_loading_failed(e)
        except BadRequest as error:
            ctx = _cv_app.get(None)
            if ctx is not None and ctx.app.debug:
                raise
            raise BadRequest() from error
