"""Request headers: Werkzeug's class, reading the ASGI scope until an environ exists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from werkzeug.datastructures import EnvironHeaders, Headers
from werkzeug.exceptions import BadRequestKeyError

from .asgi.environ import BLANKS, Environ, header_variables
from .lazy import Lazy


class RequestHeaders(EnvironHeaders):
    """The headers of a request, read from its environ if there is one, otherwise from its scope
    (Werkzeug: `EnvironHeaders`)."""

    _lines: dict[bytes, bytes] | None = None
    """The header lines by name, as long as they are sufficient."""

    def __init__(
        self, headers: Iterable[tuple[bytes, bytes]], lines: dict[bytes, bytes] | None
    ) -> None:
        Headers.__init__(self)
        self._headers = headers
        if lines is not None and b"".join(lines).islower():  # as ASGI requires
            self._lines = lines

    @Lazy
    def environ(self) -> dict[str, Any]:
        """The header variables of an environ."""
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
        """Return the value of a header, or *default* if there is none or *type* rejects it."""
        if type is not None or self._lines is None:
            return super().get(key, default, type)
        line = self._lines.get(_line_name(key))
        return default if line is None else line.decode("latin-1").strip(BLANKS)

    def line(self, name: bytes) -> str | None:
        """`get`, for a name in lower case."""
        if self._lines is None:
            value: str | None = self.get(name.decode("latin-1"))
            return value
        line = self._lines.get(name)
        return None if line is None else line.decode("latin-1").strip(BLANKS)


def _line_name(key: str) -> bytes:
    return key.lower().replace("_", "-").encode("latin-1", "replace")
