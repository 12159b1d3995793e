"""Request and response: Werkzeug's classes, as Flask extends them, over ASGI.

Also the one adapter for Starlette's responses.
"""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextvars import Context
from functools import cache, lru_cache
from operator import attrgetter
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from starlette.types import Receive, Scope
from werkzeug.datastructures import (
    Authorization,
    EnvironHeaders,
    FileStorage,
    Headers,
    ImmutableMultiDict,
    MultiDict,
)
from werkzeug.exceptions import (
    BadRequest,
    BadRequestKeyError,
    HTTPException,
    RequestEntityTooLarge,
)
from werkzeug.http import parse_options_header
from werkzeug.routing import Rule
from werkzeug.sansio.http import parse_cookie
from werkzeug.sansio.utils import get_content_length, get_host
from werkzeug.utils import get_content_type
from werkzeug.wrappers import Request as RequestBase
from werkzeug.wrappers import Response as ResponseBase
from werkzeug.wsgi import get_input_stream

from . import json
from .asgi.http import SPOOL_BYTES, Body, BodyFile, encode_headers
from .asgi.threads import wait
from .asgi.wsgi import environ_from_scope, route_path
from .ctx import _cv_app
from .debughelpers import attach_enctype_error_multidict
from .formparser import FormDataParser
from .lazy import Lazy

if TYPE_CHECKING:
    from starlette.datastructures import State
    from starlette.responses import Response as StarletteResponse


@lru_cache(maxsize=256)
def _title(name: bytes) -> str:
    return name.decode("latin-1").title()


_REMEMBERED_BYTES = 40
"""A longer name of a header is not remembered: clients choose them."""


