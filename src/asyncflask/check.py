"""The command ``asyncflask check``: reports what to change in a Flask or Quart project, by
reading its sources. Runs nothing of the project."""

from __future__ import annotations

import ast
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import click

TESTED: Final = {
    "apiflask": "APIFlask",
    "ddtrace": "ddtrace",
    "elasticapm": "elastic-apm",
    "flask_admin": "Flask-Admin",
    "flask_babel": "Flask-Babel",
    "flask_bootstrap": "Bootstrap-Flask",
    "flask_caching": "Flask-Caching",
    "flask_classful": "Flask-Classful",
    "flask_compress": "Flask-Compress",
    "flask_cors": "Flask-CORS",
    "flask_debugtoolbar": "Flask-DebugToolbar",
    "flask_httpauth": "Flask-HTTPAuth",
    "flask_jwt_extended": "Flask-JWT-Extended",
    "flask_limiter": "Flask-Limiter",
    "flask_login": "Flask-Login",
    "flask_mail": "Flask-Mail",
    "flask_marshmallow": "Flask-Marshmallow",
    "flask_migrate": "Flask-Migrate",
    "flask_restful": "Flask-RESTful",
    "flask_restx": "Flask-RESTX",
    "flask_security": "Flask-Security",
    "flask_session": "Flask-Session",
    "flask_smorest": "Flask-Smorest",
    "flask_sock": "Flask-Sock",
    "flask_sqlalchemy": "Flask-SQLAlchemy",
    "flask_talisman": "Flask-Talisman",
    "flask_wtf": "Flask-WTF",
    "functions_framework": "functions-framework",
    "newrelic": "newrelic",
    "opentelemetry.instrumentation.asgi": "opentelemetry-instrumentation-asgi",
    "opentelemetry.instrumentation.flask": "opentelemetry-instrumentation-flask",
    "prometheus_flask_exporter": "prometheus-flask-exporter",
    "scout_apm": "scout-apm",
    "sentry_sdk": "sentry-sdk",
}
"""Extensions and libraries whose own tests pass, by module; see `docs/extensions.rst`."""

REPLACED: Final = {
    "flask_socketio": "Replace it: 'from asyncflask.socketio import ...' has the same API.",
    "flask_sockets": "Replace it: write '@app.websocket(...)'.",
    "flask_uwsgi_websocket": "Replace it: write '@app.websocket(...)'.",
    "flask_sse": "Replace it: return an 'asyncflask.EventStream'.",
    "quart_auth": "Replace it: Flask-Login works in async views.",
    "quart_cors": "Replace it: Flask-CORS does the same.",
    "quart_db": "Replace it: create the pool in a '@app.while_serving' function.",
    "quart_flask_patch": "Remove it: extensions made for Flask need no patch.",
    "quart_rate_limiter": "Replace it: Flask-Limiter does the same.",
    "quart_schema": "Replace it: see 'asyncflask.api', or use APIFlask.",
    "quart_trio": "It cannot be replaced: asyncflask runs on asyncio.",
    "eventlet": "Remove it: asyncflask runs on asyncio and needs no patched sockets.",
}
"""What to do about modules that do not work as they are."""

BLOCKING: Final = {
    "time.sleep": "await asyncio.sleep(...)",
    "requests": "httpx.AsyncClient, or 'await run_sync(requests.get, ...)'",
    "urllib.request.urlopen": "httpx.AsyncClient",
    "subprocess.run": "await asyncio.create_subprocess_exec(...)",
    "subprocess.call": "await asyncio.create_subprocess_exec(...)",
    "subprocess.check_call": "await asyncio.create_subprocess_exec(...)",
    "subprocess.check_output": "await asyncio.create_subprocess_exec(...)",
    "os.system": "await asyncio.create_subprocess_shell(...)",
    "sqlite3.connect": "aiosqlite, or a 'def' view",
    "psycopg.connect": "await psycopg.AsyncConnection.connect(...)",
    "psycopg2.connect": "psycopg.AsyncConnection or asyncpg, or a 'def' view",
    "pymysql.connect": "an async driver, or a 'def' view",
    "MySQLdb.connect": "an async driver, or a 'def' view",
    "pymongo.MongoClient": "pymongo.AsyncMongoClient",
    "redis.Redis": "redis.asyncio.Redis",
    "redis.from_url": "redis.asyncio.from_url",
    "smtplib.SMTP": "aiosmtplib, or '@app.add_background_task'",
    "input": "nothing, since a server has no terminal",
}
"""Calls that block, and what to write instead in async code."""

SKIPPED: Final = frozenset({"node_modules", "site-packages", "__pycache__", "build", "dist"})
"""Folders that are skipped, in addition to those that begin with a dot."""

