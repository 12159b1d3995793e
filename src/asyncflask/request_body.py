"""How a request uses its body: who may read it, and parsing forms, at once or while they
arrive. The request itself is in `wrappers.py`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.routing import Rule
from werkzeug.wrappers import Request as RequestBase

from .asgi.body import SPOOL_BYTES, Body, BodyFile
from .ctx import _cv_app
from .debughelpers import attach_enctype_error_multidict
from .formparser import FormDataParser, Pieces
from .headers import RequestHeaders
from .lazy import Lazy

_URLENCODED = "application/x-www-form-urlencoded"

_FORM_TOO_LARGE = (
    "The form exceeds MAX_FORM_MEMORY_SIZE or MAX_FORM_PARTS, so the rest of it was not"
    " received. To read the bytes of such a body in an 'async def' view, write 'stream=True'"
    " on its route and 'async for chunk in request.stream' in the view."
)

_READ_BY = frozenset({"stream", "_cached_data"})
"""The attributes through which a body may have been read."""

FormLimits = tuple[int | None, int | None]


class FormAhead:
    """Parses a multipart form while it arrives, each piece on some thread."""

    def __init__(self, request: RequestBody, body: Body, pieces: Pieces) -> None:
        self._request = request
        self._limits = request._form_limits()
        self._body = body
        self._pieces = pieces

    def feed(self, piece: bytes | memoryview) -> None:
        """Parse *piece*. If the form exceeds its limits, stop receiving it."""
        body = self._body
        try:
            self._pieces.feed(piece)
        except RequestEntityTooLarge:
            if body.error is None:
                body.refuse(RequestEntityTooLarge(_FORM_TOO_LARGE))

    def end(self) -> None:
        """Finish, after the whole form was fed."""
        try:
            fields, files = self._pieces.end()
        except RequestEntityTooLarge:
            self._body.refuse(RequestEntityTooLarge(_FORM_TOO_LARGE))
        else:
            self._request._form_ahead = self._limits, fields, files


class RequestBody(RequestBase):
    """Base of `Request`: the internals of `get_data`, `stream`, `form` and `files`."""

    asgi_body: Lazy[Body]
    asgi_content: bytes | None
    url_rule: Rule | None

    shallow = False

    _uploads: Sequence[IO[bytes]] = ()
    """The files that uploads were written to, even if the form turned out to be too large."""

    _form_ahead: tuple[FormLimits, MultiDict[str, str], MultiDict[str, FileStorage]] | None = None
    """Limits, fields and files of a form that was parsed before anyone asked for it."""

    _overrides_body = False
    """`True` if a subclass overrides where a body is read from, or what it is."""

    def _header(self, name: bytes) -> str | None:
        """Return the value of a header, by its name in lower case."""
        headers = self.headers
        if type(headers) is RequestHeaders:
            return headers.line(name)
        return headers.get(name.decode("latin-1"))

    def _limited_body(self) -> Body:
        """Return the body, which must exist, with its limit set. Raises `RequestEntityTooLarge`
        (413)."""
        body = self.asgi_body
        assert body is not None
        if not body.told or self._overrides_body:
            body.limit(self.max_content_length)
        if body.error is not None and not getattr(self.url_rule, "stream", False):
            raise body.error
        return body

    def _unread_body(self) -> Body | None:
        """Return the body, with its limit set, if nobody has read it before; otherwise `None`."""
        body: Body | None = self.asgi_body
        if (
            body is None
            or body.taken
            or self._overrides_body
            or self.shallow
            or not self.__dict__.keys().isdisjoint(_READ_BY)
        ):
            return None
        environ = self.__dict__.get("environ")
        if environ is not None and environ.get("wsgi.input") is not body.file():
            return None  # somebody replaced it
        return self._limited_body()

    def _get_stream_for_parsing(self) -> Any:
        """Return the stream to parse a form from: the body's chunks as they are, if nobody read
        them before."""
        body = self._unread_body()
        return super()._get_stream_for_parsing() if body is None else body.raw_file()

    def _take_body(self) -> bytes | None:
        """Return the whole body if it has arrived and nobody has read it before; otherwise
        `None`."""
        content = self.asgi_content
        if content is None:
            body = self._unread_body()
            return None if body is None else body.take_all()
        if (
            not self._overrides_body
            and self.__dict__.keys().isdisjoint(_READ_BY)
            and not self.shallow
        ):
            self.asgi_content = b""
            return content
        return None

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        """Return the file to write an upload to: in memory, or on disk once it exceeds the
        limit for bodies in memory."""
        file = SpooledTemporaryFile(max_size=SPOOL_BYTES)
        self._uploads = [*self._uploads, file]
        return file

    def _form_limits(self) -> FormLimits:
        return self.max_form_memory_size, self.max_form_parts

    def form_ahead(self) -> FormAhead | None:
        """Return a parser for a large multipart form while it arrives, so that no thread waits
        for it and the loop does not have to parse it. The body remains available. `None` if a
        subclass parses forms itself."""
        body = self._unread_body()
        if body is None or "form" in self.__dict__:
            return None
        parser = self.make_form_data_parser()
        if not isinstance(parser, FormDataParser) or not parser.takes_pieces():
            return None
        return FormAhead(self, body, parser.pieces(self.content_length, self.mimetype_params))

    def may_be_form(self, size: int) -> bool:
        """Return `True` if an urlencoded form may have this *size*. Otherwise, stop receiving
        it."""
        limit = self.max_form_memory_size
        if limit is None or size <= limit:
            return True
        if (body := self._unread_body()) is not None:
            body.refuse(RequestEntityTooLarge(_FORM_TOO_LARGE))
        return False

    def parse_form_ahead(self) -> None:
        """On a thread: parse a large form that is on disk, so that the loop does not have to.
        The body remains available."""
        body = self._unread_body()
        if body is None or body.spooled is None or "form" in self.__dict__:
            return
        limits, parser = self._form_limits(), self.make_form_data_parser()
        stream = cast(IO[bytes], BodyFile(body))
        try:
            parsed = parser.parse(stream, self.mimetype, self.content_length, self.mimetype_params)
            self._form_ahead = limits, parsed[1], parsed[2]
            body.rewind()
        except RequestEntityTooLarge:
            body.refuse(RequestEntityTooLarge(_FORM_TOO_LARGE))

    def _load_form_data(self) -> None:
        if "form" in self.__dict__:
            return
        parts = self.__dict__  # a subclass may have properties with these names
        ahead, data = self._form_ahead, None
        if ahead is not None:
            self._form_ahead = None
            if ahead[0] == self._form_limits():
                parts["stream"], (parts["form"], parts["files"]) = io.BytesIO(), ahead[1:]
        if "form" not in parts:
            if not self._overrides_body and self._header(b"content-type") == _URLENCODED:
                data = self._take_body()
            if data is None:
                super()._load_form_data()
            else:  # the same, skipping what is already known
                parser = self.make_form_data_parser()
                try:
                    parsed = parser.parse(io.BytesIO(data), _URLENCODED, len(data), {})
                except RequestEntityTooLarge:
                    self.asgi_content = data  # the next access gets the error again
                    raise
                parts["stream"], parts["form"], parts["files"] = parsed
        ctx = _cv_app.get(None)
        if (
            ctx is not None
            and ctx.app.debug
            and self.mimetype != "multipart/form-data"
            and not self.files
        ):
            attach_enctype_error_multidict(self)
