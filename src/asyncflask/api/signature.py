"""Reading a function's annotations: its inputs, with where they come from, and its outputs by
status. Done once, before the function is first called."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Final, Literal, NotRequired, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError
from typing_extensions import TypeAliasType, TypedDict, is_typeddict
from werkzeug.datastructures import FileStorage
from werkzeug.wrappers import Response

from ..asgi.events import ServerSentEvent
from .markers import Body, Events, Marker

MISSING: Final = inspect.Parameter.empty
STREAMS: Final = frozenset(
    {AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator}
)
_ANY_CLASS: Final = ConfigDict(arbitrary_types_allowed=True)
_WITHOUT_ANNOTATION: Final = "To send the value as Flask does, remove the return annotation."


@dataclass
class Input:
    """A parameter. `alias` is its name in the request, `kind` its marker's."""

    name: str
    alias: str
    kind: str
    annotation: Any
    default: Any
    adapter: TypeAdapter[Any]
    marker: Marker | None
    many: bool
    """`True` if it takes all values of the name."""
    members: dict[str, tuple[str, bool]] | None
    """If it takes all names: for each name in the request, the name in the model, and `True` if
    that takes all values."""
    as_files: bool
    """`True` if it is a `FileStorage` rather than a file's content."""

    @property
    def blank(self) -> bool:
        """`True` if an empty text counts as missing, since browsers send fields left empty."""
        return self.kind == "form" and self.default is not MISSING


@dataclass
class Output:
    """The response with one status."""

    status: int
    adapter: TypeAdapter[Any] | None
    """`None` if the response has no content."""
    stream: bool = False
    events: Events | None = None


@dataclass
class Signature:
    inputs: list[Input]
    body: TypeAdapter[Any] | None
    """The adapter of the whole JSON body."""
    embedded: bool
    """`True` if the body is an object with a member per parameter."""
    simple_query: bool
    """`True` if each query string parameter takes one value."""
    outputs: dict[int, Output]
    """Empty without a return annotation; values are then handled as in Flask."""


def read(func: Callable[..., object], names: Mapping[str, Any]) -> Signature:
    """Return the signature of *func*. *names*: the local names where it was defined, if that
    was inside a function."""
    inner = inspect.unwrap(func)
    hints = typing.get_type_hints(inner, localns=dict(names) or None, include_extras=True)
    inputs = []
    for parameter in inspect.signature(func).parameters.values():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.name in ("self", "cls") and parameter.annotation is MISSING:
            continue
        inputs.append(_input(func, parameter, hints.get(parameter.name, Any)))
    given = [one for one in inputs if one.kind == "body"]
    if given and any(one.kind in ("form", "file") for one in inputs):
        raise TypeError(
            f"{_name(func)} takes a JSON body ({given[0].name!r}) and a form, but a request has"
            f" only one of them. Write Annotated[..., Form()] for {given[0].name!r}."
        )
    embedded = len(given) > 1 or any(
        isinstance(one.marker, Body) and one.marker.embed for one in given
    )
    body = given[0].adapter if given else None
    if embedded:
        members: dict[str, Any] = {
            one.alias: one.annotation if one.default is MISSING else NotRequired[one.annotation]
            for one in given
        }
        body = TypeAdapter(TypedDict("Body", members))  # type: ignore[operator]
    outputs = {}
    if "return" in hints:
        outputs = _outputs(func, hints["return"])
    simple = not any(one.kind == "query" and (one.many or one.members) for one in inputs)
    return Signature(inputs, body, embedded, simple, outputs)


# -- inputs -----------------------------------------------------------------------------------


