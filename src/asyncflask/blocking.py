"""Finding out what blocks an event loop from its stack: the user's line, the call in it, and
what to write instead. `asgi/watchdog.py` decides when to look at a stack; `loop_guard.py` knows
the app's views and hooks."""

from __future__ import annotations

import ast
import linecache
import os
import site
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from types import CodeType, FrameType, ModuleType
from typing import Any, Final, NamedTuple

_HERE: Final = os.path.dirname(os.path.abspath(__file__))

_LIBRARIES: Final = tuple(
    f"{folder}{os.sep}"
    for folder in {
        _HERE,
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *getattr(site, "getsitepackages", list)(),
        site.getusersitepackages() if site.ENABLE_USER_SITE else _HERE,
    }
)

_IMPORTS: Final = ("<frozen importlib", "<frozen runpy", "<frozen zipimport")

_DEBUGGERS: Final = frozenset(
    ("pdb", "bdb", "code", "IPython", "ipdb", "pudb", "debugpy", "pydevd", "_pydevd_bundle")
)
"""Modules whose frames indicate a breakpoint."""

_LONGEST: Final = 80
"""The maximum length of source in a log line."""


class Line(NamedTuple):
    """A line of the user's code."""

    file: str
    number: int
    function: str
    instruction: int = 0
    """The instruction in the line, as an index into the function's."""


class Call(NamedTuple):
    """The call in the line: its source, and the full names of what is called and what that
    calls, outermost first."""

    source: str
    names: tuple[str, ...]


# -- whose code --------------------------------------------------------------------------------


def waits_on_purpose(frames: Iterable[FrameType]) -> bool:
    """Return `True` if code is being imported or stopped at a breakpoint."""
    return any(
        frame.f_code.co_filename.startswith(_IMPORTS) or _package(frame) in _DEBUGGERS
        for frame in frames
    )


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def is_users(code: CodeType, root: str) -> bool:
    """Return `True` for code of the user's app, in the folder *root*, rather than of a library.
    An app may be installed where libraries are."""
    file = code.co_filename
    if file.startswith("<"):
        return False
    for folder in _LIBRARIES:
        if file.startswith(folder) and not (root.startswith(folder) and file.startswith(root)):
            return False
    return True


def innermost(frames: Sequence[FrameType], root: str) -> int | None:
    """Return the index of the innermost frame of the user's code."""
    for index in range(len(frames) - 1, -1, -1):
        if is_users(frames[index].f_code, root):
            return index
    return None


def line_of(frame: FrameType) -> Line:
    """Return the line of *frame*; in a template, the template's line."""
    number = frame.f_lineno
    template = frame.f_globals.get("__jinja_template__")
    if template is not None:
        number = template.get_corresponding_lineno(number)
    return Line(frame.f_code.co_filename, number, frame.f_code.co_qualname, frame.f_lasti // 2)


def shown(line: Line) -> str:
    """Return the line in the form that editors and terminals recognize."""
    file = line.file
    here = os.getcwd() + os.sep
    return f"{file.removeprefix(here)}:{line.number}"


# -- what is called ----------------------------------------------------------------------------


def call_in(frames: Sequence[FrameType], index: int, line: Line) -> Call:
    """Return what the user's frame, *frames[index]*, calls in *line*."""
    frame = frames[index]
    expression = _expression(frame, line)
    names = [*_names(expression, frame), *modules_of(frames[index + 1 :])]
    if expression is not None and index == len(frames) - 1:
        # A call that held the interpreter is seen after it returned, in the call around it.
        names += [each for inner in _calls_in(expression) for each in _names(inner, frame)]
    if isinstance(expression, ast.Call):
        source = ast.unparse(expression)
    else:
        source = linecache.getline(line.file, line.number, frame.f_globals).strip()
    if len(source) > _LONGEST:
        source = f"{source[:_LONGEST].rstrip()} ..."
    return Call(source, tuple(names))


def modules_of(frames: Iterable[FrameType]) -> Iterator[str]:
    """Yield the full names of the running functions."""
    for frame in frames:
        yield f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_qualname}"


def _expression(frame: FrameType, line: Line) -> ast.expr | None:
    """Return the expression being evaluated, without the rest of the line; for a `with`
    statement, what it enters."""
    positions = list(frame.f_code.co_positions())
    if line.instruction >= len(positions) or "__jinja_template__" in frame.f_globals:
        return None
    first, last, start, end = positions[line.instruction]
    lines = linecache.getlines(line.file, frame.f_globals)
    if first is None or last is None or last > len(lines):
        return None
    part = [text.encode() for text in lines[first - 1 : last]]  # columns count bytes
    part[-1] = part[-1][:end]
    part[0] = part[0][start:]
    source = b"".join(part).decode(errors="replace").strip()
    try:
        if source.startswith(("with ", "async with ")):
            source = source.partition("\n")[0].partition("#")[0].strip()
            return ast.parse(f"{source} pass").body[0].items[0].context_expr  # type: ignore[attr-defined, no-any-return]
        return ast.parse(f"({source})", mode="eval").body
    except (SyntaxError, ValueError, AttributeError):  # the file has changed
        return _first_call(linecache.getline(line.file, line.number).strip())


