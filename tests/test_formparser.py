"""Forms: the same results as Werkzeug's parser, however the body is split into pieces."""

from __future__ import annotations

import io
import random
from typing import IO, Any, cast

import pytest
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser as WerkzeugsParser
from werkzeug.sansio.multipart import MultipartDecoder

from asyncflask.formparser import FIELD_BYTES, FormDataParser

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
    parser = parser_class(lambda **_: io.BytesIO(), silent=False, **limits)
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
def test_any_pieces_give_what_werkzeug_makes_of_the_whole(content: bytes, line: bytes) -> None:
    if line == b"\r" and content.startswith((b"\n", b"\r\n")):
        pytest.skip("may be either line break, which nobody can tell")
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
    expected = outcome(WerkzeugsParser, data, [len(data)])
    for sizes in cuts:
        assert outcome(FormDataParser, data, sizes) == expected, sizes


@pytest.mark.parametrize("size", [1, 7, 30, 100, 10_000])
@pytest.mark.parametrize("missing", [1, 5, 8, 60, 200])
def test_body_without_its_end(size: int, missing: int) -> None:
    data = (part("f", b"x" * 500, "f.bin") + end())[:-missing]
    expected = outcome(WerkzeugsParser, data, [len(data)])
    assert outcome(FormDataParser, data, [size]) == expected


@pytest.mark.parametrize("file", ["f.bin", None])
@pytest.mark.parametrize(
    "limits", [{"max_form_parts": 1}, {"max_form_memory_size": 150}, {"max_form_memory_size": 400}]
)
def test_limits(limits: dict[str, int], file: str | None) -> None:
    data = part("a", b"x" * 200, file) + part("b", b"x" * 10) + end()
    whole = outcome(WerkzeugsParser, data, [len(data)])
    for size in (1, 50, 100, 1_000):
        expected = outcome(WerkzeugsParser, data, [size], **limits)
        if not isinstance(expected, type):  # what it reads may have a byte too many
            expected = whole
        assert outcome(FormDataParser, data, [size], **limits) == expected, size


def in_two(data: bytes, cut: int) -> list[int]:
    """The sizes of the pieces; the first to be read is the last here."""
    return [len(data) - cut or 1, cut]


ENDS = [
    end(),
    end(b""),
    end() + b"an epilogue, which nobody reads" * 3,
    end(b" \t" * 20 + b"\r\n"),
]


@pytest.mark.parametrize("tail", ENDS, ids=["crlf", "bare", "epilogue", "padding"])
@pytest.mark.parametrize("last", [part("b", b"value"), part("f", b"content", "f.bin"), b""])
def test_every_cut(last: bytes, tail: bytes) -> None:
    data = part("a", b"") + part("e", b"", "e.bin") + part("g", b"\r\n", "g.bin") + last + tail
    data = data.replace(b"--bound\r\n", b"--bound  \r\n", 2)
    expected = outcome(WerkzeugsParser, data, [len(data)])
    assert len(expected[0]) + len(expected[1]) == 3 + bool(last)
    for cut in range(1, len(data)):
        assert outcome(FormDataParser, data, in_two(data, cut)) == expected, cut


HEAD = b'--bound\r\nContent-Disposition: form-data; name="a"'


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"\n\n--bound--\n--bound\nContent-Disposition: form-data; name=b\n\nx\n" + end(),
        HEAD + b"\r\n\r\n--bound----bound--\r\n" + part("b", b"x") + end(),
        HEAD + b"\r\r\n\r\n" + end(),
    ],
    ids=["end-and-boundary", "two-in-one", "line-breaks"],
)
def test_every_cut_of_a_malformed_body(data: bytes) -> None:
    """A delimiter right behind another, which is held back as well; CR and LF of a line break."""
    expected = outcome(WerkzeugsParser, data, [len(data)])
    for cut in range(1, len(data)):
        assert outcome(FormDataParser, data, in_two(data, cut)) == expected, cut


@pytest.mark.parametrize("size", [2_000, 20_000])
def test_every_cut_of_an_upload(size: int) -> None:
    data = part("a", b"value") + part("f", b"", "f.bin") + end()
    content = bytes(range(256)) * 80
    content = content[: size - len(data)]
    data = part("a", b"value") + part("f", content, "f.bin") + end()
    assert len(data) == size
    for cut in range(1, size):
        fields, files = outcome(FormDataParser, data, in_two(data, cut))
        assert fields == [("a", "value")], cut
        assert files[0][4] == content, cut


def test_every_size_of_a_form_that_is_read_in_pieces() -> None:
    """Without a cut of the network; the first piece may end in the last delimiter."""
    for size in range(FIELD_BYTES - 200, FIELD_BYTES + 20):
        content = b"x" * size
        for last in (part("f", content, "f.bin"), part("b", content)):
            data = last + end()
            fields, files = outcome(FormDataParser, data, [len(data)])
            assert [file[4] for file in files] or [fields[0][1].encode()] == [content], size


def test_files_of_a_malformed_body_are_closed() -> None:
    opened: list[io.BytesIO] = []

    def open_(
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        opened.append(io.BytesIO())
        return opened[-1]

    parser = FormDataParser(open_, silent=True)
    data = part("f", b"content", "f.bin") + part("g", b"content", "g.bin")
    parsed = parser.parse(
        io.BytesIO(data), "multipart/form-data", len(data), {"boundary": "bound"}
    )
    assert [*parsed[1], *parsed[2]] == []
    assert [file.closed for file in opened] == [True, True]


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