def _input(func: Callable[..., object], parameter: inspect.Parameter, hint: object) -> Input:
    marker, annotation = _marked(hint)
    if marker is None:
        kind = "file" if _has(annotation, FileStorage) else "query"
        kind = "body" if kind == "query" and _is_complex(annotation) else kind
        alias = parameter.name
    else:
        kind = marker.kind
        dashed = parameter.name.replace("_", "-") if kind == "header" else parameter.name
        alias = marker.alias or dashed
    members = None
    if kind in ("query", "header", "cookie", "form"):
        members = _members(annotation, kind)
    return Input(
        parameter.name,
        alias,
        kind,
        annotation,
        parameter.default,
        adapter(
            func,
            annotation if kind != "given" else Any,
            f"the parameter {parameter.name!r}",
            "If a decorator passes the value, write Annotated[..., Given()].",
        ),
        marker,
        any(map(_is_sequence, alternatives(annotation))) and kind not in ("body", "given"),
        members,
        _has(annotation, FileStorage),
    )


def _marked(hint: object) -> tuple[Marker | None, Any]:
    """Return the marker in *hint*, and the annotation for pydantic, with the marker's
    constraints in its place."""
    if get_origin(hint) is not Annotated:
        return None, hint
    plain, *metadata = get_args(hint)
    marker = next((one for one in metadata if _is_marker(one)), None)
    if isinstance(marker, type):  # 'Query' instead of 'Query()'
        marker = marker()
    if marker is None:
        return None, hint
    others = (marker.field if _is_marker(one) else one for one in metadata)
    return marker, Annotated[(plain, *others)]


def _is_marker(value: object) -> bool:
    return isinstance(value, Marker) or (isinstance(value, type) and issubclass(value, Marker))


def adapter(
    func: Callable[..., object], annotation: Any, what: str, advice: str
) -> TypeAdapter[Any]:
    """Return pydantic's adapter for *annotation*. *what* and *advice* are for the error if there
    is none."""
    try:
        if _has(annotation, FileStorage):
            return TypeAdapter(annotation, config=_ANY_CLASS)
        return TypeAdapter(annotation)
    except PydanticSchemaGenerationError as error:
        raise TypeError(
            f"pydantic cannot validate {what} of {_name(func)}: {annotation!r}. {advice}"
        ) from error


