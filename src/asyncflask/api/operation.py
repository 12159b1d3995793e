"""Calling a typed function: its arguments are read from the request, and its return value
becomes the response."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache, wraps
from linecache import getline
from types import CoroutineType
from typing import Any, Final, NoReturn

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException, UnsupportedMediaType
from werkzeug.wrappers import Response

from ..asgi.threads import is_async
from ..asgi.websocket import WebSocket
from ..asgi.websocket_rules import await_it
from ..ctx import RequestContext, _cv_request, current_request_ctx
from ..debughelpers import missing_variables, unknown_variable, where
from ..events import EventStream, ServerSentEvent
from ..helpers import stream_with_context
from ..respond import Ready
from ..responses import is_starlettes
from ..sansio.scaffold import is_decorated_view
from ..wrappers import Request
from .markers import SecurityScheme
from .problems import (
    INVALID_MESSAGE,
    Fault,
    InvalidMessage,
    InvalidRequest,
    explain,
    faults_in_json,
    faults_of,
)
from .signature import MISSING, Input, Output, Signature, query_advice, read

JSON: Final = "application/json"
_JSON_LINE: Final = JSON.encode()
JSON_LINES: Final = "application/jsonl"
_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods whose requests have no body."""


class Operation:
    """A typed function. *options*: the arguments of `Api.typed`."""

    def __init__(
        self,
        func: Callable[..., Any],
        invalid_status: int,
        names: Mapping[str, Any],
        options: dict[str, Any],
    ) -> None:
        self.func = func
        self.invalid_status = invalid_status
        self.options = options
        self._names = names
        self._signature: Signature | None = None
        with suppress(NameError):  # uses a name that is defined further down
            self.signature  # noqa: B018

    @property
    def signature(self) -> Signature:
        if self._signature is None:
            self._signature = read(self.func, self._names)
            self._names = {}
        return self._signature

    # -- inputs

    def arguments(self, ctx: RequestContext, given: dict[str, Any]) -> dict[str, Any]:
        """Return the function's arguments. *given*: the values of the URL's placeholders and
        what decorators pass. Raises `InvalidRequest` with all errors."""
        signature = self._signature or self.signature
        if not signature.inputs:
            return given
        values = dict(given)
        faults: list[Fault] = []
        read_body = False
        query: Any = None
        for one in signature.inputs:
            name, where = one.name, one.kind
            if name in given:
                if where == "given":
                    continue
                raw, where = given[name], "path"
            elif where == "body":
                read_body = True
                continue
            elif where == "query" and signature.simple_query:
                if query is None:
                    query = _query_of(ctx)
                raw = query.get(one.alias, MISSING)
            else:
                raw = _TAKE[where](ctx.request, one)
            if raw is MISSING or (raw == "" and one.blank):
                if one.default is MISSING:
                    if where in ("given", "path"):
                        self._refuse_missing(ctx, one)
                    faults.append(_missing(where, one.alias))
                continue
            try:
                values[name] = one.adapter.validator.validate_python(raw)
            except ValidationError as error:
                faults += faults_of(error, where, *(() if one.members else (one.alias,)))
        if read_body:
            self._read_body(ctx, signature, values, faults)
        if faults:
            self._check_variables(ctx, given)
            raise InvalidRequest(self.invalid_status, faults)
        return values

    def _refuse_missing(self, ctx: RequestContext, one: Input) -> NoReturn:
        """Raise the error for a value that does not depend on the client."""
        if one.kind == "given":
            problem = (
                f"No decorator passed {one.name!r} to {self.func.__qualname__}. Write the"
                " decorator that passes it above '@api.typed'."
            )
        else:
            rule = ctx.request.url_rule
            problem = missing_variables("" if rule is None else rule.rule, [one.name])
        raise TypeError(f"{problem}{where(ctx.app, self.func)}")

    def _check_variables(self, ctx: RequestContext, given: dict[str, Any]) -> None:
        """Raise the error for a variable of the URL that no parameter takes: the client is not to
        blame for the parameter that is missing then."""
        parameters = inspect.signature(self.func).parameters
        if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
            return
        rule = ctx.request.url_rule
        for name in ctx.request.view_args or ():
            if name in given and name not in parameters and rule is not None:
                problem = unknown_variable(rule.rule, name, self.func, given)
                raise TypeError(f"{problem}{where(ctx.app, self.func)}")

    def _read_body(
        self,
        ctx: RequestContext,
        signature: Signature,
        values: dict[str, Any],
        faults: list[Fault],
    ) -> None:
        request = ctx.request
        parameters = [one for one in signature.inputs if one.kind == "body"]
        data = request.get_data()
        if not data:
            required = [one for one in parameters if one.default is MISSING]
            methods = request.url_rule.methods if request.url_rule is not None else None
            if required and methods and methods <= _BODILESS:
                raise TypeError(
                    f"The parameter {required[0].name!r} of {self.func.__qualname__} is read"
                    f" from the body, but a GET has none.{query_advice(required[0].annotation)}"
                    f"{where(ctx.app, self.func)}"
                )
            for one in required:
                faults.append(_missing("body", *((one.alias,) if signature.embedded else ())))
            return
        if (
            (ctx.lines or {}).get(b"content-type") != _JSON_LINE
            and request.mimetype != JSON
            and not request.mimetype.endswith("+json")
        ):
            raise UnsupportedMediaType("The body must be JSON: 'Content-Type: application/json'.")
        assert signature.body is not None
        try:
            content = signature.body.validator.validate_json(data)
        except ValidationError as error:
            faults += faults_in_json(error, data)
            return
        if signature.embedded:
            values |= {one.name: content[one.alias] for one in parameters if one.alias in content}
        else:
            values[parameters[0].name] = content

    # -- outputs

    def response(self, ctx: RequestContext, value: Any) -> Any:
        """Return the value to make the response from."""
        outputs = self._signature.outputs if self._signature else self.signature.outputs
        if (
            not outputs
            or ctx.websocket is not None
            or isinstance(value, Response | HTTPException)
            or is_starlettes(value)
        ):
            return value
        status, headers = None, None
        if type(value) is tuple and len(value) > 1:
            if len(value) == 2 and isinstance(value[1], Mapping):
                value, headers = value
            elif type(value[1]) is int and len(value) < 4:
                value, status, *rest = value
                headers = rest[0] if rest else None
        output = _first(outputs) if status is None else outputs.get(status)
        if output is None:
            raise TypeError(
                f"{self.func.__qualname__} returned status {status}, which its return"
                f" annotation does not include. Add '| tuple[{type(value).__name__},"
                f" Literal[{status}]]' to it.{where(ctx.app, self.func)}"
            )
        return self._made(ctx, output, value, headers)

    def _made(self, ctx: RequestContext, output: Output, value: Any, headers: Any) -> Any:
        kind = ctx.app.response_class
        if output.stream and output.adapter is not None:
            if output.events is not None:
                encode, options = self._as_event(output.adapter), output.events
                source = stream_with_context(_each(value, encode))
                return EventStream(
                    source,
                    keep_alive=options.keep_alive,
                    retry=options.retry,
                    finite=options.finite,
                    status=output.status,
                    headers=headers,
                )
            adapter = output.adapter
            lines = _each(value, lambda item: self._json(adapter, item) + b"\n")
            stream = stream_with_context(lines)
            return kind(stream, output.status, headers, mimetype=JSON_LINES)
        if output.adapter is None:
            response = kind(b"", output.status, headers)
            response.headers.pop("Content-Type", None)
            return response
        ready = Ready(self._json(output.adapter, value), JSON, output.status)
        return (ready, headers) if headers else ready

    def _json(self, adapter: TypeAdapter[Any], value: Any) -> bytes:
        try:
            checked = adapter.validator.validate_python(value, from_attributes=True)
            content: bytes = adapter.serializer.to_json(checked, by_alias=True)
        except (ValidationError, PydanticSerializationError) as error:
            self._refuse(value, error)
        return content

    def _refuse(
        self, value: object, error: ValidationError | PydanticSerializationError
    ) -> NoReturn:
        """Raise the error for a return value that cannot be sent."""
        values, problem = [value], "cannot be sent as JSON"
        if isinstance(error, ValidationError):
            values += (each["input"] for each in error.errors(include_url=False))
            problem = "does not match its annotation"
        name = f"{self.func.__module__}.{self.func.__qualname__}"
        refused = TypeError(f"The return value of {name} {problem}: {error}")
        coroutine = next((each for each in values if isinstance(each, CoroutineType)), None)
        if coroutine is not None:
            coroutine.close()  # the error replaces Python's warning
            refused.add_note(await_it(coroutine))
        ctx = _cv_request.get(None)
        if place := "" if ctx is None else where(ctx.app, self.func):
            refused.add_note(place.strip())
        raise refused from error

    def _as_event(self, adapter: TypeAdapter[Any]) -> Callable[[Any], ServerSentEvent]:
        def event(item: object) -> ServerSentEvent:
            if not isinstance(item, ServerSentEvent):
                item = ServerSentEvent(item)
            elif item.data is None:
                return item
            data = self._json(adapter, item.data).decode()
            return ServerSentEvent(data, item.event, item.id, item.retry, item.comment)

        return event


