"""JSON providers, and the functions of `asyncflask.json` that use the app's."""

from __future__ import annotations

import dataclasses
import decimal
import io
import json as stdlib_json
import uuid
from datetime import date, datetime, timedelta, timezone
from enum import IntEnum
from typing import Any

import pytest

from asyncflask import Flask, Response, json, jsonify, request
from asyncflask.json.provider import DefaultJSONProvider, JSONProvider


@pytest.fixture
def app() -> Flask:
    return Flask("json_test")


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Html:
    def __html__(self) -> str:
        return "<p>"


CIRCULAR: list[Any] = []
CIRCULAR.append({"a": CIRCULAR})
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


def outcome(func: Any, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """What the function gives, or the error it raises."""
    try:
        return ("value", func(*args, **kwargs))
    except Exception as error:
        return ("error", type(error), str(error))


class TestDumps:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (date(1975, 1, 5), '"Sun, 05 Jan 1975 00:00:00 GMT"'),
            (
                datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
                '"Mon, 01 Jan 2024 00:00:00 GMT"',
            ),
            (decimal.Decimal("0.10"), '"0.10"'),
            (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
            (Point(1, 2), '{"x": 1, "y": 2}'),
            (Html(), '"<p>"'),
            ("\N{SNOWMAN}", '"\\u2603"'),
            ({"b": 1, "a": 2}, '{"a": 2, "b": 1}'),
        ],
    )
    def test_types(self, app: Flask, value: object, text: str) -> None:
        assert app.json.dumps(value) == text

    def test_unknown_type(self, app: Flask) -> None:
        with pytest.raises(TypeError, match="object is not JSON serializable"):
            app.json.dumps(object())

    def test_attributes(self, app: Flask) -> None:
        provider = DefaultJSONProvider(app)
        provider.ensure_ascii = False
        provider.sort_keys = False
        provider.default = repr
        assert provider.dumps({"b": "\N{SNOWMAN}", "a": 1j}) == '{"b": "\N{SNOWMAN}", "a": "1j"}'

    def test_default_works_on_the_class(self) -> None:
        assert DefaultJSONProvider.default(decimal.Decimal(1)) == "1"

    @pytest.mark.parametrize(
        "value",
        [
            {"b": [1, 2.5, -0.0, 1e100, True, None], "a": {"y": '\N{SNOWMAN}"\\\n', "x": ()}},
            {1: 2, 3: 4},
            {True: 1, "a": 2},
            {None: 1},
            {(): 1},
            {"nested": Point(1, decimal.Decimal("1.10"))},  # type: ignore[arg-type]
            [float("nan"), float("inf"), -float("inf")],
            "\ud800",
            2**70,
            IntEnum("E", "a b").b,  # type: ignore[attr-defined]
            [[]] * 3,
            [{}, [], ""],
            CIRCULAR,
            DEEP,
            object(),
            date,
        ],
    )
    @pytest.mark.parametrize("ensure_ascii", [True, False])
    @pytest.mark.parametrize("sort_keys", [True, False])
    @pytest.mark.parametrize(
        "kwargs", [{}, {"separators": (",", ":")}, {"separators": [",", ":"]}]
    )
    def test_as_the_library(
        self, app: Flask, value: object, ensure_ascii: bool, sort_keys: bool, kwargs: Any
    ) -> None:
        provider = DefaultJSONProvider(app)
        provider.ensure_ascii, provider.sort_keys = ensure_ascii, sort_keys
        expected = outcome(
            stdlib_json.dumps,
            value,
            default=provider.default,
            ensure_ascii=ensure_ascii,
            sort_keys=sort_keys,
            **kwargs,
        )
        assert outcome(provider.dumps, value, **kwargs) == expected

    @pytest.mark.parametrize(
        "kwargs",
        [
            {"separators": None},
            {"separators": (",",)},
            {"default": None},
            {"indent": 1},
            {"allow_nan": False},
            {"skipkeys": True},
            {"sort_keys": False, "separators": (",", ":")},
        ],
    )
    def test_arguments_as_for_the_library(self, app: Flask, kwargs: Any) -> None:
        value: dict[Any, Any] = {"b": float("nan"), "a": ["x"]}
        if "skipkeys" in kwargs:
            value[()] = 1
        given: dict[str, Any] = {
            "default": DefaultJSONProvider.default,
            "ensure_ascii": True,
            "sort_keys": True,
        } | kwargs
        expected = outcome(stdlib_json.dumps, value, **given)
        assert outcome(app.json.dumps, value, **kwargs) == expected

    def test_default_that_cannot_be_hashed(self, app: Flask) -> None:
        class Default(list[str]):
            def __call__(self, o: object) -> str:
                return "<o>"

        app.json.default = Default()  # type: ignore[attr-defined]
        assert app.json.dumps({"b": Html(), "a": 1}) == '{"a": 1, "b": "<o>"}'

    def test_default_may_be_none(self, app: Flask) -> None:
        class Provider(DefaultJSONProvider):
            default = None  # type: ignore[assignment]

        with pytest.raises(TypeError, match="object is not JSON serializable"):
            Provider(app).dumps(object())


