"""Type aliases for annotations: what views, hooks and handlers accept and return. Nothing else
in the package may depend on them at run time. Callable aliases allow both ``def`` and ``async
def``."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Union
from wsgiref.types import WSGIApplication

from werkzeug.datastructures import Headers
from werkzeug.sansio.response import Response

if TYPE_CHECKING:
    from starlette.responses import Response as StarletteResponse

#: The body of a response, or a response. ``Mapping`` allows a ``TypedDict``; at run time it
#: must be a ``dict``.
ResponseValue: TypeAlias = Union[
    Response,
    "StarletteResponse",
    str,
    bytes,
    list[Any],
    Mapping[str, Any],
    Iterator[str],
    Iterator[bytes],
    AsyncIterable[str],
    AsyncIterable[bytes],
]

HeaderValue: TypeAlias = str | list[str] | tuple[str, ...]

HeadersValue: TypeAlias = Headers | Mapping[str, HeaderValue] | Sequence[tuple[str, HeaderValue]]

#: ``404``, ``HTTPStatus.NOT_FOUND``, or ``"404 NOT FOUND"``.
StatusValue: TypeAlias = int | str

#: The return value of a view.
ResponseReturnValue: TypeAlias = (
    ResponseValue
    | tuple[ResponseValue, HeadersValue]
    | tuple[ResponseValue, StatusValue]
    | tuple[ResponseValue, StatusValue, HeadersValue]
    | WSGIApplication
)

# A type variable, so that a hook's parameter may be a subclass of the response.
ResponseClass = TypeVar("ResponseClass", bound=Response)

#: ``None`` stands for the app, a string for the blueprint of that name.
AppOrBlueprintKey: TypeAlias = str | None

AfterRequestCallable: TypeAlias = (
    Callable[[ResponseClass], ResponseClass] | Callable[[ResponseClass], Awaitable[ResponseClass]]
)
BeforeFirstRequestCallable: TypeAlias = Callable[[], None] | Callable[[], Awaitable[None]]
BeforeRequestCallable: TypeAlias = (
    Callable[[], ResponseReturnValue | None] | Callable[[], Awaitable[ResponseReturnValue | None]]
)
ShellContextProcessorCallable: TypeAlias = Callable[[], dict[str, Any]]
TeardownCallable: TypeAlias = (
    Callable[[BaseException | None], None] | Callable[[BaseException | None], Awaitable[None]]
)
TemplateContextProcessorCallable: TypeAlias = (
    Callable[[], dict[str, Any]] | Callable[[], Awaitable[dict[str, Any]]]
)
TemplateFilterCallable: TypeAlias = Callable[..., Any]
TemplateGlobalCallable: TypeAlias = Callable[..., Any]
TemplateTestCallable: TypeAlias = Callable[..., bool]
URLDefaultCallable: TypeAlias = Callable[[str, dict[str, Any]], None]
URLValuePreprocessorCallable: TypeAlias = Callable[[str | None, dict[str, Any] | None], None]

# ``Any``, not ``Exception``: a handler names the exception that it handles, and parameters are
# contravariant, so a handler of ``NotFound`` would be rejected.
ErrorHandlerCallable: TypeAlias = (
    Callable[[Any], ResponseReturnValue] | Callable[[Any], Awaitable[ResponseReturnValue]]
)

RouteCallable: TypeAlias = (
    Callable[..., ResponseReturnValue] | Callable[..., Awaitable[ResponseReturnValue]]
)
