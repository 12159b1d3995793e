"""Which modules may import which, and how long they may be, checked by reading the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "asyncflask"

# Lowest first. A file imports from the rows above its own, never from its own row.
LAYERS = """
asgi._ asgi.head asgi.native asgi.nonblocking asgi.scope asgi.websocket_rules
asgi.loops asgi.pool asgi.servers asgi.stepping
asgi.threads
asgi.waiting
asgi.conversation asgi.inbox asgi.outbox asgi.streams asgi.watchdog
asgi.stalls
asgi.body
asgi.response
asgi.connection asgi.environ asgi.lifespan asgi.events
asgi.websocket asgi.wsgi
asgi.environ_socket asgi.proxy asgi.client
_version typing check config settings formparser lazy matcher blocking
_distribution entry headers routing
mounts
signals alias
teardown
app_context
contexts
ctx
rooms.base rooms.scripts rooms.limits rooms.link
rooms.hub rooms.sync
rooms.memory rooms.redis
rooms._
debughelpers logging
migrate.names migrate.rewriter
migrate.imports migrate.quart migrate.flask migrate.clients
migrate.quart_tests
migrate.passes
migrate._
json.provider
json._ json.orjson
json.tag
responses request_body
wrappers
bodies events sessions
plan
helpers respond urls arrival handlers
views
templating
sansio._ sansio.packages sansio.route_options
sansio.scaffold
sansio.blueprints
sansio.app
dispatch
converse
loop_guard
lifetime steps guarded health
listening livereload debugger
commands
serving cli_routes cli_shell
cli_run
cli
testing async_testing
as_flask
socketio.limits
socketio.server
socketio.events socketio.namespace socketio.test_client
socketio.transport
socketio.core
socketio.functions
socketio._
blueprints around
api.markers api.problems
api.signature
api.operation
api.openapi
api.asyncapi
api.extension
api._
globals
app
_ __main__ pytest_plugin
"""

GLOBALS_IMPORTED_BY = {
    "_": "the public names",
    "app": "the proxies are globals of every template",
}

# By file and function, with the reason why the import cannot be at the top.
IMPORTS_IN_FUNCTIONS: dict[tuple[str, str], str] = {
    ("alias", "find_distributions"): "called by 'importlib.metadata', which takes long to import",
    ("alias", "install_as_flask_if_asked"): "Click is loaded when there are commands",
    ("app", "__init__"): "likewise",
    ("app", "cli"): "likewise",
    ("blueprints", "__get__"): "likewise",
    ("app", "run"): "a server of one's own imports neither the command line nor uvicorn's",
    ("app", "test_client"): "tests only",
    ("app", "test_cli_runner"): "tests only",
    ("app", "test_request_context"): "tests only",
    ("debughelpers", "_in_users_code"): "as '_place'",
    ("debughelpers", "_place"): "'sysconfig' takes long to import, and only errors need it",
    ("json.provider", "_default"): "few apps have decimals in JSON",
    ("lifetime", "_loop_guard"): "not in production, and it takes long to import",
    ("sansio.app", "__get__"): "Jinja is loaded when there are templates",
    ("sansio.app", "create_global_jinja_loader"): "likewise",
    ("sansio.app", "_for_templates"): "likewise",
    ("sansio.scaffold", "jinja_loader"): "likewise",
    ("around", "add_middleware"): "Starlette is loaded when something of it is used",
    ("around", "mount"): "likewise",
    ("around", "health"): "not every app has probes",
    ("mounts", "with_mount"): "likewise",
    ("asgi.websocket_rules", "disconnect_type"): "likewise",
    ("wrappers", "state"): "likewise",
    ("pytest_plugin", "async_client"): "it needs httpx, which other fixtures do not",
    ("migrate._", "_project"): "it needs libcst, which only this command does",
    ("cli_run", "_parse_uvicorn_options"): "extensions import 'cli' for 'with_appcontext'",
    ("cli_run", "parse_args"): "likewise",
    ("cli_run", "run_command"): "likewise",
    ("cli", "as_flask"): "likewise",
    ("serving", "_with_debugger"): "Werkzeug's debugger replaces 'sys.displayhook'",
}

EXTENSIONS = (
    "rooms._",
    "rooms.hub",
    "socketio.core",
    "socketio.events",
    "socketio.server",
    "socketio.test_client",
    "socketio.transport",
)
BELOW_APP = (
    "app_context",
    "api.asyncapi",
    "api.extension",
    "api.openapi",
    "around",
    "arrival",
    "contexts",
    "converse",
    "debughelpers",
    "dispatch",
    "guarded",
    "health",
    "lifetime",
    "logging",
    "loop_guard",
    "plan",
    "respond",
    "teardown",
    "templating",
    "urls",
)
TYPE_CHECKING_IMPORTS = {
    ("migrate._", "migrate.passes"): "loaded by the command, with libcst",
    ("json._", "wrappers"): "what 'jsonify' gives, and requests read their JSON by this module",
    ("_", "events"): "loaded when the name is first used",
    ("_", "templating"): "likewise",
    ("app", "commands"): "Click is loaded when there are commands",
    ("blueprints", "commands"): "likewise",
    ("app", "loop_guard"): "loaded when it is on",
    ("lifetime", "loop_guard"): "likewise",
    ("app", "templating"): "Jinja is loaded when there are templates",
    ("sansio.app", "templating"): "likewise",
    ("app", "testing"): "the test clients are imported by who makes one",
    ("pytest_plugin", "async_testing"): "it needs httpx, which other fixtures do not",
    ("cli_run", "serving"): "imported by the command that serves",
    ("app_context", "ctx"): "what 'g' is",
    ("app_context", "contexts"): "the variable that holds a request context",
    ("contexts", "sessions"): "a context has a session and a request, which ask for the context",
    ("contexts", "wrappers"): "likewise",
    ("json.provider", "app"): "'app: Flask', which has the provider",
    ("sansio.app", "app"): "what the methods of the layers above are part of",
    ("socketio.limits", "app"): "'app: Flask', as in the rest of Socket.IO",
    ("contexts", "plan"): "a context knows its plan, which is made of an app's contexts",
    ("teardown", "contexts"): "a context, which tears itself down by this",
    **{(name, "app"): "'app: Flask', and the app calls them" for name in BELOW_APP},
    ("sessions", "app"): "'app: Flask', as in the signatures of users' subclasses",
    ("testing", "app"): "'app: Flask'; the app makes the clients",
    ("socketio.core", "testing"): "the test clients are imported by who makes one",
    ("socketio.test_client", "testing"): "likewise",
    **{
        (name, "app"): "'app: Flask', of which rooms and Socket.IO are extensions"
        for name in EXTENSIONS
    },
    ("globals", "app"): "'current_app: Flask', and the app gives the proxies to its templates",
}


def module_of(path: Path) -> str:
    """The name of a file in `LAYERS`; `_` stands for `__init__`."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join("_" if part == "__init__" else part for part in parts)