class TestLoads:
    @pytest.mark.parametrize(
        "text",
        [
            '{"a": [1, 2.5, "\\u2603"], "a": 2}',
            "[]",
            " {} ",
            "[1]\r\n\t ",
            "[1]\f",
            "[1] x",
            "[1",
            '{"a" 1}',
            "",
            "1",
            "x",
            "\ufeff[1]",
            "[\ud800]",
            '["\ud800"]',
        ],
    )
    def test_as_the_library(self, app: Flask, text: str) -> None:
        encodings = ("utf-8", "utf-16", "utf-16-le", "utf-32-be")
        for given in (text, *(text.encode(name, "surrogatepass") for name in encodings)):
            expected = outcome(stdlib_json.loads, given)
            assert outcome(app.json.loads, given) == expected
            assert outcome(app.json.loads, given, parse_constant=float) == expected
            if isinstance(given, bytes):
                assert outcome(app.json.loads, bytearray(given)) == expected

    @pytest.mark.parametrize("text", [b"[\xff]", b'["\xff"]', b"{", b"[", b"\x00", 1, None])
    def test_errors_as_the_library(self, app: Flask, text: Any) -> None:
        assert outcome(app.json.loads, text) == outcome(stdlib_json.loads, text)

    @pytest.mark.parametrize("text", ['{"a": [1, null]}', b'{"a": [1, null]}'])
    def test_text_and_bytes(self, app: Flask, text: str | bytes) -> None:
        assert app.json.loads(text) == {"a": [1, None]}

    @pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", '{"a": [NaN]}'])
    def test_only_json_numbers(self, app: Flask, text: str) -> None:
        with pytest.raises(ValueError, match="is not a JSON number"):
            app.json.loads(text)

    def test_caller_may_admit_them(self, app: Flask) -> None:
        assert app.json.loads("-Infinity", parse_constant=float) == float("-inf")

    def test_callers_own_decoder(self, app: Flask) -> None:
        class Decoder(stdlib_json.JSONDecoder):
            def __init__(self) -> None:
                super().__init__(parse_int=str)

        assert app.json.loads("1", cls=Decoder) == "1"

    @pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000], ids=["list", "dict"])
    def test_absurd_nesting(self, app: Flask, text: str) -> None:
        with pytest.raises(ValueError, match="nested too deeply"):
            app.json.loads(text)

    def test_load(self, app: Flask) -> None:
        assert app.json.load(io.BytesIO(b"[1]")) == [1]


@pytest.mark.parametrize(
    "body",
    ["NaN", "[" * 100_000, "{", b'"\xff"'],
    ids=["not a number", "nested", "cut off", "not utf-8"],
)
def test_bad_body_is_400(app: Flask, body: str | bytes) -> None:
    @app.post("/")
    def index() -> dict[str, Any]:
        return {"got": request.get_json()}

    response = app.test_client().post("/", data=body, content_type="application/json")
    assert response.status_code == 400


