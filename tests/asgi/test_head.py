"""Checking a response's status and headers."""

from __future__ import annotations

import pytest

from asyncflask.asgi.head import encode_headers, start_message


class TestEncodeHeaders:
    def test_names_are_lower_case(self) -> None:
        headers = [("X-Name", "välue"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")]
        assert encode_headers(200, headers) == [
            (b"x-name", "välue".encode("latin-1")),
            (b"set-cookie", b"a=b"),
            (b"set-cookie", b"c=d"),
        ]

    @pytest.mark.parametrize("status", [100, 200, 599])
    def test_status(self, status: int) -> None:
        assert encode_headers(status, []) == []

    @pytest.mark.parametrize("status", [-1, 0, 99, 600, 999])
    def test_wrong_status(self, status: int) -> None:
        with pytest.raises(ValueError, match=f"status {status}"):
            encode_headers(status, [])

    @pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "a\n", "ä", "a\x00", "(a)"])
    def test_wrong_name(self, name: str) -> None:
        with pytest.raises(ValueError, match="with the invalid name"):
            encode_headers(200, [(name, "value")])

    @pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\rb", "a\x00b", "\x7f", "a\n"])
    def test_control_character(self, value: str) -> None:
        with pytest.raises(ValueError, match="control character"):
            encode_headers(200, [("x-name", value)])

    def test_tab_is_allowed(self) -> None:
        assert encode_headers(200, [("x-name", "a\tb")]) == [(b"x-name", b"a\tb")]

    @pytest.mark.parametrize("values", [["1", "2"], ["x"], ["-1"], [""]])
    def test_wrong_content_length(self, values: list[str]) -> None:
        with pytest.raises(ValueError, match="must be a single number"):
            encode_headers(200, [("Content-Length", value) for value in values])

    def test_transfer_encoding_is_the_servers_affair(self) -> None:
        headers = [("Transfer-Encoding", "chunked"), ("X-Name", " value ")]
        assert encode_headers(200, headers) == [(b"x-name", b"value")]

    def test_start_message(self) -> None:
        assert start_message(201, [("X", "y")], "201 MADE") == {
            "type": "http.response.start",
            "status": 201,
            "headers": [(b"x", b"y")],
            "asyncflask.status": "201 MADE",
            "asyncflask.headers": [("X", "y")],
        }

    @pytest.mark.parametrize(
        ("status", "line", "message"),
        [(100, "", "another response"), (103, "", "another response"), (200, "a\nb", "control")],
    )
    def test_wrong_start_message(self, status: int, line: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            start_message(status, [], line)

    def test_not_latin_1(self) -> None:
        with pytest.raises(ValueError):
            encode_headers(200, [("x-name", "☃")])