def _calls_in(expression: ast.expr) -> Iterator[ast.Call]:
    for node in ast.walk(expression):
        if isinstance(node, ast.Call) and node is not expression:
            yield node


def _first_call(source: str) -> ast.Call | None:
    try:
        nodes = ast.walk(ast.parse(source))
    except (SyntaxError, ValueError):
        return None
    return next((node for node in nodes if isinstance(node, ast.Call)), None)


def _names(node: ast.expr | None, frame: FrameType) -> Iterator[str]:
    """Yield the full names of what *node* calls, and of the type whose method that is. Calls
    none of the user's code to find out, so properties and proxies remain unknown."""
    if isinstance(node, ast.Call):
        node = node.func
    if node is None:
        return
    yield from _full_names(_value(node, frame))
    if isinstance(node, ast.Attribute):
        owner = _value(node.value, frame)
        if owner is not None and not isinstance(owner, ModuleType):
            yield f"{type(owner).__module__}.{type(owner).__qualname__}.{node.attr}"


def _full_names(value: object) -> Iterator[str]:
    if value is None or isinstance(value, ModuleType):
        return
    own = value if hasattr(type(value), "__qualname__") and _is_function(value) else type(value)
    module = getattr(own, "__module__", None) or type(getattr(own, "__self__", None)).__module__
    yield f"{module}.{getattr(own, '__qualname__', '')}"


def _is_function(value: object) -> bool:
    return isinstance(value, type) or type(value).__name__ in (
        "function",
        "method",
        "builtin_function_or_method",
        "method_descriptor",
    )


def _value(node: ast.expr, frame: FrameType) -> Any:
    if isinstance(node, ast.Name):
        for names in (frame.f_locals, frame.f_globals, frame.f_builtins):
            if node.id in names:
                return names[node.id]
    elif isinstance(node, ast.Attribute):
        owner = _value(node.value, frame)
        if isinstance(owner, ModuleType):
            return vars(owner).get(node.attr)
        try:
            return object.__getattribute__(owner, "__dict__").get(node.attr)
        except (AttributeError, TypeError):
            return None
    return None


# -- what to write instead ---------------------------------------------------------------------

_SLEEP: Final = "Write 'await asyncio.sleep(...)'"
_HTTP: Final = (
    "Write 'await client.get(...)' with an httpx.AsyncClient, or 'await run_sync({call}, ...)'"
)
_DATABASE: Final = "Write 'await run_sync({call}, ...)', or use an async driver"
_JSON: Final = (
    "A thread does not help, since serializing JSON holds the interpreter lock: send less,"
    " stream it in parts, or serialize it in another process"
    " (concurrent.futures.ProcessPoolExecutor)"
)
_LOCK: Final = "Use asyncio's lock, event or queue, and await it"
_FUTURE: Final = "Write 'await asyncio.wrap_future(future)'"
_PROCESS: Final = (
    "Write 'await asyncio.create_subprocess_exec(...)', or 'await run_sync({call}, ...)'"
)
_SOCKET: Final = "Write 'await asyncio.open_connection(...)', or 'await run_sync({call}, ...)'"
_WORK: Final = (
    "Write 'await run_sync({call}, ...)'; for long computations, use another process"
    " (concurrent.futures.ProcessPoolExecutor)"
)
_OTHER: Final = "Write 'await run_sync({call}, ...)'"

_ADVICE: Final = {
    "time.sleep": _SLEEP,
    **dict.fromkeys(("requests", "urllib", "urllib3", "http", "httplib2", "httpx"), _HTTP),
    **dict.fromkeys(("psycopg", "psycopg2", "sqlite3", "MySQLdb", "pymysql", "mysql"), _DATABASE),
    **dict.fromkeys(("sqlalchemy", "flask_sqlalchemy", "peewee", "pymongo", "redis"), _DATABASE),
    **dict.fromkeys(("json", "orjson", "simplejson", "ujson", "asyncflask.json"), _JSON),
    **dict.fromkeys(("_thread", "threading", "queue", "_queue", "multiprocessing"), _LOCK),
    "concurrent.futures": _FUTURE,
    **dict.fromkeys(("subprocess", "os.system", "posix.system", "posix.waitpid"), _PROCESS),
    **dict.fromkeys(("socket", "_socket", "ssl", "_ssl", "select", "selectors"), _SOCKET),
}
"""Advice by module, or by function in it."""

_NO_HELP: Final = (_JSON,)
"""Cases in which a sync view would block the loop too."""


def advice(call: Call, busy: bool) -> str:
    """Return what to write instead of *call*. The library nearest to the user's line decides.
    *busy*: the thread mostly computed."""
    for name in call.names:
        text = next((_ADVICE[part] for part in _prefixes(name) if part in _ADVICE), None)
        if text is not None:
            break
    else:
        text = _WORK if busy else _OTHER
    text = text.replace("{call}", _called(call.source))
    if text in _NO_HELP:
        return f"{text}."
    return f"{text}; or make the function 'def': then it runs on a thread."


def _prefixes(name: str) -> Iterator[str]:
    """Yield ``a.b.c``, ``a.b``, ``a``."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _called(source: str) -> str:
    """Return the called function in a form that can be passed to another call."""
    function, bracket, _ = source.partition("(")
    is_name = all(part.isidentifier() for part in function.split("."))
    return function if bracket and is_name else "func"