def _plain(annotation: Any) -> Any:
    """Return the bare type of *annotation*."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, TypeAliasType) or type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation


def alternatives(annotation: object) -> list[Any]:
    """Return the members of a union, or *annotation* alone."""
    annotation = _plain(annotation)
    if get_origin(annotation) in (typing.Union, types.UnionType):
        return [one for member in get_args(annotation) for one in alternatives(member)]
    return [annotation]


def _is_sequence(plain: object) -> bool:
    kind = get_origin(plain) or plain
    return (
        isinstance(kind, type)
        and issubclass(kind, Collection)
        and not issubclass(kind, str | bytes | bytearray | Mapping | FileStorage)
    )


def _is_model(plain: object) -> bool:
    kind = get_origin(plain) or plain
    return is_typeddict(kind) or (
        isinstance(kind, type) and (issubclass(kind, BaseModel) or is_dataclass(kind))
    )


def _is_complex(annotation: object) -> bool:
    """Return `True` if a value is more than a single text, and so belongs in a body."""
    for plain in alternatives(annotation):
        kind = get_origin(plain) or plain
        if _is_model(plain) or _is_sequence(plain):
            return True
        if isinstance(kind, type) and issubclass(kind, Mapping):
            return True
    return False


def query_advice(annotation: object) -> str:
    """Return what to write to read such a value from the query string; nothing if that cannot
    be."""
    kinds = [one for one in alternatives(annotation) if one is not types.NoneType]
    if len(kinds) == 1 and (_is_model(kinds[0]) or _is_sequence(kinds[0])):
        shown = getattr(kinds[0], "__name__", "...") if _is_model(kinds[0]) else "list[...]"
        return f" To read it from the query string, write Annotated[{shown}, Query()]."
    return ""


def _has(annotation: object, kind: type) -> bool:
    return any(
        plain is kind or any(_has(part, kind) for part in get_args(plain))
        for plain in alternatives(annotation)
    )


def _members(annotation: object, kind: str) -> dict[str, tuple[str, bool]] | None:
    """See `Input.members`."""
    (plain, *others) = [one for one in alternatives(annotation) if one is not types.NoneType]
    if others or not _is_model(plain):
        return None
    model = get_origin(plain) or plain
    fields = getattr(model, "model_fields", None)
    names: dict[str, Any] = typing.get_type_hints(model, include_extras=True)
    if fields is not None:
        names = {name: field.annotation for name, field in fields.items()}
    found = {}
    for name, hint in names.items():
        field = None if fields is None else fields[name]
        key = name if field is None else field.validation_alias or field.alias or name
        if not isinstance(key, str):  # several names, which pydantic handles itself
            key = name
        sent = key.replace("_", "-").lower() if kind == "header" and key == name else key
        found[sent] = key, any(map(_is_sequence, alternatives(hint)))
    return found


# -- outputs ----------------------------------------------------------------------------------


def _outputs(func: Callable[..., object], hint: object) -> dict[int, Output]:
    if hint is types.NoneType:
        return {204: Output(204, None)}
    kinds: dict[int, list[Any]] = {}
    for member in _union(hint):
        statuses, kind = _with_status(member)
        _refuse_bare_status(func, kind)
        if get_origin(kind) is tuple and int in get_args(kind)[:2]:
            raise TypeError(
                f"{func.__qualname__} returns {kind}, where a number could be read as a status."
                " Write 'list[int]' for an array, or 'Literal[201]' for a status."
            )
        if not _is_response(kind):  # a response says nothing about its content
            for status in statuses:
                kinds.setdefault(status, []).append(kind)
    return {
        status: _output(func, status, typing.Union[tuple(members)])  # noqa: UP007
        for status, members in sorted(kinds.items())
    }


def _refuse_bare_status(func: Callable[..., object], kind: object) -> None:
    """Raise the error for ``tuple[Note, 201]``."""
    if get_origin(kind) is not tuple:
        return
    for part in get_args(kind):
        if isinstance(part, int):
            raise TypeError(
                f"The return annotation of {_name(func)} contains the number {part:d}, which is"
                f" not a type. Write 'Literal[{part:d}]', as in 'tuple[Note, Literal[{part:d}]]'."
            )


def _union(hint: object) -> list[Any]:
    if get_origin(hint) in (typing.Union, types.UnionType):
        return [one for member in get_args(hint) for one in _union(member)]
    return [hint]


def _with_status(member: object) -> tuple[tuple[int, ...], Any]:
    """Return the statuses in ``tuple[Note, Literal[201]]``, with or without headers, and the
    type."""
    if get_origin(member) is tuple and len(parts := get_args(member)) in (2, 3):
        if get_origin(parts[1]) is Literal:
            statuses = get_args(parts[1])
            if all(type(status) is int for status in statuses):
                return statuses, parts[0]
        elif len(parts) == 2 and _is_headers(parts[1]):
            return (200,), parts[0]
    return (200,), member


def _is_headers(kind: object) -> bool:
    return (get_origin(kind) or kind) in (dict, Mapping) and get_args(kind) == (str, str)


def _is_response(kind: object) -> bool:
    kind = get_origin(kind) or kind
    return isinstance(kind, type) and (
        issubclass(kind, Response) or hasattr(kind, "init_headers")  # Starlette's
    )


def _output(func: Callable[..., object], status: int, kind: object) -> Output:
    events = None
    if get_origin(kind) is Annotated:
        plain, *metadata = get_args(kind)
        events = next((one for one in metadata if _is_events(one)), None)
        if isinstance(events, type):
            events = events()
        kind = plain if events is not None else kind
    origin = get_origin(kind)
    if origin in STREAMS:
        items = alternatives((get_args(kind) or (Any,))[0])
        data = [one for one in items if one is not ServerSentEvent] or [
            Any
        ]  # an event contains the data
        item: Any = typing.Union[tuple(data)]  # noqa: UP007
        made = adapter(func, item, "what the stream yields", _WITHOUT_ANNOTATION)
        return Output(status, made, True, events)
    if kind is types.NoneType:
        return Output(status, None)
    return Output(status, adapter(func, kind, "the return value", _WITHOUT_ANNOTATION))


def _is_events(value: object) -> bool:
    return isinstance(value, Events) or value is Events


def _name(func: Callable[..., object]) -> str:
    return f"{func.__module__}.{func.__qualname__}"
