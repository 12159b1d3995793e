"""JSON providers: how an app reads and writes JSON. To use another library, subclass
:class:`JSONProvider` and assign an instance to ``app.json``.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
import weakref
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from inspect import iscoroutinefunction
from types import CoroutineType
from typing import IO, TYPE_CHECKING, Any, AnyStr, NoReturn, cast

from werkzeug.http import http_date
from werkzeug.wrappers import Response

from ..asgi.websocket_rules import await_it

if TYPE_CHECKING:
    from ..app import Flask


class JSONProvider:
    """The JSON operations of an app. To use another library, subclass it, implement at least
    ``dumps`` and ``loads``, and assign an instance::

        app.json = MyProvider(app)

    :param app: the app, kept as a weak proxy.
    """

    def __init__(self, app: Flask) -> None:
        self._app = cast("Flask", weakref.proxy(app))

    def dumps(self, obj: object, **kwargs: Any) -> str:
        """Serialize a value as JSON text.

        :param kwargs: passed to the JSON library.
        """
        raise NotImplementedError

    def dump(self, obj: object, fp: IO[str], **kwargs: Any) -> None:
        """Serialize a value with :meth:`dumps` and write it to a text file."""
        fp.write(self.dumps(obj, **kwargs))

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Parse JSON text, or bytes in UTF-8.

        :param kwargs: passed to the JSON library.
        :raises ValueError: if it is not valid JSON; for a request body, the client gets a 400.
        """
        raise NotImplementedError

    def load(self, fp: IO[AnyStr], **kwargs: Any) -> Any:
        """Parse the contents of a file with :meth:`loads`."""
        return self.loads(fp.read(), **kwargs)

    def _prepare_response_obj(self, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        if args and kwargs:
            raise TypeError(
                "A JSON response takes either args or kwargs, not both. Write"
                " jsonify({...}) with everything in one dict."
            )

        if len(args) == 1:
            return args[0]

        return args or kwargs or None

    def response(self, *args: object, **kwargs: object) -> Response:
        """Create a response with the arguments as JSON. :func:`asyncflask.json.jsonify` calls
        this.

        :raises TypeError: if you pass both positional and keyword arguments.
        """
        return _make_response(
            self._app, self.dumps(self._prepare_response_obj(args, kwargs)), "application/json"
        )


def _make_response(app: Flask, text: str | bytes, mimetype: str) -> Response:
    response: Response = app.response_class(text, mimetype=mimetype)
    return response


def _default(o: object) -> Any:
    if isinstance(o, date):
        return http_date(o)

    from decimal import Decimal  # imported late: few apps need it

    if isinstance(o, (Decimal, uuid.UUID)):
        return str(o)

    if dataclasses.is_dataclass(o) and not isinstance(o, type):
        return dataclasses.asdict(o)

    if hasattr(o, "__html__"):
        return str(o.__html__())

    message = f"Object of type {type(o).__name__} is not JSON serializable"
    if isinstance(o, CoroutineType):
        o.close()  # the error below replaces Python's warning
        message = f"{message}. {await_it(o)}"
    raise TypeError(message)


def _sync(default: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    """Return *default*, unless it is a coroutine function: JSON would be asked to serialize its
    coroutine, forever."""
    if iscoroutinefunction(default):
        raise RuntimeError(
            "The 'default' of a JSON provider is called by sync code, but this one is 'async"
            " def'. Write 'def', and await what it needs in the view."
        )
    return default


def _refuse_constant(name: str) -> NoReturn:
    # RFC 8259 section 6: "Numeric values that cannot be represented in the grammar below
    # (such as Infinity and NaN) are not permitted."
    raise ValueError(f"{name} is not a JSON number")


@lru_cache(maxsize=64)
def _encoder(
    default: Callable[[Any], Any] | None,
    ensure_ascii: bool,
    sort_keys: bool,
    separators: tuple[str, str],
) -> json.JSONEncoder:
    """Cache encoders: `json.dumps` creates one per value, which takes longer than a small
    value."""
    return json.JSONEncoder(
        default=_sync(default),
        ensure_ascii=ensure_ascii,
        sort_keys=sort_keys,
        separators=separators,
    )


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)
_LENIENT = json.JSONDecoder(parse_constant=float)
_COMPACT = (",", ":")
_OPENING = frozenset({"{", "[", b"{", b"["})


def _decode(s: str | bytes, decoder: json.JSONDecoder) -> Any:
    """`json.loads` with a cached decoder, which it would create for each text."""
    # An object or array, in UTF-8 if it is bytes. `json.loads` detects other encodings.
    if type(s) is bytes:
        if s[:1] in _OPENING and s[1:2] != b"\0":
            return decoder.decode(s.decode("utf-8", "surrogatepass"))
    elif type(s) is str and s[:1] in _OPENING:
        return decoder.decode(s)

    return json.loads(s, cls=lambda: decoder)  # type: ignore[arg-type]


class DefaultJSONProvider(JSONProvider):
    """JSON with Python's :mod:`json`, and support for more types.

    Dates and datetimes are serialized as HTTP dates (RFC 9110 section 5.6.7), ``Decimal`` and
    ``UUID`` as strings, dataclasses as dicts, and objects with a method ``__html__`` as the string
    it returns.
    """

    #: Called for a value that :mod:`json` cannot serialize. Returns one that it can, or raises
    #: ``TypeError``. Can be called on the class: ``DefaultJSONProvider.default(o)``.
    default: Callable[[Any], Any] = staticmethod(_default)

    #: Escape non-ASCII characters. ``False`` is shorter and faster.
    ensure_ascii = True

    #: Sort the keys of dicts, so that equal values give equal text, for caches. All keys of a
    #: dict must then have comparable types.
    sort_keys = True

    #: ``True``: :meth:`response` adds no spaces or indentation. ``False``: it does. ``None``:
    #: only in debug mode.
    compact: bool | None = None

    #: The mimetype of :meth:`response`.
    mimetype = "application/json"

    def dumps(self, obj: object, **kwargs: Any) -> str:
        """Serialize a value as JSON text.

        :param kwargs: passed to :func:`json.dumps`. The attributes ``default``, ``ensure_ascii``
            and ``sort_keys`` are the defaults of those arguments.
        :raises TypeError: if a value cannot be serialized.
        """
        if kwargs.keys() <= {"separators"}:
            separators = kwargs.get("separators", (", ", ": "))

            try:
                encoder = _encoder(self.default, self.ensure_ascii, self.sort_keys, separators)
            except TypeError:  # an argument is unhashable
                pass
            else:
                return encoder.encode(obj)

        kwargs.setdefault("default", _sync(self.default))
        kwargs.setdefault("ensure_ascii", self.ensure_ascii)
        kwargs.setdefault("sort_keys", self.sort_keys)
        return json.dumps(obj, **kwargs)

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Parse JSON text, or bytes in UTF-8.

        Stricter than :func:`json.loads`: ``NaN``, ``Infinity`` and ``-Infinity`` are rejected (RFC
        8259 section 6), as is nesting beyond Python's recursion limit.

        :param kwargs: passed to :func:`json.loads`; ``parse_constant=float`` accepts the three
            constants.
        :raises ValueError: if it is not valid JSON.
        """
        try:
            if not kwargs:
                return _decode(s, _STRICT)

            if kwargs == {"parse_constant": float}:
                return _decode(s, _LENIENT)

            if "cls" not in kwargs:  # the caller's decoder may not accept the argument
                kwargs.setdefault("parse_constant", _refuse_constant)

            return json.loads(s, **kwargs)
        except RecursionError as e:
            raise ValueError("JSON is nested too deeply") from e

    def response(self, *args: object, **kwargs: object) -> Response:
        """Create a response with the arguments as JSON, indented in debug mode unless
        :attr:`compact` is set. :func:`asyncflask.json.jsonify` calls this.

        :raises TypeError: if you pass both positional and keyword arguments.
        """
        text = self.response_text(self._prepare_response_obj(args, kwargs))
        return _make_response(self._app, text, self.mimetype)

    def response_text(self, obj: object) -> str:
        compact = not self._app.debug if self.compact is None else self.compact
        text = self.dumps(obj, separators=_COMPACT) if compact else self.dumps(obj, indent=2)
        return text + "\n"
