"""The response class: Werkzeug's with Flask's extensions, over ASGI; and the adapter for
Starlette's responses."""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from http import HTTPStatus
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import Headers
from werkzeug.utils import get_content_type
from werkzeug.wrappers import Response as ResponseBase

from . import json
from .asgi.head import encode_headers
from .asgi.waiting import wait
from .ctx import _cv_app
from .lazy import Lazy

if TYPE_CHECKING:
    from starlette.responses import Response as StarletteResponse


class AsyncBody:
    """A response body from an async iterable. Sync code can iterate it too, on a thread."""

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
        """Return an iterable of the same chunks with one step less for each; chunks may be
        `str`."""
        self.__aiter__()
        return self._iterator if isinstance(self._iterator, AsyncIterable) else self

    async def aclose(self) -> None:
        """Close the iterable, if it has an `aclose` method."""
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
    """The response (Flask: `flask.Response`). Unlike Flask's, it accepts an async iterable as
    *response*."""

    default_mimetype: str | None = "text/html"
    json_module: Any = json
    autocorrect_location_header = False

    asgi_response: StarletteResponse | None = None
    """A Starlette response that sends itself, with the status and headers of this response."""

    asgi_headers: frozenset[tuple[str, str]] = frozenset()
    """The headers that the Starlette response had originally. Only differences override them."""

    background: Callable[[], Awaitable[object]] | None = None
    """A coroutine function to await after the response was sent."""

    def __init__(
        self,
        response: Any = None,
        status: int | str | HTTPStatus | None = None,
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
            # As Werkzeug's initializer, but the headers are only created on first access.
            if isinstance(response, str):
                response = response.encode()
            self.response = [response]
            self.direct_passthrough = False
            self._on_close = []
            if mimetype is None:
                mimetype = self.default_mimetype
            self.mimetype_and_length = mimetype, len(response)
            if status is None and self.default_status == 200:
                self._status, self._status_code = "200 OK", 200
            else:
                self.status = self.default_status if status is None else status
            return
        # By the attribute, not isinstance: a proxy's class has every attribute.
        if hasattr(response, "__aiter__") and not isinstance(response, io.IOBase):
            response = AsyncBody(response)
        super().__init__(response, status, headers, mimetype, content_type, direct_passthrough)

    mimetype_and_length: tuple[str | None, int] | None = None
    """Mimetype and length of a one-piece body, for the headers."""

    @Lazy
    def headers(self) -> Headers:
        """The response headers (Werkzeug: `Headers`)."""
        assert self.mimetype_and_length is not None
        mimetype, length = self.mimetype_and_length
        headers = Headers()
        headers._list = [("Content-Length", str(length))]
        if mimetype is not None:
            headers._list.insert(0, ("Content-Type", get_content_type(mimetype, "utf-8")))
        return headers

    # Attribute getters in C.
    status = property(attrgetter("_status"), _base.status.fset, doc=_base.status.__doc__)
    status_code = property(
        attrgetter("_status_code"), _base.status_code.fset, doc=_base.status_code.__doc__
    )

    @property
    def max_cookie_size(self) -> int:  # type: ignore[override]
        """The size in bytes above which a cookie gives a warning: `MAX_COOKIE_SIZE`, by default
        4093."""
        ctx = _cv_app.get(None)
        size: int = (
            ResponseBase.max_cookie_size if ctx is None else ctx.app.config["MAX_COOKIE_SIZE"]
        )
        return size


def content_lines(mimetype: str | None, length: int) -> list[tuple[bytes, bytes]]:
    """Return the ASGI header lines of a one-piece body."""
    line = b"content-length", b"%d" % length
    if mimetype is None:
        return [line]
    return [content_type_lines.get(mimetype) or content_type_line(mimetype), line]


def content_type_line(mimetype: str) -> tuple[bytes, bytes]:
    """Return the ASGI header line for this mimetype."""
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
_REMEMBERED_BYTES = 40
"""Longer mimetypes are not cached."""


def is_starlettes(value: object) -> bool:
    """Return `True` if *value* is a Starlette response. Does not import Starlette: whoever has
    such a response already did."""
    module = sys.modules.get("starlette.responses")
    return isinstance(value, getattr(module, "Response", ()))


def from_starlette(response_class: Callable[..., Response], source: StarletteResponse) -> Response:
    """Convert the Starlette response *source* to a response that hooks can read and change."""
    body: Any = getattr(source, "body", None)
    if body is None:
        body = getattr(source, "body_iterator", None)
    elif not isinstance(body, bytes):
        body = bytes(body)
    # Capitalized as WSGI servers write them.
    headers = [(n.decode("latin-1").title(), v.decode("latin-1")) for n, v in source.raw_headers]
    response = response_class(body, status=source.status_code, headers=headers)
    response.background = source.background
    source.background = None
    if body is None:
        response.asgi_response = source
        response.direct_passthrough = True
        response.asgi_headers = frozenset(headers)
    return response
