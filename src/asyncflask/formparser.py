"""Forms: Werkzeug's parsers, with what is missing in them. Knows of no request.

Limits hold for urlencoded bodies too, and what is in the middle of an uploaded file does not go
through the parser, which copies it six times.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any

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


class FormDataParser(FormDataParserBase):
    """Werkzeug's parser, with its limits applied to urlencoded bodies too."""

    def _parse_urlencoded(
        self, stream: Any, mimetype: str, content_length: int | None, options: dict[str, str]
    ) -> Any:
        limit = self.max_form_memory_size
        data: bytes = stream.read() if limit is None else _read_up_to(stream, limit + 1)
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
        )
        form, files = parser.parse(stream, boundary, content_length)
        return stream, form, files


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
            piece = stream.read(self.buffer_size)
            if file is not None and _straight(decoder, piece, file.write):
                continue
            decoder.receive_data(piece or None)
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


def _straight(decoder: MultipartDecoder, piece: bytes, write: Callable[[Any], object]) -> bool:
    """Write *piece* of a file, if no boundary is in it and in what the decoder holds. It is left
    with the end, which may be the beginning of one."""
    delimiter = b"--" + decoder.boundary
    kept = len(delimiter) + 2  # with the line break before it
    held = decoder.buffer
    if (
        decoder.state is not State.DATA
        or len(held) > kept
        or len(piece) <= kept
        or delimiter in piece
        or delimiter in held + piece[:kept]
    ):
        return False
    write(held)
    with memoryview(piece) as view:
        write(view[:-kept])
    held[:] = piece[-kept:]
    return True