_FRAMEWORKS: Final = frozenset({"flask", "quart", "asyncflask"})
_APPS: Final = frozenset({"flask.Flask", "flask.app.Flask", "quart.Quart", "asyncflask.Flask"})


class Finding(NamedTuple):
    """Something to change in a line."""

    path: Path
    line: int
    text: str


class Project:
    """What the sources of a project contain."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.frameworks: set[str] = set()
        self.extensions: dict[str, tuple[Path, int]] = {}
        """The place of each extension's first import, by module."""
        self.installs = False
        """`True` if `install_as_flask` is called."""
        self.files = 0

    def read(self, path: Path) -> None:
        """Read a file. A file that is not valid Python is a finding too."""
        self.files += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(path.read_bytes(), path)
            _Reader(self, path).visit(tree)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None) or 1
            self.findings.append(Finding(path, line, f"It cannot be read: {error}."))

    def of_extensions(self) -> Iterator[tuple[str, str]]:
        """Yield each extension and what is known about it."""
        for module in sorted(self.extensions):
            if module in REPLACED:
                yield module, REPLACED[module]
            elif module in TESTED:
                yield module, f"Tested: the tests of {TESTED[module]} pass."
            else:
                yield module, "Unknown: run your tests with 'pytest -p asyncflask.as_flask'."

    def advice(self) -> Iterator[str]:
        """Yield advice on what to do next."""
        uses = [module for module in self.extensions if module not in REPLACED]
        if "quart" in self.frameworks:
            yield "From Quart: see 'Coming from Quart' in the documentation."
        if "flask" in self.frameworks:
            yield (
                "To run it unchanged: asyncflask --as-flask --app MODULE run. To test it:"
                " pytest -p asyncflask.as_flask"
            )
        if uses and "asyncflask" in self.frameworks and not self.installs:
            yield (
                "Extensions import 'flask'. To give them asyncflask, write this above the"
                " first one's import: from asyncflask import install_as_flask;"
                " install_as_flask()"
            )


