"""Forms: the same as Werkzeug's parser gives, however the body is cut into pieces."""

from __future__ import annotations

import io
import random
from typing import IO, Any, cast

import pytest
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser as WerkzeugsParser
from werkzeug.sansio.multipart import MultipartDecoder

from asyncflask.formparser import FormDataParser

BOUNDARY = b"bound"


class Pieces:
    """A stream that gives *data* in pieces of these *sizes*, over and over."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.file = io.BytesIO(data)
        self.sizes = sizes
        self.number = 0

    def read(self, size: int) -> bytes:
        self.number += 1
        return self.file.read(min(size, self.sizes[self.number % len(self.sizes)]))


def part(name: str, content: bytes, filename: str | None = None, line: bytes = b"\r\n") -> bytes:
    file = f'; filename="{filename}"' if filename is not None else ""
    head = f'Content-Disposition: form-data; name="{name}"{file}'.encode()
    return b"--" + BOUNDARY + line + head + line * 2 + content + line


def end(line: bytes = b"\r\n") -> bytes:
    return b"--" + BOUNDARY + b"--" + line


def outcome(parser_class: Any, data: bytes, sizes: list[int], **limits: Any) -> Any:
    """What *parser_class* makes of *data*: fields and files with all they have, or the error."""
    parser = parser_class(lambda **_: io.BytesIO(), cls=ImmutableMultiDict, silent=False, **limits)
    stream = cast(IO[bytes], Pieces(data, sizes))
    options = {"boundary": BOUNDARY.decode()}
    try:
        _, form, files = parser.parse(stream, "multipart/form-data", len(data), options)
    except (ValueError, RequestEntityTooLarge, AssertionError) as error:
        return type(error)
    found = [
        (name, file.name, file.filename, list(file.headers), file.read(), file.close())
        for name, file in files.items(multi=True)
    ]
    return list(form.items(multi=True)), found


TRICKY = [
    b"",
    b"x" * 300,
    b"\r\n" * 100,
    b"\n" * 100,
    b"\r" * 100,
    b"x" * 40 + b"\r\n--boun" + b"x" * 40,
    b"x" * 40 + b"--bound" + b"x" * 40,
    b"\r\n--boundless\r\n" * 10,
    b"x" * 40 + b"\r\n--bound-\r\n" + b"x" * 40,
    bytes(range(256)),
]


@pytest.mark.parametrize("line", [b"\r\n", b"\n", b"\r"], ids=["crlf", "lf", "cr"])
@pytest.mark.parametrize("content", TRICKY, ids=range(len(TRICKY)))
def test_any_cut_gives_what_werkzeug_gives(content: bytes, line: bytes) -> None:
    data = (
        part("a", b"value", line=line)
        + part("f", content, "f.bin", line)
        + part("b", content, line=line)
        + part("g", content[::-1], "", line)
        + end(line)
    )
    numbers = random.Random(len(content))
    cuts = [[size] for size in range(1, 60)]
    cuts += [[numbers.randint(1, 50) for _ in range(7)] for _ in range(100)]
    for sizes in cuts:
        expected = outcome(WerkzeugsParser, data, sizes)
        assert outcome(FormDataParser, data, sizes) == expected, sizes


@pytest.mark.parametrize("size", [1, 7, 30, 100, 10_000])
@pytest.mark.parametrize("missing", [1, 5, 8, 60, 200])
def test_body_without_its_end(size: int, missing: int) -> None:
    data = (part("f", b"x" * 500, "f.bin") + end())[:-missing]
    expected = outcome(WerkzeugsParser, data, [size])
    assert outcome(FormDataParser, data, [size]) == expected


@pytest.mark.parametrize("file", ["f.bin", None])
@pytest.mark.parametrize(
    "limits", [{"max_form_parts": 1}, {"max_form_memory_size": 150}, {"max_form_memory_size": 400}]
)
def test_limits(limits: dict[str, int], file: str | None) -> None:
    data = part("a", b"x" * 200, file) + part("b", b"x" * 10) + end()
    for size in (1, 50, 100, 1_000):
        expected = outcome(WerkzeugsParser, data, [size], **limits)
        assert outcome(FormDataParser, data, [size], **limits) == expected, size


def test_middle_of_a_file_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    receive = MultipartDecoder.receive_data

    def noting(decoder: Any, data: bytes | None) -> None:
        parsed.append(len(data or b""))
        receive(decoder, data)

    monkeypatch.setattr(MultipartDecoder, "receive_data", noting)
    data = part("f", b"x\n" * 500_000, "f.bin") + end()
    _, files = outcome(FormDataParser, data, [50_000])
    assert len(files[0][4]) == 1_000_000
    assert sum(parsed) < 150_000
