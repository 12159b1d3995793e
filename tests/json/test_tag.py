"""Tagged JSON: nothing is lost, and Flask can read it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from markupsafe import Markup

from asyncflask import Flask
from asyncflask.json.tag import JSONTag, TaggedJSONSerializer


@pytest.fixture
def serializer() -> TaggedJSONSerializer:
    return TaggedJSONSerializer()


# What Flask 3.1 writes for each value.
WRITTEN = [
    ({"user": [1, None]}, '{"user":[1,null]}'),
    ((1, (2,)), '{" t":[1,{" t":[2]}]}'),
    ([(1,)], '[{" t":[1]}]'),
    (b"\xff", '{" b":"/w=="}'),
    (Markup("<b>"), '{" m":"<b>"}'),
    (UUID(int=7), '{" u":"00000000000000000000000000000007"}'),
    (datetime(2024, 2, 29, 12, tzinfo=UTC), '{" d":"Thu, 29 Feb 2024 12:00:00 GMT"}'),
    ({" t": "no tuple"}, '{" di":{" t__":"no tuple"}}'),
    ({" di": " di"}, '{" di":{" di__":" di"}}'),
    ({" t": 1, " b": 2}, '{" t":1," b":2}'),
]


@pytest.mark.parametrize(("value", "text"), WRITTEN)
def test_as_flask_writes_it(serializer: TaggedJSONSerializer, value: object, text: str) -> None:
    assert serializer.dumps(value) == text
    assert serializer.loads(text) == value
    assert type(serializer.loads(text)) is type(value)


def test_not_a_number_survives(serializer: TaggedJSONSerializer) -> None:
    # Provider or not: what was written has to be readable.
    with Flask("tag_test").app_context():
        value = serializer.loads(serializer.dumps([float("nan"), float("-inf")]))

    assert str(value) == "[nan, -inf]"


def test_a_tag_may_take_plain_values(serializer: TaggedJSONSerializer) -> None:
    class TagInt(JSONTag):
        key = " i"

        def check(self, value: Any) -> bool:
            return type(value) is int

        def to_json(self, value: Any) -> Any:
            return hex(value)

        def to_python(self, value: Any) -> Any:
            return int(value, 16)

    serializer.register(TagInt, index=0)
    assert serializer.dumps({"a": 255, "b": "x"}) == '{"a":{" i":"0xff"},"b":"x"}'
    assert serializer.loads('{"a":{" i":"0xff"},"b":"x"}') == {"a": 255, "b": "x"}


class TagDecimal(JSONTag):
    __slots__ = ()
    key = " n"

    def check(self, value: Any) -> bool:
        return isinstance(value, Decimal)

    def to_json(self, value: Any) -> Any:
        return str(value)

    def to_python(self, value: Any) -> Any:
        return Decimal(value)


def test_further_type(serializer: TaggedJSONSerializer) -> None:
    serializer.register(TagDecimal)
    assert serializer.loads(serializer.dumps({"price": (Decimal("0.10"),)})) == {
        "price": (Decimal("0.10"),)
    }


def test_key_is_taken(serializer: TaggedJSONSerializer) -> None:
    class Other(TagDecimal):
        key = " d"

    with pytest.raises(KeyError, match="taken by TagDateTime"):
        serializer.register(Other)

    serializer.register(Other, force=True, index=0)
    assert isinstance(serializer.tags[" d"], Other)
    assert isinstance(serializer.order[0], Other)


def test_order(serializer: TaggedJSONSerializer) -> None:
    class First(TagDecimal):
        key = " 1"

    class Last(TagDecimal):
        key = " 2"

    serializer.register(First, index=-1)
    assert isinstance(serializer.order[-2], First)
    serializer.register(Last)
    assert isinstance(serializer.order[-1], Last)


def test_serializers_do_not_share_tags(serializer: TaggedJSONSerializer) -> None:
    serializer.register(TagDecimal)
    assert " n" not in TaggedJSONSerializer().tags


def test_base_class_tags_nothing(serializer: TaggedJSONSerializer) -> None:
    tag = JSONTag(serializer)

    for method in (tag.check, tag.to_json, tag.to_python):
        with pytest.raises(NotImplementedError):
            method(None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a":[{" t":[1]}]}', {"a": [(1,)]}),
        ('[{ " t" : [1] }]', [(1,)]),
        ('{"\\u0020t":[1]}', (1,)),
        ('{"a":" b","b":{"t":1}}', {"a": " b", "b": {"t": 1}}),
        ('{"a b":"c\\" d"}', {"a b": 'c" d'}),
    ],
)
@pytest.mark.parametrize("write", [str, str.encode])
@pytest.mark.parametrize("of_others", [False, True])
def test_tags_are_found_however_they_are_written(
    serializer: TaggedJSONSerializer, text: str, value: object, write: Any, of_others: bool
) -> None:
    if of_others:
        serializer.register(TagDecimal)
    loaded = serializer.loads(write(text))
    assert loaded == value
    assert str(loaded) == str(value)


def test_tag_that_a_subclass_replaces() -> None:
    class Own(TaggedJSONSerializer):
        def tag(self, value: Any) -> Any:
            return {" i": str(value)} if type(value) is int else super().tag(value)

    assert Own().dumps({"a": 1}) == '{"a":{" i":"1"}}'


def test_subclass_with_an_initializer_of_its_own() -> None:
    class Own(TaggedJSONSerializer):
        def __init__(self, tags: list[type[JSONTag]]) -> None:
            self.tags, self.order = {}, []
            for tag in tags:
                self.register(tag)

    value = {"a": "b", "c": (1, None)}
    own = Own(TaggedJSONSerializer.default_tags)
    assert own.dumps(value) == TaggedJSONSerializer().dumps(value)
    assert own.loads(own.dumps(value)) == value
