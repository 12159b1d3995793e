"""The provider for orjson, side by side with the default one."""

from __future__ import annotations

import collections
import dataclasses
import decimal
import enum
import json as stdlib_json
import math
import subprocess
import sys
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

import pytest
from markupsafe import Markup
from werkzeug.datastructures import MultiDict

from asyncflask import Flask, jsonify, render_template_string, request, session
from asyncflask.json.orjson import OrjsonProvider
from asyncflask.json.provider import DefaultJSONProvider


@dataclasses.dataclass
class Point:
    x: int
    _y: Any


class Html:
    def __html__(self) -> str:
        return "<p>"


class Key(str):
    pass


class Cents(float):
    pass


class Number(enum.IntEnum):
    ONE = 1


class Letter(enum.StrEnum):
    A = "a"


class Colour(enum.Enum):
    RED = "red"


Pair = collections.namedtuple("Pair", "a b")  # a tuple of a class of its own
CIRCULAR: list[Any] = []
CIRCULAR.append(CIRCULAR)
DEEP: list[Any] = []
for _ in range(400):
    DEEP = [DEEP]

# Written the same, but for spaces.
SAME: list[Any] = [
    None,
    True,
    {"b": [1, 2.5, -0.0, 1e100, {}, []], "a": {"y": 'a"\\\n\x1f/', "x": ()}},
    date(1975, 1, 5),
    datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    [datetime(2024, 1, 1, 1, 2, 3, 4)],
    decimal.Decimal("0.10"),
    uuid.UUID(int=1),
    Point(1, [Point(2, uuid.UUID(int=2))]),
    Html(),
    Markup("<b>"),
    [Number.ONE, Letter.A, Cents(0.5), Key("k"), Pair(1, 2), True],
    collections.OrderedDict(b=1, a=2),
    collections.defaultdict(list, a=[1]),
    MultiDict([("a", "1"), ("a", "2"), ("b", "3")]),
    # What orjson refuses.
    2**64,
    -(2**63) - 1,
    {10: "x", 9: "y"},
    {1.5: 1, 2: 2},
    {Key("b"): 1, "a": 2},
    {Letter.A: 1},
    "\ud800",
    DEEP,
]

# An error that is the same.
REFUSED: list[Any] = [
    object(),
    [time(1, 2)],
    {1, 2},
    b"bytes",
    1j,
    {(): 1},
    {date(2024, 1, 1): 1},
    {uuid.UUID(int=1): 1},
    {1: 1, "a": 2},
    {None: 1, "a": 1},
    Point,
    CIRCULAR,
]


@pytest.fixture
def app() -> Flask:
    app = Flask("orjson_test")
    app.secret_key = "test key"
    app.json = OrjsonProvider(app)
    return app