class _Reader(ast.NodeVisitor):
    """Reads one file."""

    def __init__(self, project: Project, path: Path) -> None:
        self.project = project
        self.path = path
        self.names: dict[str, str] = {}
        """The full names behind imported names."""
        self.in_async = False
        self.awaited: set[ast.AST] = set()
        self.apps: set[str] = set()
        """The variables that contain an app."""

    def found(self, node: ast.AST, text: str) -> None:
        self.project.findings.append(Finding(self.path, getattr(node, "lineno", 1), text))

    # -- imports

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            self.names[alias.asname or top] = alias.name if alias.asname else top
            self.imported(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or node.module is None:
            return
        for alias in node.names:
            self.names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        self.imported(node, node.module)

    def imported(self, node: ast.AST, module: str) -> None:
        top = module.partition(".")[0]
        if top in _FRAMEWORKS:
            self.project.frameworks.add(top)
            return
        name = extension_of(module)
        if name is not None:
            if name not in self.project.extensions:
                self.project.extensions[name] = self.path, getattr(node, "lineno", 1)
            if name in REPLACED:
                self.found(node, f"{name}: {REPLACED[name]}")

    def name_of(self, node: ast.AST) -> str:
        """Return the full name behind an expression, as far as imports tell."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self.names.get(node.id, node.id), *reversed(parts)])

    # -- functions and calls

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.function(node, in_async=False)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """A command runs alone: what blocks its loop makes nobody wait."""
        decorators = {self._last_name(decorator) for decorator in node.decorator_list}
        self.function(node, in_async=not decorators & _FOR_COMMANDS)

    @staticmethod
    def _last_name(decorator: ast.expr) -> str:
        if isinstance(decorator, ast.Call):
            decorator = decorator.func
        return str(getattr(decorator, "attr", None) or getattr(decorator, "id", ""))

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.function(node, in_async=False)  # such as in `run_sync(lambda: ...)`

    def function(self, node: ast.AST, in_async: bool) -> None:
        before, self.in_async = self.in_async, in_async
        self.generic_visit(node)
        self.in_async = before

    def visit_Call(self, node: ast.Call) -> None:
        name = self.name_of(node.func)
        if name.endswith("install_as_flask"):
            self.project.installs = True
        if name in ("gevent.monkey.patch_all", "monkey.patch_all"):
            self.found(
                node,
                "gevent: works under WSGI servers only. For an ASGI server, remove the patch.",
            )
        if self.in_async and node not in self.awaited:
            self.called_on_the_loop(node, name)
        self.generic_visit(node)

    def called_on_the_loop(self, node: ast.Call, name: str) -> None:
        for blocking, instead in BLOCKING.items():
            if name == blocking or name.startswith(f"{blocking}."):
                self.found(
                    node, f"'{name}(...)' blocks the event loop in async code. Write: {instead}."
                )
        top, _, rest = name.partition(".")
        if (
            top not in _FRAMEWORKS
            and f".{rest}".rpartition(".")[0].endswith(".session")
            and (rest.rpartition(".")[2] in _QUERIES)
        ):
            self.found(
                node,
                f"'{name}(...)' blocks the event loop in async code. Write a 'def' view, or"
                f" 'await run_sync({name}, ...)'.",
            )

    # -- apps

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if any(self.name_of(base) in _APPS for base in node.bases):
            for item in node.body:
                if getattr(item, "name", None) == "__call__":
                    self.found(
                        item,
                        "'__call__' with WSGI's two arguments runs for requests, but not for"
                        " WebSockets. Use 'add_middleware', or override 'wsgi_app'.",
                    )
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        value = node.value
        if isinstance(value, ast.Call):
            if self.name_of(value.func) in _APPS:
                self.apps.update(names)
            wrapped = [arg.id for arg in value.args if isinstance(arg, ast.Name)]
            for name in {*names} & self.apps & {*wrapped}:
                middleware = ast.unparse(value.func)
                self.found(
                    node,
                    f"After this line '{name}' is the middleware, not the app. Write:"
                    f" {name}.wsgi_app = {middleware}({name}.wsgi_app)",
                )
        self.generic_visit(node)

    def visit_Await(self, node: ast.Await) -> None:
        value = node.value
        self.awaited.add(value)
        name = self.name_of(value.func if isinstance(value, ast.Call) else value)
        module, _, attribute = name.rpartition(".")
        if (module == "quart.request" and attribute in _VALUES) or name in _QUARTS_COROUTINES:
            said = name.removeprefix("quart.")
            self.found(node, f"Remove 'await': '{said}' is a value, or returns one.")
        self.generic_visit(node)


_FOR_COMMANDS: Final = frozenset({"command", "with_appcontext"})
"""The last names of the decorators that make a function a command."""

_QUERIES: Final = frozenset(
    {"add_all", "commit", "delete", "execute", "flush", "get", "merge", "query", "refresh"}
    | {"rollback", "scalar", "scalars"}
)
_VALUES: Final = frozenset({"data", "files", "form", "get_data", "get_json", "json", "values"})
_QUARTS_COROUTINES: Final = frozenset(
    f"quart.{name}"
    for name in (
        "flash",
        "make_response",
        "render_template",
        "render_template_string",
        "send_file",
        "send_from_directory",
        "stream_template",
        "stream_template_string",
    )
)


def extension_of(module: str) -> str | None:
    """Return the extension or library that *module* belongs to, or `None` if it is irrelevant."""
    top = module.partition(".")[0]
    name = next((known for known in TESTED if f"{module}.".startswith(f"{known}.")), top)
    if name in TESTED or name in REPLACED or name.startswith(("flask_", "quart_")):
        return name
    return None


def sources(path: Path) -> Iterator[Path]:
    """Yield the Python files of a project, except those in its environments."""
    if path.is_file():
        yield path
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(
            name
            for name in folders
            if name not in SKIPPED
            and not name.startswith(".")
            and not Path(folder, name, "pyvenv.cfg").exists()
        )
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(".py"))


def check(paths: Iterable[Path]) -> Project:
    """Read the sources of a project."""
    project = Project()
    for path in paths:
        for source in sources(path):
            project.read(source)
    return project


@click.command("check", short_help="Report what to change in a Flask or Quart project.")
@click.argument(
    "paths", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[PATH]..."
)
def check_command(paths: tuple[Path, ...]) -> None:
    """Read a Flask or Quart project and report what works and what to change. Default: the
    project in the current directory. Does not run any of its code. Exits with 1 if there is
    something to change."""
    project = check(paths or (Path(),))
    for path, line, text in sorted(project.findings):
        click.echo(f"{path}:{line}: {text}")
    if project.findings:
        click.echo()
    if extensions := list(project.of_extensions()):
        click.echo("Extensions")
        width = max(len(name) for name, _ in extensions)
        for name, known in extensions:
            click.echo(f"  {name:{width}}  {known}")
        click.echo()
    for advice in project.advice():
        click.echo(advice)
    uses = ", ".join(sorted(project.frameworks)) or "neither Flask nor Quart"
    count = len(project.findings)
    click.echo(f"Read {project.files} files using {uses}. Places to change: {count}.")
    sys.exit(1 if count else 0)
