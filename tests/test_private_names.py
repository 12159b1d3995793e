"""Names of other projects that asyncflask relies on without a promise: private or undocumented
ones. A release that removes one breaks its line here, not a user's app.

A line: where the name is, the name, and what it is used for.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import engineio  # type: ignore[import-untyped]
import pytest
import socketio  # type: ignore[import-untyped]
import uvicorn.config
import uvicorn.importer
import uvicorn.supervisors
import werkzeug.formparser
import werkzeug.routing
import werkzeug.sansio.http
import werkzeug.sansio.multipart
import werkzeug.sansio.utils
import werkzeug.test
from werkzeug.datastructures import Headers

import asyncflask

URL_MAP = werkzeug.routing.Map([werkzeug.routing.Rule("/<int:id>", endpoint="id")])
RULE = next(URL_MAP.iter_rules())
REQUEST = werkzeug.Request({"wsgi.url_scheme": "http", "REQUEST_METHOD": "GET"})
RESPONSE = werkzeug.Response()
DECODER = werkzeug.sansio.multipart.MultipartDecoder(b"boundary")
CLIENT = werkzeug.test.Client(RESPONSE)
SOCKETIO = socketio.AsyncServer
with mock.patch("signal.signal"):  # it handles them from the start
    PROCESSES = uvicorn.supervisors.Multiprocess(uvicorn.Config("", log_config=None), [])

NAMES: list[tuple[Any, str, str]] = [
    # Routing
    (RULE, "_parts", "what a rule consists of, with the weights by which rules are sorted"),
    (RULE, "_converters", "the converters of a rule's placeholders"),
    # Headers
    (Headers(), "_list", "the header lines are made when they are read, or all at once"),
    (Headers(), "_get_key", "`headers[name]` takes one line and does not make all"),
    # Requests
    (REQUEST, "_parse_content_type", "a type that is parsed when it is read"),
    (REQUEST, "_get_stream_for_parsing", "the parser reads the body that was received"),
    (REQUEST, "_get_file_stream", "uploads go to a temporary file from the size of bodies on"),
    (REQUEST, "_load_form_data", "a form that is parsed on the thread of its request"),
    (werkzeug.sansio.http, "parse_cookie", "the cookies of a header that is decoded already"),
    (werkzeug.sansio.utils, "get_host", "the host without an environ"),
    (werkzeug.sansio.utils, "get_content_length", "the length of a body without an environ"),
    # Forms
    (werkzeug.formparser.FormDataParser, "_parse_urlencoded", "limits of urlencoded forms"),
    (werkzeug.formparser.FormDataParser, "_parse_multipart", "which parser reads the parts"),
    (werkzeug.formparser.MultiPartParser, "start_file_streaming", "where an upload is written"),
    (werkzeug.formparser.MultiPartParser, "get_part_charset", "the encoding of a field"),
    (DECODER, "buffer", "what the decoder holds may be the beginning of a boundary"),
    (DECODER, "state", "whether the decoder is in the middle of a file"),
    # Responses
    (RESPONSE, "_on_close", "what runs when a response was sent"),
    (RESPONSE, "_status", "a status that is set without being parsed"),
    (RESPONSE, "_status_code", "a status that is set without being parsed"),
    # The test client
    (CLIENT, "_cookies", "cookies of WebSockets and event streams; whether there are any"),
    (CLIENT, "_add_cookies_to_wsgi", "cookies of WebSockets and event streams"),
    (CLIENT, "_update_cookies_from_response", "cookies of WebSockets and event streams"),
    # Python
    (asyncio, "_get_running_loop", "whether a loop runs, without an exception"),
    (asyncio.tasks, "_current_tasks", "the current task, without a call for the loop"),
    # uvicorn
    (uvicorn.config, "STARTUP_FAILURE", "the exit code of a server that cannot start"),
    (uvicorn.importer, "ImportFromStringError", "an option that names what there is not"),
    (PROCESSES, "processes", "whether a worker could not start"),
    # python-socketio
    (SOCKETIO, "_handle_eio_connect", "the limit on connections, and the test client"),
    (
        SOCKETIO,
        "_handle_eio_message",
        "events in the context of their connection, the test client",
    ),
    (SOCKETIO, "_handle_eio_disconnect", "a connection's context ends with it"),
    (SOCKETIO, "_handle_event", "events that are answered in their order"),
    (SOCKETIO, "_handle_event_internal", "events that are answered in their order"),
    (engineio.AsyncServer, "_get_socket", "the session id of a client that is gone"),
]

if sys.version_info < (3, 12):
    NAMES.append(
        (asyncio.coroutines, "_is_coroutine", "`asyncio.iscoroutinefunction(app)`, for servers")
    )


@pytest.mark.parametrize(("owner", "name", "purpose"), NAMES, ids=[name for _, name, _ in NAMES])
def test_name_is_there(owner: Any, name: str, purpose: str) -> None:
    assert hasattr(owner, name), f"{name} is gone. It is relied on for: {purpose}."


@pytest.mark.parametrize("name", sorted({name for _, name, _ in NAMES}))
def test_name_is_used(name: str) -> None:
    assert name in words(), f"{name} is no longer used: remove its line."


@cache
def words() -> frozenset[str]:
    return frozenset(word for text in sources() for word in re.findall(r"\w+", text))


def sources() -> Iterator[str]:
    [folder] = asyncflask.__path__
    return (file.read_text() for file in Path(folder).rglob("*.py"))