STATEMENTS = (ast.Import, ast.ImportFrom)
FILES = {module_of(path): path for path in SRC.rglob("*.py")}
ROW = {name: row for row, names in enumerate(LAYERS.strip().split("\n")) for name in names.split()}


@pytest.fixture(scope="module", autouse=True)
def forget_the_trees() -> Iterator[None]:
    """Or every later search for garbage goes through them."""
    yield
    tree_of.cache_clear()


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text("utf-8"))


def named(dotted: str) -> str | None:
    """The file of a dotted name below the package; `None` for a name in a file."""
    package = f"{dotted}._" if dotted else "_"
    return dotted if dotted in FILES else package if package in FILES else None


def imported(module: str, node: ast.AST) -> Iterator[str]:
    """The files of this package that an import statement names."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.partition(".")[0] == "asyncflask":
                yield named(alias.name.partition(".")[2]) or alias.name
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            parts = module.split(".")
            base = ".".join([*parts[: len(parts) - node.level], *filter(None, [node.module])])
        elif (node.module or "").partition(".")[0] == "asyncflask":
            base = (node.module or "").partition(".")[2]
        else:
            return
        for alias in node.names:
            submodule = named(f"{base}.{alias.name}" if base else alias.name)
            yield submodule or named(base) or base


def type_checking_blocks(tree: ast.AST) -> Iterator[ast.stmt]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from node.body


def imports(module: str) -> set[str]:
    """What *module* imports when it is run, wherever the statement stands."""
    tree = tree_of(module)
    unseen = {n for stmt in type_checking_blocks(tree) for n in ast.walk(stmt)}
    nodes = (node for node in ast.walk(tree) if node not in unseen)
    return {name for node in nodes for name in imported(module, node)}


def test_every_file_has_its_layer() -> None:
    assert sorted(ROW) == sorted(FILES)


def test_this_test_sees_imports() -> None:
    assert imports("ctx") == {"app_context", "asgi.threads", "contexts"}
    assert "json._" in imports("wrappers")  # from . import json
    assert {"ctx", "sansio.blueprints", "typing"} <= imports("sansio.app")
    assert "globals" in imports("_")


@pytest.mark.parametrize("module", sorted(FILES))
def test_imports_go_down(module: str) -> None:
    # Which leaves no room for a cycle: in one, some import goes up or stays in its row.
    wrong = {name for name in imports(module) if ROW[name] >= ROW[module]}
    assert not wrong, f"{module} imports {wrong}, which are not below it"


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith("asgi.")])
def test_asgi_knows_nothing_of_flask(module: str) -> None:
    assert all(name.startswith("asgi.") for name in imports(module))


def test_proxies_are_for_users() -> None:
    importing = {module for module in FILES if "globals" in imports(module)}
    assert importing == set(GLOBALS_IMPORTED_BY)


def test_imports_are_at_the_top() -> None:
    found = set()
    for module in FILES:
        for node in ast.walk(tree_of(module)):
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and any(isinstance(n, STATEMENTS) for n in ast.walk(node)):
                found.add((module, getattr(node, "name", "")))
    assert found == set(IMPORTS_IN_FUNCTIONS)


def test_imports_for_type_checkers_only() -> None:
    found = {
        (module, name)
        for module in FILES
        for stmt in type_checking_blocks(tree_of(module))
        for name in imported(module, stmt)
    }
    assert found == set(TYPE_CHECKING_IMPORTS)


def test_files_and_functions_are_short() -> None:
    """At most 600 lines in a file and 60 in a function: one that is longer has two subjects."""
    long = []
    for path in sorted(SRC.rglob("*.py")):
        source = path.read_text("utf-8")
        if source.count("\n") > 600:
            long.append(path.name)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno >= 60:
                    long.append(f"{path.name}: {node.name}")
    assert long == []
