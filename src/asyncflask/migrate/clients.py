"""How the tests of a project use a test client: with `await`, as Quart's, or without, as Flask's.

In a project that has both, only the former become `AsyncClient`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

VERBS: Final = frozenset({"delete", "get", "head", "options", "patch", "post", "put"})
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES: Final = (*_FUNCTIONS, ast.ClassDef, ast.Module)


class Uses(NamedTuple):
    """The names on which requests are made, such as ``client`` or ``app.test_client()``, and
    whether the response is used at once or is awaited first."""

    sync: set[str]
    awaited: set[str]

    def is_sync(self, name: str) -> bool:
        return name in self.sync and name not in self.awaited


NO_USES: Final = Uses(set(), set())


def uses_by_line(tree: ast.Module) -> dict[int, Uses]:
    """Return the uses in each function and class, by its line. The module's line is 0."""
    scopes = (node for node in ast.walk(tree) if isinstance(node, _SCOPES))
    return {getattr(scope, "lineno", 0): _uses_in(scope) for scope in scopes}


def _uses_in(scope: ast.AST) -> Uses:
    nodes = list(ast.walk(scope))
    parents = {child: node for node in nodes for child in ast.iter_child_nodes(node)}
    awaited = {_name(node.value) for node in nodes if isinstance(node, ast.Await)}
    read = {_name(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    uses = Uses(set(), set())
    for node in nodes:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr in VERBS and (client := _name(node.func.value)):
            is_sync = _is_used_at_once(node, parents, read - awaited)
            (uses.sync if is_sync else uses.awaited).add(client)
    return uses


def _is_used_at_once(call: ast.Call, parents: dict[ast.AST, ast.AST], read: set[str]) -> bool:
    """Return `True` for uses that would be mistakes if *call* returned a coroutine. *read*: the
    variables whose attributes are read without being awaited."""
    parent = parents.get(call)
    if isinstance(parent, ast.Assign):
        return any(_name(target) in read for target in parent.targets)
    if isinstance(parent, ast.AnnAssign):
        return _name(parent.target) in read
    if isinstance(parent, ast.withitem):
        return isinstance(parents.get(parent), ast.With)
    return isinstance(parent, ast.Attribute | ast.Expr)


def _name(node: ast.AST) -> str:
    """Return ``a.b`` as written, or ``a.test_client()``; empty for anything else."""
    inner = node.func if isinstance(node, ast.Call) else node
    if inner is not node and not (isinstance(inner, ast.Attribute) and not node.args):  # type: ignore[attr-defined]
        return ""
    while isinstance(inner, ast.Attribute):
        inner = inner.value
    return ast.unparse(node) if isinstance(inner, ast.Name) else ""


# -- fixtures ---------------------------------------------------------------------------------


class Fixtures:
    """The pytest fixtures of a project that return a test client, and how tests use them."""

    def __init__(self) -> None:
        self._files: dict[str, list[Path]] = {}
        """The file in which each is defined."""
        self._users: list[tuple[Path, str, Uses]] = []
        """The parameters of functions: file, name, and uses in the function."""

    @property
    def names(self) -> set[str]:
        return set(self._files)

    def read(self, path: Path, tree: ast.Module) -> None:
        path = path.absolute()
        for name in client_fixtures(tree):
            self._files.setdefault(name, []).append(path)
        uses = uses_by_line(tree)
        for node in ast.walk(tree):
            if isinstance(node, _FUNCTIONS):
                for arg in (*node.args.args, *node.args.kwonlyargs):
                    self._users.append((path, arg.arg, uses[node.lineno]))

    def sync(self, path: Path) -> set[str]:
        """Return the fixtures in a file whose client no test awaits, but some use."""
        return {name for name in self._in(path) if self._kinds(path, name) == {"sync"}}

    def mixed(self, path: Path) -> set[str]:
        """Return the fixtures in a file whose client some tests await, and others do not."""
        return {name for name in self._in(path) if len(self._kinds(path, name)) > 1}

    def _in(self, path: Path) -> Iterator[str]:
        return (name for name, files in self._files.items() if path.absolute() in files)

    def _kinds(self, path: Path, name: str) -> set[str]:
        kinds = set()
        for user, argument, uses in self._users:
            if argument == name and self._nearest(user, name) == path.absolute():
                kinds |= {"sync"} if name in uses.sync else set()
                kinds |= {"awaited"} if name in uses.awaited else set()
        return kinds

    def _nearest(self, user: Path, name: str) -> Path | None:
        """Return the file whose fixture a test uses: its own, or the nearest ``conftest.py``."""
        files = self._files[name]
        above = [user, *(folder / "conftest.py" for folder in user.parents)]
        return next((file for file in above if file in files), None)


def client_fixtures(tree: ast.Module) -> set[str]:
    """Return the pytest fixtures that return a test client."""
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, _FUNCTIONS)
        and any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)
        and _gives_client(node)
    }


def _gives_client(node: ast.AST) -> bool:
    clients: set[str] = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Assign) and _is_client(child.value):
            clients.update(target.id for target in child.targets if isinstance(target, ast.Name))
        if (
            isinstance(child, ast.withitem)
            and _is_client(child.context_expr)
            and isinstance(child.optional_vars, ast.Name)
        ):
            clients.add(child.optional_vars.id)
    return any(
        isinstance(child, ast.Return | ast.Yield)
        and child.value is not None
        and (_is_client(child.value) or getattr(child.value, "id", None) in clients)
        for child in ast.walk(node)
    )


def _is_client(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "test_client"
    )