def _query_of(ctx: RequestContext) -> Any:
    """Return the query string, if only the first value of each name is needed."""
    if ctx.request_or_none is None and ctx.setup.request_class is Request:
        query = ctx.scope.get("query_string", b"")
        if b"%" not in query and b"+" not in query and query.isascii():
            pairs = (part.partition("=") for part in query.decode("ascii").split("&") if part)
            values: dict[str, str] = {}
            for name, _, value in pairs:
                values.setdefault(name, value)
            return values
    return ctx.request.args


def _first(outputs: dict[int, Output]) -> Output:
    """Return the output for a value without a status."""
    return outputs.get(200) or next(iter(outputs.values()))


def _missing(*where: str | int) -> Fault:
    return where, "Field required", "missing"


def _each(source: Any, func: Callable[[Any], Any]) -> Any:
    if isinstance(source, AsyncIterable):
        return _each_async(source, func)
    return _each_sync(source, func)


def _each_sync(source: Iterable[Any], func: Callable[[Any], Any]) -> Iterator[Any]:
    try:
        for item in source:
            yield func(item)
    finally:
        if hasattr(source, "close"):
            source.close()


async def _each_async(
    source: AsyncIterable[Any], func: Callable[[Any], Any]
) -> AsyncIterator[Any]:
    try:
        async for item in source:
            yield func(item)
    finally:
        if hasattr(source, "aclose"):
            await source.aclose()


