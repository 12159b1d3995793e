"""Form parsing: Werkzeug's parsers, with limits for urlencoded bodies too, bodies in arbitrary
pieces, and a fast path for the contents of uploaded files, which Werkzeug's parser copies six
times. Knows nothing about requests."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Iterator
from typing import IO, Any, Final

from werkzeug.datastructures import FileStorage, ImmutableMultiDict, MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser as FormDataParserBase
from werkzeug.formparser import MultiPartParser as MultiPartParserBase
from werkzeug.sansio.multipart import (
    Data,
    Epilogue,
    Event,
    Field,
    File,
    MultipartDecoder,
    NeedData,
    State,
)

Fields = tuple[list[tuple[str, str]], list[tuple[str, FileStorage]]]
Steps = Generator[int, bytes, Fields]
Parsed = tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]

PIECE_BYTES: Final = 256 * 1024
"""How much of a file to read at a time, if the form's limit is well above that; as much as
servers pass on."""

FIELD_BYTES: Final = 16 * 1024
"""How much of a form to read at a time where there may be fields, which are copied."""

BOUNDARY_LENGTH: Final = 256
"""The maximum length of a multipart boundary. RFC 2046 section 5.1.1 allows 70; the parser
compiles a regular expression from it, which takes a second per 300 KB."""

PADDING_BYTES: Final = 64
"""The maximum white space between a boundary and its line break that may be split between
pieces (RFC 2046 section 5.1.1: transport padding, which no known client sends)."""


class FormDataParser(FormDataParserBase):
    """Werkzeug's parser, with its limits applied to urlencoded bodies too."""

    def _parse_urlencoded(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str]
    ) -> Parsed:
        limit = self.max_form_memory_size
        if limit is None or type(stream) is io.BytesIO:
            data: bytes = stream.read()
        else:
            data = _read_up_to(stream, limit + 1)
        if limit is not None and len(data) > limit:
            raise RequestEntityTooLarge()
        if self.max_form_parts is not None and data.count(b"&") >= self.max_form_parts:
            raise RequestEntityTooLarge()
        return super()._parse_urlencoded(io.BytesIO(data), mimetype, content_length, options)

    def _parse_multipart(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str]
    ) -> Parsed:
        boundary = _boundary(options)
        if not boundary:
            raise ValueError("The boundary in the Content-Type is missing or too long.")
        fields, files = self._parser().parse(stream, boundary, content_length)
        return stream, self._kind(fields), self._kind(files)

    def _parser(self) -> MultiPartParser:
        return MultiPartParser(
            stream_factory=self.stream_factory,
            max_form_memory_size=self.max_form_memory_size,
            max_form_parts=self.max_form_parts,
            buffer_size=PIECE_BYTES if self._takes_large_pieces() else 64 * 1024,
        )

    @property
    def _kind(self) -> Any:
        # Werkzeug 3.2 deprecates the attribute: it is None, and later removed.
        return getattr(self, "cls", None) or ImmutableMultiDict

    def takes_pieces(self) -> bool:
        """Return `True` if multipart forms are parsed here, not by a method of a subclass."""
        kind = type(self)
        return (
            kind.parse is FormDataParserBase.parse
            and kind._parse_multipart is FormDataParser._parse_multipart
        )

    def pieces(self, content_length: int | None, options: dict[str, str]) -> Pieces:
        """Return a parser for a multipart form as it arrives."""
        return Pieces(self._parser(), _boundary(options), content_length, self._kind)

    def _takes_large_pieces(self) -> bool:
        # The decoder counts each piece as form memory.
        limit = self.max_form_memory_size
        return limit is None or limit >= 2 * PIECE_BYTES - 64 * 1024


def _boundary(options: dict[str, str]) -> bytes:
    """Return the boundary of a multipart form, or nothing if it is missing or unusable."""
    boundary = options.get("boundary", "")
    usable = boundary.isascii() and len(boundary) <= BOUNDARY_LENGTH
    return boundary.encode() if usable else b""


