"""What is written into annotations: where a value comes from, and that a stream is one of events;
and the security schemes that guards are marked with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import Field


class Marker:
    """Where the value of a parameter comes from: ``Annotated[int, Query(ge=1)]``. Takes what
    `pydantic.Field` takes (`description`, `examples`, `ge`, `pattern`, ...), but for the default,
    which is the parameter's own. *alias*: the name in the request, if it is another one.
    *deprecated*: said in the documents."""

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
    """A placeholder of the URL. Needed for constraints only: a parameter that the URL names is
    taken from it without a marker."""

    kind = "path"


class Query(Marker):
    """From the query string; a list takes all values of the name, a model all names."""

    kind = "query"


class Header(Marker):
    """A header line; ``x_token`` is read from ``X-Token``."""

    kind = "header"


class Cookie(Marker):
    """A cookie."""

    kind = "cookie"


class Form(Marker):
    """A field of a form; a model takes all fields and files."""

    kind = "form"


class File(Marker):
    """An uploaded file, as `FileStorage` or as `bytes`."""

    kind = "file"


class Body(Marker):
    """The body, which is JSON. Of several parameters each is a member of one object; with *embed*
    a single one as well."""

    kind = "body"

    def __init__(self, *, embed: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.embed = embed


class Given(Marker):
    """Nothing of the request: a decorator around the view passes the value."""

    kind = "given"


@dataclass(frozen=True)
class Events:
    """Makes a stream one of server-sent events: ``Annotated[AsyncIterator[Tick], Events()]``. The
    options are those of `EventStream`."""

    keep_alive: float | None = None
    retry: int | None = None
    finite: bool = False


@dataclass(frozen=True)
class SecurityScheme:
    """How a client proves who it is, by any definition that OpenAPI 3.1 has: a name in the
    document, and the Security Scheme Object."""

    name: str
    definition: dict[str, Any] = field(hash=False)
    scopes: tuple[str, ...] = ()


class Bearer(SecurityScheme):
    """A token in the header `Authorization` (RFC 6750)."""

    def __init__(
        self, name: str = "bearer", format: str | None = None, scopes: tuple[str, ...] = ()
    ) -> None:
        definition = {"type": "http", "scheme": "bearer"}
        if format is not None:
            definition["bearerFormat"] = format
        super().__init__(name, definition, scopes)


class Basic(SecurityScheme):
    """Name and password in the header `Authorization` (RFC 7617)."""

    def __init__(self, name: str = "basic") -> None:
        super().__init__(name, {"type": "http", "scheme": "basic"})


class ApiKey(SecurityScheme):
    """A key in a header, the query string or a cookie."""

    def __init__(
        self,
        key: str = "X-API-Key",
        where: Literal["header", "query", "cookie"] = "header",
        name: str = "apiKey",
    ) -> None:
        super().__init__(name, {"type": "apiKey", "in": where, "name": key})


class SessionCookie(ApiKey):
    """The session of the app; *key* is its `SESSION_COOKIE_NAME`."""

    def __init__(self, key: str = "session", name: str = "session") -> None:
        super().__init__(key, "cookie", name)
