"""Errors in a request, a message or a response, and how clients are told: as problem details
(RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, NotRequired
from weakref import ref

from pydantic import ValidationError
from typing_extensions import TypedDict
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.wrappers import Response

PROBLEM_JSON: Final = "application/problem+json"

INVALID_MESSAGE: Final = 1007
"""The close code for an invalid WebSocket message (RFC 6455 section 7.4.1)."""

Where = tuple[str | int, ...]
Fault = tuple[Where, str, str]
"""Where the fault is, starting with the part of the request; what is wrong; and pydantic's name
for the error."""


Invalid = TypedDict("Invalid", {"in": str, "pointer": str, "detail": str, "type": str})
Invalid.__doc__ = """An invalid value: the part of the request, the position there (a JSON pointer,
RFC 6901), and what is wrong with it."""


class Problem(TypedDict):
    """The body of an error response (RFC 9457)."""

    title: str
    status: int
    detail: NotRequired[str]
    errors: NotRequired[list[Invalid]]


def faults_of(error: ValidationError, *where: str | int) -> Iterable[Fault]:
    """Yield pydantic's errors, without the values: one may be a password."""
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        yield (*where, *found["loc"]), found["msg"], found["type"]


def faults_in_json(error: ValidationError, content: str | bytes) -> Iterable[Fault]:
    """Yield pydantic's errors in a JSON body. pydantic's locations include the union member it
    tried, which does not belong into a JSON pointer."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):  # that is the error
        value = None
    for where, detail, kind in faults_of(error):
        yield ("body", *_within(value, where, kind == "missing")), detail, kind


def _within(value: Any, where: Where, missing: bool) -> Iterable[str | int]:
    """Yield the parts of *where* that lead into *value*, and the last part if that is
    *missing*."""
    for number, part in enumerate(where, 1):
        if isinstance(value, dict | list) and part in (
            value if isinstance(value, dict) else range(len(value))
        ):
            value = value[part]  # type: ignore[index]
            yield part
        elif missing and number == len(where):
            yield part


def pointer(where: Where) -> str:
    """Return a JSON pointer as a URL fragment (RFC 6901 section 6)."""
    return "#" + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in where)


class InvalidRequest(HTTPException):
    """Raised if a request does not match the view's annotations. `faults` lists the errors. To
    answer in another form, register an error handler for it."""

    def __init__(self, status: int, faults: list[Fault]) -> None:
        count = "One value is" if len(faults) == 1 else f"{len(faults)} values are"
        super().__init__(f"{count} not valid.")
        self.code = status
        self.faults = faults


class InvalidMessage(ValueError):
    """Raised by `receive_as` for an invalid message. If a typed handler does not catch it, the
    connection is closed with code 1007."""

    def __init__(self, error: ValidationError, message: str | bytes) -> None:
        where, detail, _ = next(iter(faults_in_json(error, message)))
        super().__init__(f"{pointer(where[1:])}: {detail}" if where[1:] else detail)


def details_of(error: HTTPException) -> Problem:
    """Return *error* as problem details."""
    status = error.code or 500
    details: Problem = {"title": HTTP_STATUS_CODES.get(status, "Error"), "status": status}
    if error.description:
        details["detail"] = error.description
    if isinstance(error, InvalidRequest):
        details["errors"] = [
            {"in": str(where[0]), "pointer": pointer(where[1:]), "detail": detail, "type": kind}
            for where, detail, kind in error.faults
        ]
    return details


def problem(error: HTTPException) -> Response | HTTPException:
    """Answer an error with problem details. Use it as an error handler for all errors of an
    app, not only those in typed views: ``app.register_error_handler(HTTPException, problem)``."""
    if error.response is not None or not (error.code or 0) >= 400:
        return error  # already a response, or a redirect
    explain(error)
    return error.get_response()


def explain(error: HTTPException) -> None:
    """Answer *error* with problem details if no error handler handles it."""
    if error.response is None and (error.code or 0) >= 400:
        headers = [line for line in error.get_headers() if line[0].lower() != "content-type"]
        changed: Any = error
        this: Any = ref(error)  # weak: a cycle would keep all frames of its traceback
        changed.get_headers = lambda *args: [*headers, ("Content-Type", PROBLEM_JSON)]
        changed.get_body = lambda *args: json.dumps(details_of(this()))
