"""A JSON provider based on orjson, several times as fast as Python's `json`. Needs the extra
`orjson`.

What orjson cannot write is passed to Python's `json`, so that the same values can be written,
and errors are the same, as with the default provider.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Response

from .provider import DefaultJSONProvider, _default, _make_response

try:
    import orjson
except ImportError as error:
    raise ImportError(
        "asyncflask.json.orjson needs orjson. Install it with: pip install 'asyncflask[orjson]'"
    ) from error

# Passed to `default`, which writes them as the default provider does.
_OPTIONS = (
    orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)
_COMPACT = (",", ":")


def _as_base(o: object, default: Callable[[Any], Any]) -> object:
    """Convert a value of a subclass as `json` does; *default* converts other values."""
    if isinstance(o, str):
        return str.__str__(o)

    if isinstance(o, dict):
        return dict(o.items())  # not `dict(o)`: a `MultiDict` would give lists

    if isinstance(o, (list, tuple)):
        return [*o]

    if isinstance(o, int):
        return int.__int__(o)

    return float.__float__(o) if isinstance(o, float) else default(o)


def _as_base_by_default(o: object) -> object:
    return _as_base(o, _default)


class OrjsonProvider(DefaultJSONProvider):
    """JSON with orjson, supporting the types of :class:`DefaultJSONProvider`. ::

        app.json = OrjsonProvider(app)

    The attributes are the same. Differences when writing: no spaces unless requested, ``NaN``
    and ``Infinity`` become ``null``, members of an ``enum.Enum`` become their values. When
    reading: integers of more than 64 bits become floats, lone surrogates and encodings other
    than UTF-8 are rejected.
    """

    #: Escape non-ASCII characters; :mod:`json` then writes the text. Without it, a response
    #: cannot contain a lone surrogate, as with the default provider.
    ensure_ascii = False

    def _write(self, obj: object, options: int, **kwargs: Any) -> bytes | None:
        """Return the text, or ``None`` if `json` has to write it, or to raise the error."""
        default = kwargs.get("default", self.default)

        if default is None:
            return None

        if kwargs.get("sort_keys", self.sort_keys):
            options |= orjson.OPT_SORT_KEYS

        as_base = _as_base_by_default if default is _default else lambda o: _as_base(o, default)

        try:
            data = orjson.dumps(obj, as_base, _OPTIONS | options)
        except TypeError:
            return None

        escape = kwargs.get("ensure_ascii", self.ensure_ascii)
        return None if escape and not data.isascii() else data

    def dumps(self, obj: object, **kwargs: Any) -> str:
        """Serialize a value as JSON text, without spaces.

        :param kwargs: passed to :func:`json.dumps`, which is used for arguments other than
            ``default``, ``ensure_ascii``, ``sort_keys``, ``indent=2`` and ``separators=(",",
            ":")``.
        :raises TypeError: if a value cannot be serialized.
        """
        data = None

        if kwargs.keys() <= {"default", "ensure_ascii", "sort_keys"}:
            kwargs["separators"] = _COMPACT
            data = self._write(obj, 0, **kwargs)
        elif kwargs == {"separators": _COMPACT}:
            data = self._write(obj, 0)
        elif kwargs == {"indent": 2}:
            data = self._write(obj, orjson.OPT_INDENT_2)

        return super().dumps(obj, **kwargs) if data is None else data.decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Parse JSON text, or bytes in UTF-8.

        :param kwargs: passed to :func:`json.loads`, which is used if there are any.
        :raises ValueError: if it is not valid JSON.
        """
        return super().loads(s, **kwargs) if kwargs else orjson.loads(s)

    def response(self, *args: object, **kwargs: object) -> Response:
        """Create a response with the arguments as JSON. :func:`asyncflask.json.jsonify` calls
        this.

        :raises TypeError: if you pass both positional and keyword arguments.
        """
        compact = not self._app.debug if self.compact is None else self.compact

        if type(self).dumps is OrjsonProvider.dumps:
            options = 0 if compact else orjson.OPT_INDENT_2
            obj = self._prepare_response_obj(args, kwargs)
            data = self._write(obj, options | orjson.OPT_APPEND_NEWLINE)

            if data is not None:
                return _make_response(self._app, data, self.mimetype)

        return super().response(*args, **kwargs)