def _read_up_to(stream: IO[bytes], size: int) -> bytes:
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class MultiPartParser(MultiPartParserBase):
    """Werkzeug's parser, based on the same decoder."""

    def parse(self, stream: IO[bytes], boundary: bytes, content_length: int | None) -> Any:
        """Read the stream to its end.

        :return: the fields and the files, each as a list of pairs.
        """
        steps = self.steps(boundary, content_length)
        size = next(steps)
        try:
            while True:
                size = steps.send(stream.read(size))
        except StopIteration as stop:
            return stop.value

    def steps(self, boundary: bytes, content_length: int | None) -> Steps:
        """A generator that parses the pieces sent to it until an empty one. Yields how much it
        wants next, at most."""
        opened: list[IO[bytes]] = []
        try:
            return (yield from self._parse(boundary, content_length, opened))
        except BaseException:
            for file in opened:
                file.close()
            raise

    def _parse(
        self, boundary: bytes, content_length: int | None, opened: list[IO[bytes]]
    ) -> Steps:
        feed = _Feed(
            MultipartDecoder(boundary, self.max_form_memory_size, max_parts=self.max_form_parts)
        )
        fields: list[tuple[str, str]] = []
        files: list[tuple[str, FileStorage]] = []
        part: Any = None
        value: list[bytes] = []
        size = 0
        file: IO[bytes] | None = None
        while True:
            piece = rest = yield FIELD_BYTES if file is None else self.buffer_size
            if piece and file is not None:
                rest = feed.write(piece, file.write)
                if not rest:
                    continue
            for event in feed.events(rest):
                if isinstance(event, Field):
                    part, value, size = event, [], 0
                elif isinstance(event, File):
                    part, file = event, self.start_file_streaming(event, content_length)
                    opened.append(file)
                elif isinstance(event, Data) and file is not None:
                    file.write(event.data)
                    if not event.more_data:
                        file.seek(0)
                        storage = FileStorage(file, part.filename, part.name, headers=part.headers)
                        files.append((part.name, storage))
                        file = None
                elif isinstance(event, Data):
                    size += len(event.data)
                    if self.max_form_memory_size is not None and size > self.max_form_memory_size:
                        raise RequestEntityTooLarge()
                    value.append(event.data)
                    if not event.more_data:
                        charset = self.get_part_charset(part.headers)
                        fields.append((part.name, b"".join(value).decode(charset, "replace")))
            if not piece:
                return fields, files


class Pieces:
    """Parses a multipart form piece by piece. Like `FormDataParser.parse`, it treats a
    malformed form as empty."""

    def __init__(
        self, parser: MultiPartParser, boundary: bytes, content_length: int | None, kind: Any
    ) -> None:
        self._kind = kind
        self._steps: Steps | None = parser.steps(boundary, content_length) if boundary else None
        self._wanted = 0 if self._steps is None else next(self._steps)
        self._parsed: Fields = [], []

    def feed(self, data: bytes | memoryview) -> None:
        """Parse *data*. Raises `RequestEntityTooLarge`."""
        data = memoryview(data)
        while data and self._steps is not None:
            piece, data = data[: self._wanted], data[self._wanted :]
            self._send(self._steps, bytes(piece))

    def end(self) -> tuple[MultiDict[str, str], MultiDict[str, FileStorage]]:
        """Return the form, after all of it was fed."""
        if self._steps is not None:
            self._send(self._steps, b"")
        fields, files = self._parsed
        return self._kind(fields), self._kind(files)

    def _send(self, steps: Steps, piece: bytes) -> None:
        try:
            self._wanted = steps.send(piece)
            return
        except StopIteration as stop:
            self._parsed = stop.value
        except ValueError:  # the form is malformed
            pass
        except RequestEntityTooLarge:
            self._steps = None
            raise
        self._steps = None


class _Feed:
    """Feeds a decoder with the pieces of a body, none of which ends within a delimiter: the
    decoder would take the beginning of one for content (pallets/werkzeug#3285)."""

    def __init__(self, decoder: MultipartDecoder) -> None:
        self.decoder = decoder
        self.delimiter = b"--" + decoder.boundary
        self.kept = len(decoder.boundary) + len(b"\r\n----\r\n")
        self.held = b""
        """The end of what was read, not yet passed to the decoder."""

    def events(self, piece: bytes) -> Iterator[Event]:
        """Yield the decoder's events for *piece*; if that is empty, for the end of the body."""
        decoder = self.decoder
        data = self.held + piece
        cut = self._cut(data) if piece else len(data)
        self.held = data[cut:]
        if cut:
            decoder.receive_data(data[:cut])
        if not piece:
            decoder.receive_data(None)
        while not isinstance(event := decoder.next_event(), NeedData | Epilogue):
            yield event

    def _cut(self, data: bytes) -> int:
        """Return how much of *data* to pass to the decoder. A delimiter is held back entirely,
        and so is a line break: after a bare CR, which the decoder takes for its first half, LF
        would be content."""
        cut = max(0, len(data) - self.kept)
        length = len(self.delimiter)
        line = len(b"\r\n")  # the one before the delimiter
        end = cut + line + length
        while True:
            first = max(0, cut - length - PADDING_BYTES)
            begin = data.rfind(self.delimiter, first, end)
            if begin < 0 or data[begin + length : cut].strip(b"- \t\v\f\r"):
                return cut - data.endswith(b"\r", 0, cut)
            cut = min(cut, max(0, begin - line))
            end = begin + length - 1  # another one may end there

    def write(self, piece: bytes, write: Callable[[Any], object]) -> bytes:
        """Write the part of *piece* that certainly belongs to a file. Return the rest, for
        `events`; empty if it contains no delimiter."""
        decoder, delimiter, kept = self.decoder, self.delimiter, self.kept
        if decoder.state is not State.DATA:
            return piece
        held = bytes(decoder.buffer) + self.held
        if delimiter in held + piece[:kept]:
            return piece
        at = piece.find(delimiter)
        end = (len(piece) if at < 0 else at) - kept
        if end <= 0:
            return piece
        write(held)
        with memoryview(piece) as view:
            write(view[:end])
        decoder.buffer.clear()
        self.held = b"" if at >= 0 else piece[end:]
        return piece[end:] if at >= 0 else b""