class TestResponse:
    @pytest.mark.parametrize(
        ("args", "kwargs", "body"),
        [
            ((), {}, "null"),
            ((1,), {}, "1"),
            (([],), {}, "[]"),
            ((1, 2), {}, "[1,2]"),
            ((), {"a": 1, "b": [2]}, '{"a":1,"b":[2]}'),
        ],
    )
    def test_arguments(
        self, app: Flask, args: tuple[Any, ...], kwargs: dict[str, Any], body: str
    ) -> None:
        response = app.json.response(*args, **kwargs)
        assert response.get_data(as_text=True) == f"{body}\n"
        assert response.mimetype == "application/json"

    def test_not_both(self, app: Flask) -> None:
        with pytest.raises(TypeError, match="not both"):
            app.json.response(1, a=1)

    def test_indented_in_debug_mode(self, app: Flask) -> None:
        app.debug = True
        assert app.json.response(a=1).data == b'{\n  "a": 1\n}\n'

    @pytest.mark.parametrize(("compact", "body"), [(True, b"[1]\n"), (False, b"[\n  1\n]\n")])
    def test_compact(self, app: Flask, compact: bool, body: bytes) -> None:
        provider = DefaultJSONProvider(app)
        provider.compact = compact
        assert provider.response([1]).get_data() == body

    def test_mimetype(self, app: Flask) -> None:
        provider = DefaultJSONProvider(app)
        provider.mimetype = "application/vnd.api+json"
        assert provider.response().mimetype == "application/vnd.api+json"

    def test_class_of_the_app(self, app: Flask) -> None:
        class MyResponse(Response):
            pass

        app.response_class = MyResponse
        assert type(app.json.response()) is MyResponse


class TestFunctions:
    """They ask the current app's provider, and get along without one."""

    class Shouting(JSONProvider):
        def dumps(self, obj: Any, **kwargs: Any) -> str:
            return stdlib_json.dumps(obj, **kwargs).upper()

        def loads(self, s: str | bytes, **kwargs: Any) -> Any:
            return stdlib_json.loads(s.lower(), **kwargs)

    @pytest.fixture
    def app(self) -> Flask:
        app = Flask("json_test")
        app.json = self.Shouting(app)
        return app

    def test_with_app(self, app: Flask) -> None:
        file = io.StringIO()

        with app.app_context():
            assert json.dumps(["a"]) == '["A"]'
            assert json.loads('["A"]') == ["a"]
            json.dump("a", file)
            assert json.load(io.StringIO(file.getvalue())) == "a"
            assert jsonify("a").get_data() == b'"A"'

        assert file.getvalue() == '"A"'

    def test_without_app(self) -> None:
        file = io.StringIO()
        assert json.dumps(decimal.Decimal(1)) == '"1"'
        assert json.loads("[1]") == [1]
        json.dump(decimal.Decimal(1), file)
        file.seek(0)
        assert json.load(file) == "1"

    def test_jsonify_needs_one(self) -> None:
        with pytest.raises(RuntimeError, match="application context"):
            jsonify()


def test_base_class_has_no_library(app: Flask) -> None:
    provider = JSONProvider(app)

    with pytest.raises(NotImplementedError):
        provider.dumps(None)

    with pytest.raises(NotImplementedError):
        provider.loads("null")


def test_dumps_that_is_replaced_in_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    own = DefaultJSONProvider.dumps

    def shouting(self: DefaultJSONProvider, obj: Any, **more: Any) -> str:
        return own(self, obj, **more).upper()

    monkeypatch.setattr(DefaultJSONProvider, "dumps", shouting)
    app = Flask("replaced")
    app.add_url_rule("/", view_func=lambda: {"a": "b"})
    assert app.test_client().get("/").data == b'{"A":"B"}\n'