# -- where values come from -------------------------------------------------------------------


def _from(part: Callable[[Request], MultiDict[str, Any]]) -> Callable[[Request, Input], object]:
    """Return a function that reads an input's raw value from one part of a request, a
    `MultiDict`."""

    def take(request: Request, one: Input) -> object:
        values = part(request)
        if one.members is not None:
            return _all(values, one.members)
        if one.many:
            return values.getlist(one.alias) or MISSING
        return values.get(one.alias, MISSING)

    return take


def _all(values: MultiDict[str, Any], members: dict[str, tuple[str, bool]]) -> dict[str, Any]:
    taken = {}
    for sent in values:
        name, many = members.get(sent, (sent, False))
        taken[name] = values.getlist(sent) if many else values[sent]
    return taken


def _header(request: Request, one: Input) -> object:
    headers = request.headers
    if one.members is not None:
        return {
            name: headers.getlist(sent) if many else headers[sent]
            for sent, (name, many) in one.members.items()
            if sent in headers
        }
    value = headers.get(one.alias, MISSING)
    return [value] if one.many and value is not MISSING else value


def _file(request: Request, one: Input) -> object:
    files = request.files.getlist(one.alias)
    content = [file if one.as_files else file.read() for file in files if file]
    return (content if one.many else content[0]) if content else MISSING


def _form(request: Request) -> Any:
    form = request.form
    return form | request.files if request.files else form


_TAKE: dict[str, Callable[[Request, Input], object]] = {
    "path": lambda request, one: MISSING,
    "given": lambda request, one: MISSING,
    "query": _from(lambda request: request.args),
    "cookie": _from(lambda request: request.cookies),
    "form": _from(_form),
    "header": _header,
    "file": _file,
}


# -- the function that is called --------------------------------------------------------------


