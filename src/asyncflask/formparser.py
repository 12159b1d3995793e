"""Forms: Werkzeug's parsers, with what is missing in them. Knows of no request.

Limits hold for urlencoded bodies too, and what is in the middle of an uploaded file does not go
through the parser, which copies it six times.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any, Final

from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser as FormDataParserBase
from werkzeug.formparser import MultiPartParser as MultiPartParserBase
from werkzeug.sansio.multipart import (
    Data,
    Epilogue,
    Field,
    File,
    MultipartDecoder,
    NeedData,
    State,
)

PIECE_BYTES: Final = 256 * 1024
"""How much of a file is read at a time, if the form's limit is well above that; as much as servers
give."""

FIELD_BYTES: Final = 16 * 1024
"""How much of a form is read at a time where there may be fields: this is copied."""


class FormDataParser(FormDataParserBase):
    """Werkzeug's parser, with its limits applied to urlencoded bodies too."""

    def _parse_urlencoded(
        self, stream: Any, mimetype: str, content_length: int | None, options: dict[str, str]
    ) -> Any:
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
        self, stream: Any, mimetype: str, content_length: int | None, options: dict[str, str]
    ) -> Any:
        boundary = options.get("boundary", "").encode("ascii")
        if not boundary:
            raise ValueError("The Content-Type has no boundary.")
        parser = MultiPartParser(
            stream_factory=self.stream_factory,
            max_form_memory_size=self.max_form_memory_size,
            max_form_parts=self.max_form_parts,
            cls=self.cls,
            buffer_size=PIECE_BYTES if self._takes_large_pieces() else 64 * 1024,
        )
        form, files = parser.parse(stream, boundary, content_length)
        return stream, form, files

    def _takes_large_pieces(self) -> bool:
        # The decoder counts a whole piece as memory of the form.
        limit = self.max_form_memory_size
        return limit is None or limit >= 2 * PIECE_BYTES - 64 * 1024


def _read_up_to(stream: Any, size: int) -> bytes:
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class MultiPartParser(MultiPartParserBase):
    """Werkzeug's, around the same decoder; but a piece of a file without a boundary in it is
    written as it is."""

    def parse(self, stream: IO[bytes], boundary: bytes, content_length: int | None) -> Any:
        decoder = MultipartDecoder(
            boundary, self.max_form_memory_size, max_parts=self.max_form_parts
        )
        fields: list[tuple[str, str]] = []
        files: list[tuple[str, FileStorage]] = []
        part: Any = None
        value: list[bytes] = []
        size = 0
        file: Any = None
        while True:
            piece = rest = stream.read(FIELD_BYTES if file is None else self.buffer_size)
            if piece and file is not None:
                rest = _straight(decoder, piece, file.write)
                if not rest:
                    continue
            decoder.receive_data(rest or None)
            while not isinstance(event := decoder.next_event(), NeedData | Epilogue):
                if isinstance(event, Field):
                    part, value, size = event, [], 0
                elif isinstance(event, File):
                    part, file = event, self.start_file_streaming(event, content_length)
                elif isinstance(event, Data) and file is not None:
                    file.write(event.data)
                    if not event.more_data:
                        file.seek(0)
                        files.append(
                            (
                                part.name,
                                FileStorage(file, part.filename, part.name, headers=part.headers),
                            )
                        )
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
                return self.cls(fields), self.cls(files)


def _straight(decoder: MultipartDecoder, piece: bytes, write: Callable[[Any], object]) -> bytes:
    """Write what of *piece* is surely a file's, and give the rest for the decoder. What it holds
    may be the beginning of a boundary; if all of the piece is done with, it is left its end."""
    delimiter = b"--" + decoder.boundary
    kept = len(delimiter) + 2  # with the line break before it
    held = decoder.buffer
    if decoder.state is not State.DATA or len(held) > kept or delimiter in held + piece[:kept]:
        return piece
    found = piece.find(delimiter)
    end = (len(piece) if found < 0 else found) - kept
    if end <= 0:
        return piece
    write(held)
    with memoryview(piece) as view:
        write(view[:end])
    held.clear()
    if found >= 0:
        return piece[end:]
    held.extend(piece[end:])
    return b""
