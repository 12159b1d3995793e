"""Tagged JSON: a compact form for values that JSON itself cannot hold.

Such a value is written as an object with one key, the tag: ``{" t": [1, 2]}`` is a tuple.
Session cookies consist of it, so what is written here must stay readable, by Flask as well.
Dates come back to the second, in UTC.

A further type takes a subclass of :class:`JSONTag`, registered with the serializer; with
``index=0`` if one of the tags there are would take its values as well::

    class TagDecimal(JSONTag):
        __slots__ = ()
        key = " n"

        def check(self, value):
            return isinstance(value, Decimal)

        def to_json(self, value):
            return str(value)

        def to_python(self, value):
            return Decimal(value)

    app.session_interface.serializer.register(TagDecimal)
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from markupsafe import Markup
from werkzeug.http import http_date, parse_date

from ..ctx import _cv_app
from ..json import dumps, loads
from .provider import DefaultJSONProvider


class JSONTag:
    """Defines how values of one type are tagged. Subclass it, with a ``key`` and the three
    methods.

    :param serializer: the serializer that the tag belongs to.
    """

    __slots__ = ("serializer",)

    #: The tag. If empty, the value is not tagged itself, only its contents.
    key: str = ""

    def __init__(self, serializer: TaggedJSONSerializer) -> None:
        self.serializer = serializer

    def check(self, value: object) -> bool:
        """Return ``True`` if this tag applies to ``value``."""
        raise NotImplementedError

    def to_json(self, value: Any) -> object:
        """Convert ``value`` to a value that JSON supports, without the tag."""
        raise NotImplementedError

    def to_python(self, value: Any) -> object:
        """Convert the result of :meth:`to_json` back to the original value."""
        raise NotImplementedError

    def tag(self, value: Any) -> dict[str, object] | list[object]:
        """Convert ``value`` and add the tag."""
        return {self.key: self.to_json(value)}


class TagDict(JSONTag):
    """A dict that looks like a tag: its only key gets two more underscores."""

    __slots__ = ()
    key = " di"

    def check(self, value: object) -> bool:
        return (
            isinstance(value, dict)
            and len(value) == 1
            and next(iter(value)) in self.serializer.tags
        )

    def to_json(self, value: Any) -> dict[str, object]:
        ((key, item),) = value.items()
        return {f"{key}__": self.serializer.tag(item)}

    def to_python(self, value: Any) -> dict[str, object]:
        ((key, item),) = value.items()
        return {key.removesuffix("__"): item}


class PassDict(JSONTag):
    """Any other dict. Its keys are left alone: JSON only has string keys."""

    __slots__ = ()

    def check(self, value: object) -> bool:
        return isinstance(value, dict)

    def to_json(self, value: Any) -> dict[str, object]:
        return {key: self.serializer.tag(item) for key, item in value.items()}

    tag = to_json


class TagTuple(JSONTag):
    """A tuple, which JSON would turn into a list."""

    __slots__ = ()
    key = " t"

    def check(self, value: object) -> bool:
        return isinstance(value, tuple)

    def to_json(self, value: Any) -> list[object]:
        return [self.serializer.tag(item) for item in value]

    def to_python(self, value: Any) -> tuple[object, ...]:
        return tuple(value)


class PassList(JSONTag):
    """A list, so that its items are tagged."""

    __slots__ = ()

    def check(self, value: object) -> bool:
        return isinstance(value, list)

    def to_json(self, value: Any) -> list[object]:
        return [self.serializer.tag(item) for item in value]

    tag = to_json


class TagBytes(JSONTag):
    """Bytes, as Base64 (RFC 4648 section 4)."""

    __slots__ = ()
    key = " b"

    def check(self, value: object) -> bool:
        return isinstance(value, bytes)

    def to_json(self, value: Any) -> str:
        return b64encode(value).decode("ascii")

    def to_python(self, value: Any) -> bytes:
        return b64decode(value)


class TagMarkup(JSONTag):
    """An object with an ``__html__`` method. It is restored as :class:`~markupsafe.Markup`."""

    __slots__ = ()
    key = " m"

    def check(self, value: object) -> bool:
        return callable(getattr(value, "__html__", None))

    def to_json(self, value: Any) -> str:
        return str(value.__html__())

    def to_python(self, value: Any) -> Markup:
        return Markup(value)


class TagUUID(JSONTag):
    """A UUID, as hexadecimal digits."""

    __slots__ = ()
    key = " u"

    def check(self, value: object) -> bool:
        return isinstance(value, UUID)

    def to_json(self, value: Any) -> object:
        return value.hex

    def to_python(self, value: Any) -> UUID:
        return UUID(value)


class TagDateTime(JSONTag):
    """A datetime, as an HTTP date: to the second, in UTC."""

    __slots__ = ()
    key = " d"

    def check(self, value: object) -> bool:
        return isinstance(value, datetime)

    def to_json(self, value: Any) -> str:
        return http_date(value)

    def to_python(self, value: Any) -> datetime | None:
        return parse_date(value)


class TaggedJSONSerializer:
    """Serializes values as tagged JSON, with the interface that itsdangerous expects of a
    serializer.

    In addition to JSON's types it supports ``tuple``, ``bytes``, ``Markup``, ``UUID``,
    ``datetime``, and dicts that look like a tag.
    """

    __slots__ = ("order", "tags")

    #: The tags that each new serializer registers, in this order.
    default_tags: ClassVar[list[type[JSONTag]]] = [
        TagDict,
        PassDict,
        TagTuple,
        PassList,
        TagBytes,
        TagMarkup,
        TagUUID,
        TagDateTime,
    ]

    def __init__(self) -> None:
        self.tags: dict[str, JSONTag] = {}
        self.order: list[JSONTag] = []

        for tag_class in self.default_tags:
            self.register(tag_class)

    def register(
        self, tag_class: type[JSONTag], force: bool = False, index: int | None = None
    ) -> None:
        """Add a tag.

        :param tag_class: the subclass of :class:`JSONTag`.
        :param force: ``True`` to replace a tag with the same key. Default: ``False``.
        :param index: the position in the order in which tags are checked. Default: last.
        :raises KeyError: if the key is already registered and ``force`` is ``False``.
        """
        tag = tag_class(self)
        key = tag.key

        if key:
            if key in self.tags and not force:
                raise KeyError(
                    f"Tag {key!r} is taken by {type(self.tags[key]).__name__}."
                    " Choose another key, or pass force=True to replace it."
                )

            self.tags[key] = tag

        if index is None:
            self.order.append(tag)
        else:
            self.order.insert(index, tag)

    def tag(self, value: object) -> object:
        """Convert ``value`` to a form that JSON supports, with tags."""
        for tag in self.order:
            if tag.check(value):
                return tag.tag(value)

        return value

    def untag(self, value: dict[str, Any]) -> object:
        """Convert a tagged dict back to its value. Any other dict is returned as it is."""
        if len(value) != 1:
            return value

        ((key, item),) = value.items()
        tag = self.tags.get(key)
        return value if tag is None else tag.to_python(item)

    def _untag_scan(self, value: object) -> object:
        # From the inside out: a tag receives items that are already Python values.
        if isinstance(value, dict):
            for key, item in value.items():
                if isinstance(item, (dict, list)):
                    value[key] = self._untag_scan(item)

            return self.untag(value)

        if isinstance(value, list):
            return [self._untag_scan(item) for item in value]

        return value

    def dumps(self, value: object) -> str:
        """Serialize a value as tagged JSON text, without spaces."""
        ctx = _cv_app.get(None)
        write: Callable[..., str] = dumps if ctx is None else ctx.app.json.dumps
        return write(self.tag(value), separators=(",", ":"))

    def loads(self, value: str) -> Any:
        """Parse tagged JSON text.

        :raises ValueError: if it is not valid JSON.
        """
        ctx = _cv_app.get(None)

        # `dumps` writes NaN and Infinity, as Flask's does, so they must be readable. This is
        # not untrusted input: it was signed. Another provider may not accept the argument.
        if (
            ctx is not None
            and isinstance(provider := ctx.app.json, DefaultJSONProvider)
            and type(provider).loads is DefaultJSONProvider.loads
        ):
            parsed = provider.loads(value, parse_constant=float)
        else:
            parsed = loads(value)

        return self._untag_scan(parsed)