def outcome(func: Any, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
    try:
        return ("value", func(*args, **kwargs))
    except Exception as error:
        return ("error", type(error), str(error))


class TestDumps:
    @pytest.mark.parametrize("value", SAME + REFUSED)
    @pytest.mark.parametrize("sort_keys", [True, False])
    @pytest.mark.parametrize("ensure_ascii", [True, False])
    @pytest.mark.parametrize("layout", [{"separators": (",", ":")}, {"indent": 2}, {"indent": 1}])
    def test_as_the_default_provider(
        self, app: Flask, value: Any, sort_keys: bool, ensure_ascii: bool, layout: Any
    ) -> None:
        ours, default = OrjsonProvider(app), DefaultJSONProvider(app)
        for provider in (ours, default):
            provider.sort_keys, provider.ensure_ascii = sort_keys, ensure_ascii
        assert outcome(ours.dumps, value, **layout) == outcome(default.dumps, value, **layout)
        body = outcome(lambda: ours.response(value).get_data())
        assert body == outcome(lambda: default.response(value).get_data())

    def test_without_spaces(self, app: Flask) -> None:
        assert app.json.dumps({"b": [1, 2], "a": 2**70}) == f'{{"a":{2**70},"b":[1,2]}}'
        assert app.json.dumps({"b": [1, 2], "a": 1}) == '{"a":1,"b":[1,2]}'

    def test_text(self, app: Flask) -> None:
        assert app.json.dumps("\N{SNOWMAN}") == '"\N{SNOWMAN}"'
        assert app.json.dumps("\N{SNOWMAN}", ensure_ascii=True) == '"\\u2603"'

    def test_what_json_has_not(self, app: Flask) -> None:
        assert app.json.dumps([math.nan, math.inf]) == "[null,null]"
        assert app.json.dumps(Colour.RED) == '"red"'

    def test_attributes(self, app: Flask) -> None:
        provider = OrjsonProvider(app)
        provider.default = repr
        assert provider.dumps([1j, Key("k"), date(2024, 1, 1)]) == (
            '["1j","k","datetime.date(2024, 1, 1)"]'
        )
        assert provider.dumps(1j, default=lambda o: "given") == '"given"'
        assert provider.dumps({"b": 1, "a": 2}, sort_keys=False) == '{"b":1,"a":2}'

    def test_default_may_be_none(self, app: Flask) -> None:
        class Provider(OrjsonProvider):
            default = None  # type: ignore[assignment]

        with pytest.raises(TypeError, match="object is not JSON serializable"):
            Provider(app).dumps(object())
        assert Provider(app).dumps([1]) == "[1]"

    def test_error_of_a_default(self, app: Flask) -> None:
        def default(o: Any) -> Any:
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            app.json.dumps(object(), default=default)


class TestLoads:
    @pytest.mark.parametrize(
        "text",
        ['{"a": [1, 2.5, "\\u2603"], "a": 2}', " [] ", "1", '"\\n"', "-9223372036854775808"],
    )
    def test_as_the_default_provider(self, app: Flask, text: str) -> None:
        assert app.json.loads(text) == app.json.loads(text.encode()) == stdlib_json.loads(text)

    @pytest.mark.parametrize(
        "text", ["", "x", "[1", "NaN", "-Infinity", b'"\xff"', "[" * 100_000, '"\\ud800"', "1e999"]
    )
    def test_malformed(self, app: Flask, text: str | bytes) -> None:
        with pytest.raises(ValueError):
            app.json.loads(text)

        app.add_url_rule("/", "index", lambda: {"got": request.get_json()}, methods=["POST"])
        client = app.test_client()
        assert client.post("/", data=text, content_type="application/json").status_code == 400

    def test_large_integers(self, app: Flask) -> None:
        assert app.json.loads(str(2**70)) == float(2**70)

    def test_arguments_are_for_json(self, app: Flask) -> None:
        assert app.json.loads("[1.5]", parse_float=decimal.Decimal) == [decimal.Decimal("1.5")]
        assert math.isnan(app.json.loads("NaN", parse_constant=float))


class TestApp:
    def test_as_the_class_of_the_app(self) -> None:
        class App(Flask):
            json_provider_class = OrjsonProvider

        app = App("orjson_test")
        assert type(app.json) is OrjsonProvider
        with app.app_context():
            assert jsonify(b=1, a=date(2024, 1, 1)).get_data() == (
                b'{"a":"Mon, 01 Jan 2024 00:00:00 GMT","b":1}\n'
            )
            with pytest.raises(TypeError, match="either args or kwargs"):
                jsonify(1, a=2)

    def test_layout(self, app: Flask) -> None:
        with app.app_context():
            assert isinstance(app.json, OrjsonProvider)
            app.json.mimetype = "application/vnd.api+json"
            app.debug = True
            assert jsonify([1]).get_data() == b"[\n  1\n]\n"
            app.json.compact = True
            assert jsonify([1]).get_data() == b"[1]\n"
            assert jsonify([1]).content_type == "application/vnd.api+json"

    def test_dumps_of_a_subclass_writes_responses(self, app: Flask) -> None:
        class Provider(OrjsonProvider):
            def dumps(self, obj: Any, **kwargs: Any) -> str:
                return f"while(1);{super().dumps(obj, **kwargs)}"

        assert Provider(app).response([1, 2]).get_data() == b"while(1);[1,2]\n"

    def test_echo(self, app: Flask) -> None:
        @app.post("/")
        async def echo() -> Any:
            return request.get_json()

        client = app.test_client()
        value = {"b": [1, {"x": None}], "a": "\N{SNOWMAN}"}
        assert client.post("/", json=value).get_json() == value

    def test_session(self, app: Flask) -> None:
        kept = {"when": datetime(2024, 2, 29, tzinfo=UTC), "who": ("\N{SNOWMAN}", b"x")}

        @app.get("/set")
        def set_() -> str:
            session.update(kept)
            return ""

        @app.get("/get")
        def get() -> str:
            return repr(dict(session))

        client = app.test_client()
        client.get("/set")
        assert client.get("/get").text == repr(kept)

    def test_in_templates(self, app: Flask) -> None:
        with app.app_context():
            text = render_template_string("{{ {'b': '<', 'a': n}|tojson }}", n=2**70)
        assert text == f'{{"a":{2**70},"b":"\\u003c"}}'


def test_without_the_extra() -> None:
    code = (
        "import sys\nsys.modules['orjson'] = None\n"
        "try:\n    import asyncflask.json.orjson\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install 'asyncflask[orjson]'" in done.stdout, done.stderr
