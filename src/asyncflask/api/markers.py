"""Markers for annotations, which say where a value comes from or that a stream is an event
stream; and the security schemes for guards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import Field


class Marker:
    """Base of the markers that say where a parameter's value comes from: ``Annotated[int,
    Query(ge=1)]``. Accepts the arguments of `pydantic.Field` (`description`, `examples`, `ge`,
    `pattern`, ...) except the default; that is the parameter's own.

    :param alias: the name in the request. Default: the parameter's name.
    :param deprecated: mark it as deprecated in the documents. Default: `False`.
    """

    kind: ClassVar[str]

    def __init__(
        self, *, alias: str | None = None, deprecated: bool = False, **constraints: Any
    ) -> None:
        if "default" in constraints or "default_factory" in constraints:
            raise TypeError(
                f"{type(self).__name__}() takes no default. Put the default after the"
                f" annotation: 'name: Annotated[int, {type(self).__name__}()] = 1'."
            )
        self.alias = alias
        self.deprecated = deprecated
        self.field: Any = Field(**constraints)


class Path(Marker):
    """A placeholder in the URL. Only needed to add constraints: parameters named in the URL are
    taken from it anyway."""

    kind = "path"


class Query(Marker):
    """A query string parameter. A list takes all values of the name, a model all names."""

    kind = "query"


class Header(Marker):
    """A header. ``x_token`` is read from ``X-Token``."""

    kind = "header"


class Cookie(Marker):
    """A cookie."""

    kind = "cookie"


class Form(Marker):
    """A form field. A model takes all fields and files."""

    kind = "form"


class File(Marker):
    """An uploaded file, as `FileStorage` or `bytes`."""

    kind = "file"


class Body(Marker):
    """The JSON body. Several parameters are the members of one object; with *embed*, so is a
    single one."""

    kind = "body"

    def __init__(self, *, embed: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.embed = embed


class Given(Marker):
    """A value that does not come from the request: a decorator around the view passes it."""

    kind = "given"


@dataclass(frozen=True)
class Events:
    """Makes a stream an event stream: ``Annotated[AsyncIterator[Tick], Events()]``. The options
    are those of `EventStream`."""

    keep_alive: float | None = None
    retry: int | None = None
    finite: bool = False


@dataclass(frozen=True)
class SecurityScheme:
    """How clients authenticate, by any Security Scheme Object of OpenAPI 3.1.

    :param name: the name in the document.
    :param definition: the Security Scheme Object.
    :param scopes: the scopes that views require.
    """

    name: str
    definition: dict[str, Any] = field(hash=False)
    scopes: tuple[str, ...] = ()


class Bearer(SecurityScheme):
    """A bearer token in the `Authorization` header (RFC 6750)."""

    def __init__(
        self, name: str = "bearer", format: str | None = None, scopes: tuple[str, ...] = ()
    ) -> None:
        definition = {"type": "http", "scheme": "bearer"}
        if format is not None:
            definition["bearerFormat"] = format
        super().__init__(name, definition, scopes)


class Basic(SecurityScheme):
    """User name and password in the `Authorization` header (RFC 7617)."""

    def __init__(self, name: str = "basic") -> None:
        super().__init__(name, {"type": "http", "scheme": "basic"})


class ApiKey(SecurityScheme):
    """An API key in a header, the query string or a cookie."""

    def __init__(
        self,
        key: str = "X-API-Key",
        where: Literal["header", "query", "cookie"] = "header",
        name: str = "apiKey",
    ) -> None:
        super().__init__(name, {"type": "apiKey", "in": where, "name": key})


class SessionCookie(ApiKey):
    """The app's session cookie. *key* is its name, `SESSION_COOKIE_NAME`."""

    def __init__(self, key: str = "session", name: str = "session") -> None:
        super().__init__(key, "cookie", name)