def _title_case(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """ASGI's header lines with their names written as WSGI servers do."""
    return [
        (
            (_title if len(name) <= _REMEMBERED_BYTES else _title.__wrapped__)(name),
            value.decode("latin-1"),
        )
        for name, value in headers
    ]


class _RequestHeaders(Headers):
    """As its base. What asks for one header by its name gets it from ASGI's lines; the list of
    all is made for what else there is to ask."""

    _lines: dict[bytes, bytes] | None = None
    """By name; `None` once there is the list, which can be changed."""

    _source: dict[bytes, bytes]

    @classmethod
    def of_lines(cls, lines: dict[bytes, bytes]) -> _RequestHeaders:
        """Of lines that have been checked, which the initializer would do again."""
        self = cls.__new__(cls)
        self._source = lines
        if b"".join(lines).islower():  # as they should be
            self._lines = lines
        return self

    @Lazy
    def _list(self) -> Any:
        titled = _title_case(self._source.items())
        self._lines = None
        return titled

    def _get_key(self, key: str) -> str:
        if self._lines is None:
            return super()._get_key(key)
        value = self.get(key)
        if value is None:
            raise BadRequestKeyError(key)
        return cast(str, value)

    def get(self, key: str, default: Any = None, type: Any = None) -> Any:  # type: ignore[override]
        if type is not None:
            return super().get(key, default, type)
        lines = self._lines
        if lines is not None:
            line = lines.get(key.lower().encode("latin-1", "replace"))
            return default if line is None else line.decode("latin-1")
        lower = key.lower()
        for name, value in self._list:  # without the exception of the base
            if name.lower() == lower:
                return value
        return default


_URLENCODED = "application/x-www-form-urlencoded"

_content_type = lru_cache(maxsize=256)(get_content_type)

_READ_BY = frozenset({"stream", "_file", "environ", "_cached_data"})
"""What a body may have been read by, or may be."""


@cache
def _split_blueprint_path(name: str) -> list[str]:
    """The name of a nested blueprint and of those round it, innermost first."""
    parent = name.rpartition(".")[0]
    return [name, *(_split_blueprint_path(parent) if parent else ())]


@cache
def _blueprints_of(endpoint: str) -> list[str]:
    return _split_blueprint_path(endpoint.rpartition(".")[0])


class Request(RequestBase):
    """The request (Flask: `flask.Request`). Its data are plain values for code of either colour.

    A WebSocket has one too: that of its handshake.
    """

    # What each request has, and is looked at several times: faster than in its `__dict__`.
    __slots__ = {
        "_content": "The body, if it has come whole and nobody has asked for `_body`.",
        "_lines": "The header lines of the scope by name, if no name is repeated.",
        "_outer": "What the server called in.",
        "_receive": "The server's.",
        "_scope": "The ASGI scope.",
        "_used": "Whether there may be something to close at the end.",
        "json_module": "What reads JSON: the app's provider.",
        "routing_exception": "Why no rule matched; raised when the request is dispatched.",
        "url_rule": "The matched rule.",
        "view_args": "What the rule's placeholders matched.",
    }

    form_data_parser_class = FormDataParser
    json_module: Any
    url_rule: Rule | None
    view_args: dict[str, Any] | None
    routing_exception: HTTPException | None

    shallow = False

    _content: bytes | None
    _lines: dict[bytes, bytes] | None
    _outer: Context | None
    _receive: Receive | None
    _scope: Scope | None
    _used: bool
    _max_content_length: int | None = None
    _max_form_memory_size: int | None = None
    _max_form_parts: int | None = None

    _lazy = True
    """Whether no subclass has an initializer of its own, which wants a whole environ."""

    _plain = True
    """Whether no subclass has a say in where a body is read from, and what it is."""

    _names_blueprints = True
    """Whether no subclass has an `endpoint` or `blueprint` of its own."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._lazy = cls.__init__ is Request.__init__
        cls._plain = all(
            getattr(cls, name) is getattr(Request, name)
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
        cls._names_blueprints = (
            cls.endpoint is Request.endpoint and cls.blueprint is Request.blueprint
        )

    @classmethod
    def from_scope(
        cls,
        scope: Scope,
        receive: Receive,
        outer: Context | None = None,
        lines: dict[bytes, bytes] | None = None,
    ) -> Request:
        """Make the request of an ASGI scope. What it consists of is only computed when it is
        read, unless a subclass has an `__init__` of its own, which wants a whole environ."""
        if not cls._lazy:
            body = Body(scope, receive, None, None if outer is None else outer.copy())
            self = cls(environ_from_scope(scope, body))
            self._scope, self._body = scope, body
            return self
        path = route_path(scope)
        self = cls.__new__(cls)
        self._scope = scope
        self._receive = receive
        self._outer = outer
        self._lines = lines
        self._content = None
        self._used = False
        self.json_module = json
        self.routing_exception = self.url_rule = self.view_args = None
        self.method = scope.get("method", "GET").upper()
        if path[:1] != "/":
            if not scope["path"].startswith("/"):
                self.routing_exception = BadRequest("The request target does not begin with '/'.")
            path = "/" + path
        elif path[1:2] == "/":
            path = "/" + path.lstrip("/")
        self.path = path
        return self

    def __init__(self, environ: Any, populate_request: bool = True, shallow: bool = False) -> None:
        self._scope = self._receive = self._outer = self._lines = self._content = None
        self._used = True
        self.json_module = json
        self.routing_exception = self.url_rule = self.view_args = None
        super().__init__(environ, populate_request, shallow)

    # As Werkzeug's initializer sets them.

    @Lazy
    def scheme(self) -> str:
        """The scheme of the URL that the client asked for."""
        return cast(str, self.scope.get("scheme", "http"))

    @Lazy
    def server(self) -> Any:
        """Address and port of the server, or the path of its socket and `None`."""
        server = self.scope.get("server")
        return tuple(server) if server else None

    @Lazy
    def root_path(self) -> str:
        """What the app is mounted under, without a slash at its end."""
        path: str = (self._scope or self.scope).get("root_path", "")
        return path.rstrip("/")

    @Lazy
    def query_string(self) -> bytes:
        """What comes after the "?" of the URL, undecoded."""
        return cast(bytes, self.scope.get("query_string", b""))

    args: Lazy[MultiDict[str, str]] = Lazy(cast(Any, RequestBase.args).fget)

    @Lazy
    def remote_addr(self) -> str | None:
        """The client's address."""
        client = self.scope.get("client")
        return client[0] if client else None

    @Lazy
    def _body(self) -> Any:
        receive, outer = self._receive, self._outer
        self._used = True
        if receive is None:
            return None
        context = None if outer is None else outer.copy()
        body = Body(self.scope, receive, self._lines, context)
        if self._content is not None:
            body.put(self._content)
            self._content = None
        return body

    @property
    def _has_body(self) -> bool:
        """Whether there may be one to receive."""
        lines = self._lines
        if lines is not None:
            if b"content-length" in lines or b"transfer-encoding" in lines:
                return True
            if self.scope.get("http_version", "1.1") < "2":
                return False
        return self._body is not None

    @Lazy
    def environ(self) -> Any:
        """The WSGI environ of the request; changes to it are seen by all who read it here."""
        assert self._scope is not None
        environ = environ_from_scope(self._scope, self._body)
        if "_file" in self.__dict__:
            environ["wsgi.input"] = self._file
        environ["werkzeug.request"] = self
        return environ

    @Lazy
    def _file(self) -> Any:
        """The body for plain reads, without an environ."""
        return self._body.file()

    @Lazy
    def headers(self) -> Headers:
        """The header lines of the request. Repeated ones are joined, as WSGI servers do (RFC 9110
        section 5.3)."""
        lines = self._lines
        if lines is None:
            headers = (self._scope or self.scope)["headers"]
            lines = dict(headers)
            if len(lines) < len(headers):
                return EnvironHeaders(self.environ)
        return _RequestHeaders.of_lines(lines)

    def _header(self, name: bytes) -> str | None:
        """One header, looked up without reading all of them if they have not been."""
        lines = self._lines
        if lines is not None and "headers" not in self.__dict__:
            value = lines.get(name)
            return None if value is None else value.decode("latin-1")
        if self._scope is None or "headers" in self.__dict__:
            header: str | None = self.headers.get(name.decode("latin-1"))
            return header
        values = [str(value, "latin-1") for key, value in self._scope["headers"] if key == name]
        return ("; " if name == b"cookie" else ",").join(values) if values else None

    @Lazy
    def host(self) -> str:
        """The host that the request names, with the port unless it is the scheme's own. Empty if
        there is none. Raises `SecurityError` (400) if it is not in `TRUSTED_HOSTS`."""
        return get_host(self.scheme, self._header(b"host"), self.server, self.trusted_hosts)

    # Werkzeug's, but by `_header`.

    @Lazy
    def content_length(self) -> int | None:
        """The length of the body that the client announces; `None` if it does not."""
        value = self._header(b"content-length")
        encoding = self._header(b"transfer-encoding")
        if encoding is None and value is not None and value.isdecimal() and len(value) < 16:
            return int(value)
        return get_content_length(value, encoding)

    @Lazy
    def cookies(self) -> ImmutableMultiDict[str, str]:
        """The cookies that the client sent (RFC 6265 section 5.4)."""
        # Werkzeug 3.2 deprecates the attribute, and the argument of `parse_cookie` that it is for.
        kind = getattr(self, "dict_storage_class", None) or ImmutableMultiDict
        cookies: Any = parse_cookie(self._header(b"cookie"))
        if type(cookies) is not kind:
            cookies = kind(cookies.items(multi=True))
        return cast("ImmutableMultiDict[str, str]", cookies)

    @Lazy
    def _parsed_content_type(self) -> Any:
        return parse_options_header(self._header(b"content-type"))

    def _parse_content_type(self) -> None:
        """Nothing: it is parsed when it is read."""

    @Lazy
    def mimetype(self) -> Any:
        """The type of the body without its parameters, in lower case; empty if there is none."""
        return (self._header(b"content-type") or "").partition(";")[0].strip(" \t").lower()

    @property
    def scope(self) -> Scope:
        """The ASGI scope. Raises `RuntimeError` for a request made of a WSGI environ."""
        scope = self._scope
        if scope is None:
            raise RuntimeError("This request was not received through ASGI: it has no scope.")
        return scope

    @property
    def state(self) -> State:
        """What the lifespan gave (Starlette: `request.state`)."""
        from starlette.datastructures import State  # needed by none without a lifespan

        return State(self.scope.setdefault("state", {}))

    async def is_disconnected(self) -> bool:
        """Whether the client has left. Known once the body has been received."""
        return self._body is not None and await self._body.is_disconnected()

    @Lazy
    def stream(self) -> Any:
        """The body as a file. With `stream=True` on the route it is also an asynchronous
        iterable of `bytes`, received while it is iterated."""
        if self._body is None or self.shallow:
            return super().stream
        body = self._limited_body()
        if getattr(self.url_rule, "stream", False):
            return BodyFile(body)
        if "environ" not in self.__dict__:
            return self._file
        # Not told of the limit, which is the body's: it would cut a chunked body off in silence.
        return get_input_stream(self.environ)

    def _limited_body(self) -> Body:
        """The body, that there is, told of its limit. Raises `RequestEntityTooLarge` (413)."""
        body: Body = self._body
        if not body.told or not self._plain:
            body.limit(self.max_content_length)
        if body.error is not None and not getattr(self.url_rule, "stream", False):
            raise body.error
        return body

    def _unread_body(self) -> Body | None:
        """The body, told of its limit, if nobody has looked at it before."""
        if (
            self._plain
            and self.__dict__.keys().isdisjoint(_READ_BY)
            and self._body is not None
            and not self.shallow
        ):
            return self._limited_body()
        return None

    def _get_stream_for_parsing(self) -> Any:
        """What a form is parsed from: the chunks of the body as they are, if nobody looked at
        them before."""
        body = self._unread_body()
        return super()._get_stream_for_parsing() if body is None else body.raw_file()

    def _take_whole(self) -> bytes | None:
        """All of the body, if it has come and nobody has looked at it before."""
        content = self._content
        if content is None:
            body = self._unread_body()
            return None if body is None else body.whole()
        if self._plain and self.__dict__.keys().isdisjoint(_READ_BY) and not self.shallow:
            self._content = b""
            return content
        return None

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
        """The body, read to its end and kept for the next time if *cache*. With *parse_form_data*
        empty for a form, which is parsed (Werkzeug)."""
        data = None if parse_form_data else self._take_whole()
        if data is None:
            return super().get_data(cache, as_text, parse_form_data)  # type: ignore[call-overload,no-any-return]
        if cache:
            self._cached_data = data
        return data.decode(errors="replace") if as_text else data

    @Lazy
    def authorization(self) -> Authorization | None:
        """The credentials that the client sent; `None` if there are none, or none to read."""
        try:
            return Authorization.from_header(self._header(b"authorization"))
        except ValueError:  # Werkzeug's parser raises it for some malformed ones
            return None

    @property
    def max_content_length(self) -> int | None:
        """More bytes of body than this are refused with 413; `None` for no limit. Set on the
        request, or for all by `MAX_CONTENT_LENGTH`. For an asynchronous view it has to be set
        before its first asynchronous hook, since then the body is received."""
        if self._max_content_length is not None:
            return self._max_content_length
        ctx = _cv_app.get(None)
        if ctx is None:
            return RequestBase.max_content_length
        limit: int | None = ctx.app.config["MAX_CONTENT_LENGTH"]
        return limit

    @max_content_length.setter
    def max_content_length(self, value: int | None) -> None:
        self._max_content_length = value
        if (self._used or self._content is not None) and self._body is not None:
            self._body.told = False

    @property
    def max_form_memory_size(self) -> int | None:
        """More bytes than this of a form field, or of an urlencoded form, are refused with 413.
        Set on the request, or for all by `MAX_FORM_MEMORY_SIZE`, 500,000 by default."""
        if self._max_form_memory_size is not None:
            return self._max_form_memory_size
        ctx = _cv_app.get(None)
        if ctx is None:
            return RequestBase.max_form_memory_size
        limit: int | None = ctx.app.config["MAX_FORM_MEMORY_SIZE"]
        return limit

    @max_form_memory_size.setter
    def max_form_memory_size(self, value: int | None) -> None:
        self._max_form_memory_size = value

    @property  # type: ignore[override]
    def max_form_parts(self) -> int | None:
        """More fields of a form than this are refused with 413. Set on the request, or for all
        by `MAX_FORM_PARTS`, 1,000 by default."""
        if self._max_form_parts is not None:
            return self._max_form_parts
        ctx = _cv_app.get(None)
        if ctx is None:
            return RequestBase.max_form_parts
        limit: int | None = ctx.app.config["MAX_FORM_PARTS"]
        return limit

    @max_form_parts.setter
    def max_form_parts(self, value: int | None) -> None:
        self._max_form_parts = value

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that the browser has seen of an event stream, when it
        connects again (WHATWG HTML, section 9.2.4: the header `Last-Event-ID`)."""
        value = self._header(b"last-event-id")
        return None if value is None else value.encode("latin-1").decode("utf-8", "replace")

    @property
    def endpoint(self) -> str | None:
        """The endpoint of the matched rule."""
        rule = self.url_rule
        return None if rule is None else cast(str, rule.endpoint)

    @property
    def blueprint(self) -> str | None:
        """The name of the blueprint that the matched endpoint belongs to, with those round it."""
        endpoint = self.endpoint
        if endpoint is not None and "." in endpoint:
            return endpoint.rpartition(".")[0]
        return None

    @property
    def blueprints(self) -> list[str]:
        """The names of that blueprint and of those round it, innermost first."""
        if self._names_blueprints:
            rule = self.url_rule
            if rule is None or "." not in rule.endpoint:
                return []
            return _blueprints_of(rule.endpoint)
        name = self.blueprint
        return [] if name is None else _split_blueprint_path(name)

    def close(self) -> None:
        """Close the files of the form, if it was read."""
        if not self._used:
            return
        if self.__dict__.get("files"):
            super().close()
        if "environ" in self.__dict__:
            self.environ["werkzeug.request"] = None  # a cycle

    @Lazy
    def form(self) -> ImmutableMultiDict[str, str]:
        """The fields of the form that the client sent (Werkzeug: `ImmutableMultiDict`)."""
        self._load_form_data()
        form: ImmutableMultiDict[str, str] = self.__dict__["form"]
        return form

    @Lazy
    def files(self) -> ImmutableMultiDict[str, FileStorage]:
        """The files of the form that the client sent (Werkzeug: `FileStorage`)."""
        self._load_form_data()
        files: ImmutableMultiDict[str, FileStorage] = self.__dict__["files"]
        return files

    @property
    def want_form_data_parsed(self) -> bool:
        """Whether there is a `Content-Type`, and so a form to be looked for."""
        return bool(self._header(b"content-type"))

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> Any:
        """Where an uploaded file is written to (Werkzeug): memory, or a temporary file if it is
        larger than a body that is kept in memory."""
        return SpooledTemporaryFile(max_size=SPOOL_BYTES)

    def _load_form_data(self) -> None:
        data = None
        if (
            self._plain
            and "form" not in self.__dict__
            and self._header(b"content-type") == _URLENCODED
        ):
            data = self._take_whole()
        if data is None:
            super()._load_form_data()
        else:  # the same, without asking for what is known of it
            parser = self.make_form_data_parser()
            try:
                parsed: Any = parser.parse(io.BytesIO(data), _URLENCODED, len(data), {})
            except RequestEntityTooLarge:
                self._content = data  # who asks again is told again
                raise
            parts = self.__dict__  # a subclass may have a property by one of the names
            parts["stream"], parts["form"], parts["files"] = parsed
        ctx = _cv_app.get(None)
        if (
            ctx is not None
            and ctx.app.debug
            and self.mimetype != "multipart/form-data"
            and not self.files
        ):
            attach_enctype_error_multidict(self)

    @property
    def is_json(self) -> bool:
        """Whether the mimetype says that the body is JSON."""
        # What `mimetype` would find out.
        plain = self._plain and self._header(b"content-type") == "application/json"
        return plain or super().is_json

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """The body parsed as JSON. Raises `UnsupportedMediaType` (415) unless the mimetype says
        JSON or *force* is given, and `BadRequest` (400) if it is none; *silent*: `None` then."""
        try:
            return super().get_json(force=force, silent=silent, cache=cache)
        except RecursionError:
            if silent:
                return None
            return self.on_json_loading_failed(ValueError("The JSON is nested too deep."))

    def on_json_loading_failed(self, e: ValueError | None) -> Any:
        """Called when `get_json` cannot parse the body: raises `BadRequest`, which says why in
        debug mode only."""
        try:
            return super().on_json_loading_failed(e)
        except BadRequest as error:
            ctx = _cv_app.get(None)
            if ctx is not None and ctx.app.debug:
                raise
            raise BadRequest() from error


class AsyncBody:
    """The body of a response that an asynchronous iterable gives. Plain code may iterate it too,
    on a thread."""

    def __init__(self, source: AsyncIterable[Any]) -> None:
        self._source = source
        self._iterator: AsyncIterator[Any] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self._iterator is None:
            self._iterator = self._source.__aiter__()
        return self

    async def __anext__(self) -> bytes:
        assert self._iterator is not None
        chunk = await self._iterator.__anext__()
        return chunk.encode() if isinstance(chunk, str) else bytes(chunk)

    def chunks(self) -> AsyncIterable[Any]:
        """What gives the same without a step more for each: `str` too, for `send_response`."""
        self.__aiter__()
        return self._iterator if isinstance(self._iterator, AsyncIterable) else self

    async def aclose(self) -> None:
        """Close the iterable, if it can be."""
        source = self._source if self._iterator is None else self._iterator
        if hasattr(source, "aclose"):
            await source.aclose()

    def __iter__(self) -> Iterator[bytes]:
        iterator = self.__aiter__()
        while True:
            try:
                yield wait(_next(iterator))
            except StopAsyncIteration:
                return

    def close(self) -> None:
        wait(self.aclose())


async def _next(iterator: AsyncIterator[bytes]) -> bytes:
    return await iterator.__anext__()


_base: Any = ResponseBase


class Response(ResponseBase):
    """The response (Flask: `flask.Response`). *response* may be an asynchronous iterable too."""

    default_mimetype: str | None = "text/html"
    json_module: Any = json
    autocorrect_location_header = False

    asgi_response: StarletteResponse | None = None
    """A Starlette response that sends itself; status and headers are this one's."""

    asgi_headers: frozenset[tuple[str, str]] = frozenset()
    """The headers that the Starlette response had; what differs from them is sent instead."""

    background: Callable[[], Any] | None = None
    """A coroutine function that is awaited after the response was sent."""

    def __init__(
        self,
        response: Any = None,
        status: Any = None,
        headers: Any = None,
        mimetype: str | None = None,
        content_type: str | None = None,
        direct_passthrough: bool = False,
    ) -> None:
        if (
            isinstance(response, (str, bytes))
            and headers is None
            and content_type is None
            and not direct_passthrough
            and type(self).set_data is ResponseBase.set_data
        ):
            # As Werkzeug's initializer, but headers are only made when somebody looks at them.
            if isinstance(response, str):
                response = response.encode()
            self.response = [response]
            self.direct_passthrough = False
            self._on_close = []
            self._plain = self.default_mimetype if mimetype is None else mimetype, len(response)
            if status is None and self.default_status == 200:
                self._status, self._status_code = "200 OK", 200
            else:
                self.status = self.default_status if status is None else status
            return
        # By its attribute: the class of a proxy has all of them, whatever it stands for.
        if hasattr(response, "__aiter__") and not isinstance(response, io.IOBase):
            response = AsyncBody(response)
        super().__init__(response, status, headers, mimetype, content_type, direct_passthrough)

    _plain: tuple[str | None, int] | None = None
    """Mimetype and length of content that was given whole, for the headers."""

    @Lazy
    def headers(self) -> Any:
        """The header lines (Werkzeug: `Headers`)."""
        assert self._plain is not None
        mimetype, length = self._plain
        headers = Headers()
        headers._list = [("Content-Length", str(length))]
        if mimetype is not None:
            short = len(mimetype) <= _REMEMBERED_BYTES
            write = _content_type if short else get_content_type
            headers._list.insert(0, ("Content-Type", write(mimetype, "utf-8")))
        return headers

    # Read by functions in C.
    status = property(attrgetter("_status"), _base.status.fset, doc=_base.status.__doc__)
    status_code = property(
        attrgetter("_status_code"), _base.status_code.fset, doc=_base.status_code.__doc__
    )

    @property
    def max_cookie_size(self) -> int:  # type: ignore[override]
        """A longer cookie gives a warning; `MAX_COOKIE_SIZE`, 4093 bytes by default."""
        ctx = _cv_app.get(None)
        size: int = (
            ResponseBase.max_cookie_size if ctx is None else ctx.app.config["MAX_COOKIE_SIZE"]
        )
        return size


def plain_lines(mimetype: str | None, length: int) -> list[tuple[bytes, bytes]]:
    """The header lines of content that was given whole, as ASGI wants them."""
    line = b"content-length", b"%d" % length
    return [line] if mimetype is None else [content_type_line(mimetype), line]


def content_type_line(mimetype: str) -> tuple[bytes, bytes]:
    """The header line of content of this type."""
    line = content_type_lines.get(mimetype)
    if line is None:
        line = encode_headers(200, [("Content-Type", get_content_type(mimetype, "utf-8"))])[0]
        if len(mimetype) <= _REMEMBERED_BYTES:
            if len(content_type_lines) >= _REMEMBERED_TYPES:
                content_type_lines.clear()
            content_type_lines[mimetype] = line
    return line


content_type_lines: dict[str, tuple[bytes, bytes]] = {}
_REMEMBERED_TYPES = 256


def is_starlettes(value: Any) -> bool:
    """Whether *value* is a response of Starlette. Who has one has imported it: we need not."""
    module = sys.modules.get("starlette.responses")
    return isinstance(value, getattr(module, "Response", ()))


def from_starlette(response_class: Callable[..., Response], source: StarletteResponse) -> Response:
    """The Starlette response *source* as a response that hooks can read and change."""
    body: Any = getattr(source, "body", None)
    if body is None:
        body = getattr(source, "body_iterator", None)
    elif not isinstance(body, bytes):
        body = bytes(body)
    headers = _title_case(source.raw_headers)
    response = response_class(body, status=source.status_code, headers=headers)
    response.background = source.background
    source.background = None
    if body is None:
        response.asgi_response = source
        response.direct_passthrough = True
        response.asgi_headers = frozenset(headers)
    return response
