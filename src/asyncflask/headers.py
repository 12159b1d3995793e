"""The headers of a request: Werkzeug's, read from an ASGI scope until there is an environ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from werkzeug.datastructures import EnvironHeaders, Headers
from werkzeug.exceptions import BadRequestKeyError

from .asgi.environ import BLANKS, Environ, header_variables
from .lazy import Lazy


class RequestHeaders(EnvironHeaders):
    """The header lines of a request: of its environ, once it has one, and until then of its scope
    (Werkzeug: `EnvironHeaders`)."""

    _lines: dict[bytes, bytes] | None = None
    """By name, while nothing else needs to be looked at."""

    def __init__(
        self, headers: Iterable[tuple[bytes, bytes]], lines: dict[bytes, bytes] | None
    ) -> None:
        Headers.__init__(self)
        self._headers = headers
        if lines is not None and b"".join(lines).islower():  # as they should be
            self._lines = lines

    @Lazy
    def environ(self) -> dict[str, Any]:
        """What an environ has of the lines."""
        return header_variables(self._headers)

    def follow(self, environ: Environ) -> None:
        """Read from *environ* from now on."""
        self.environ = environ
        self._lines = None

    def _get_key(self, key: str) -> str:
        if self._lines is None:
            try:
                return super()._get_key(key)
            except KeyError:
                pass
        elif (line := self._lines.get(_line_name(key))) is not None:
            return line.decode("latin-1").strip(BLANKS)
        raise BadRequestKeyError(key)

    def get(self, key: str, default: Any = None, type: Any = None) -> Any:  # type: ignore[override]
        """The value of a header; *default* if there is none, or if *type* does not take it."""
        if type is not None or self._lines is None:
            return super().get(key, default, type)
        line = self._lines.get(_line_name(key))
        return default if line is None else line.decode("latin-1").strip(BLANKS)

    def line(self, name: bytes) -> str | None:
        """`get`, by a name in lower case."""
        if self._lines is None:
            value: str | None = self.get(name.decode("latin-1"))
            return value
        line = self._lines.get(name)
        return None if line is None else line.decode("latin-1").strip(BLANKS)


def _line_name(key: str) -> bytes:
    return key.lower().replace("_", "-").encode("latin-1", "replace")