def typed(operation: Operation) -> Callable[..., Any]:
    """Return the function of *operation* in the form to register."""
    func = operation.func
    wrapper: Any

    if inspect.isasyncgenfunction(func):

        async def generated(*args: object, **given: object) -> Any:
            return func(*args, **given)

        inner: Callable[..., Any] = generated
    else:
        inner = func

    if is_async(inner):

        @wraps(func)
        async def on_loop(*args: object, **given: object) -> Any:
            ctx = current_request_ctx()
            try:
                with _EXPLAINED:
                    value = await inner(*args, **operation.arguments(ctx, given))
                    return operation.response(ctx, value)
            except InvalidMessage as error:
                await _end(ctx, error)

        wrapper = on_loop
    else:

        @wraps(func)
        def in_thread(*args: object, **given: object) -> Any:
            ctx = current_request_ctx()
            try:
                with _EXPLAINED:
                    value = inner(*args, **operation.arguments(ctx, given))
                    return operation.response(ctx, value)
            except InvalidMessage as error:
                _end(ctx, error)

        wrapper = in_thread
    wrapper.__api__ = operation
    return wrapper  # type: ignore[no-any-return]


class _Explained:
    """Answers errors in its block with problem details."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, HTTPException):
            explain(error)


_EXPLAINED: Final = _Explained()


def _end(ctx: RequestContext, error: InvalidMessage) -> Any:
    if ctx.websocket is None:
        raise error
    return ctx.websocket.close(INVALID_MESSAGE, str(error))


def guard(
    decorator: Callable[..., Any], scheme: SecurityScheme, func: Callable[..., Any]
) -> Callable[..., Any]:
    """Apply *decorator* to *func*, and record that it requires *scheme*."""
    check_is_below(func, f"@{getattr(decorator, '__name__', decorator)}", 1)
    guarded = decorator(func)
    wrapper: Any

    if is_async(guarded):

        @wraps(guarded)
        async def on_loop(*args: object, **given: object) -> Any:
            with _EXPLAINED:
                return await guarded(*args, **given)

        wrapper = on_loop
    else:

        @wraps(guarded)
        def in_thread(*args: object, **given: object) -> Any:
            with _EXPLAINED:
                return guarded(*args, **given)

        wrapper = in_thread
    if hasattr(func, "__api__"):  # even if the decorator does not use `functools.wraps`
        wrapper.__api__ = func.__api__
    wrapper.__api_security__ = (*getattr(func, "__api_security__", ()), scheme)
    return wrapper  # type: ignore[no-any-return]


def check_is_below(func: Callable[..., Any], decorator: str, depth: int) -> None:
    """Raise `TypeError` if *decorator* is written above the one that registers *func*. To call
    it is right, as in ``app.view_functions["index"] = login_required(index)``, so the caller's
    line is read."""
    if not is_decorated_view(func):
        return
    caller = sys._getframe(depth + 1)
    if getline(caller.f_code.co_filename, caller.f_lineno).lstrip().startswith("@"):
        raise TypeError(
            f"'{decorator}' is above the decorator that registers"
            f" {getattr(func, '__name__', func)!r}, such as '@app.get(...)', and would have no"
            f" effect. Write '{decorator}' below that decorator."
        )


def names_within(func: Callable[..., Any], depth: int) -> Mapping[str, Any]:
    """Return the local names where *func* is decorated, if that is inside a function: its
    annotations may use them."""
    if "<locals>" not in getattr(inspect.unwrap(func), "__qualname__", ""):
        return {}
    return dict(sys._getframe(depth + 1).f_locals)


# -- messages ---------------------------------------------------------------------------------


@lru_cache(512)
def _adapter_of(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _message_adapter(kind: Any) -> TypeAdapter[Any]:
    try:
        return _adapter_of(kind)
    except TypeError:  # unhashable
        return TypeAdapter(kind)


def read_message(kind: object, message: str | bytes) -> Any:
    """Return a message as a value of *kind*."""
    try:
        return _message_adapter(kind).validate_json(message)
    except ValidationError as error:
        raise InvalidMessage(error, message) from error


def write_message(kind: object, value: Any) -> str:
    """Return the message for a value of *kind*."""
    adapter = _message_adapter(kind)
    return adapter.dump_json(
        adapter.validate_python(value, from_attributes=True), by_alias=True
    ).decode()


WebSocket.read_as = staticmethod(read_message)  # type: ignore[method-assign]
WebSocket.write_as = staticmethod(write_message)  # type: ignore[method-assign]
