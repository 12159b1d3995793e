"""The `migrate` passes over an app written for Flask: `install_as_flask` for its extensions,
and for Flask-SocketIO, patches of the standard library."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import libcst as cst

from ..check import extension_of
from .rewriter import MARK, Rewriter, name_of, names_used

APPS: Final = frozenset(
    {"flask.Flask", "flask.app.Flask", "quart.Quart", "quart.app.Quart", "asyncflask.Flask"}
)
_INSTALL: Final = "install_as_flask"
_PATCHES: Final = frozenset(
    {"eventlet.monkey_patch", "gevent.monkey.patch_all", "gevent.monkey.patch_socket"}
)
_GREEN: Final = frozenset({"eventlet", "gevent"})
_IGNORED: Final = frozenset({"async_mode", "allow_unsafe_werkzeug"})


class Extensions(Rewriter):
    """Adds `install_as_flask` above the first import that may import an extension, in a module
    that creates an app. *local*: the names of the project's own modules."""

    def __init__(self, packages: Collection[str], local: Collection[str]) -> None:
        super().__init__()
        self.packages = packages
        self.local = local
        self.makes_app = False
        self.installs = False
        self.in_functions = False
        """`True` if an extension is imported in a function."""

    def visit_Call(self, node: cst.Call) -> None:
        self.makes_app = self.makes_app or self.imported(node.func) in APPS
        if name_of(node.func).rpartition(".")[2] == _INSTALL:
            self.installs = True

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        if any(self.imported(base.value) in APPS for base in node.bases):
            self.makes_app = True

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        imports = (i for line in node.body.body for i in _imports_in(line))
        self.in_functions = self.in_functions or any(map(self._is_reason, imports))

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        if self.installs or not self.makes_app:
            return updated_node
        body = list(updated_node.body)
        imports = [(at, list(_imports_in(line))) for at, line in enumerate(body)]
        places = [at for at, of_it in imports if any(map(self._is_reason, of_it))]
        above: Sequence[cst.EmptyLine] = []
        if places:
            place = places[0]
            line: Any = body[place]
            above = line.leading_lines
            body[place] = line.with_changes(leading_lines=[_EMPTY])
        elif self.in_functions:
            place = max((at + 1 for at, of_it in imports if of_it), default=0)
        else:
            return updated_node
        body[place:place] = [
            cst.SimpleStatementLine([_import_install()], leading_lines=above),
            cst.SimpleStatementLine([_call_install()], leading_lines=[_EMPTY]),
        ]
        return updated_node.with_changes(body=body)

    def _is_reason(self, module: str) -> bool:
        if module.startswith(".") or module.partition(".")[0] in self.local:
            return True
        return is_flasks(extension_of(module), self.packages)


_EMPTY: Final = cst.EmptyLine(indent=False)


def _import_install() -> cst.ImportFrom:
    return cst.ImportFrom(cst.Name("asyncflask"), [cst.ImportAlias(cst.Name(_INSTALL))])


def _call_install() -> cst.Expr:
    return cst.Expr(cst.Call(cst.Name(_INSTALL)))


def is_flasks(extension: str | None, packages: Collection[str]) -> bool:
    """Return `True` if the extension imports `flask`. Those in *packages* are replaced."""
    return (
        extension is not None
        and extension not in packages
        and extension != "eventlet"
        and not extension.startswith("quart_")
    )


def _imports_in(line: cst.CSTNode) -> Iterator[str]:
    """Yield the modules that a statement imports, except in functions and classes. A relative
    one begins with a dot."""
    if isinstance(line, cst.ImportFrom):
        yield "." * len(line.relative) + (name_of(line.module) if line.module else "")
    elif isinstance(line, cst.Import):
        yield from (name_of(alias.name) for alias in line.names)
    elif not isinstance(line, cst.FunctionDef | cst.ClassDef | cst.BaseExpression):
        for child in line.children:
            yield from _imports_in(child)


class Patches(Rewriter):
    """Removes patches of eventlet and gevent, and notes which options have no effect."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = False

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine:
        kept = []
        for statement, new in zip(original_node.body, updated_node.body, strict=True):
            value = statement.value if isinstance(statement, cst.Expr) else None
            patch = self.imported(value.func) if isinstance(value, cst.Call) else ""
            if patch in _PATCHES:
                self.note(f"'{patch}()' was removed: asyncio needs no patched sockets.")
                self.taken = True
            else:
                kept.append(new)
        if len(kept) == len(original_node.body):
            return updated_node
        if not kept:
            return updated_node.with_changes(body=[cst.Pass()])
        kept[-1] = kept[-1].with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
        return updated_node.with_changes(body=kept)

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        if not self.taken:
            return updated_node
        used = names_used(updated_node)
        body: list[Any] = []
        above: list[cst.EmptyLine] = []
        for line in updated_node.body:
            if _is_empty(line) or _only_imports_patches(line, used):
                assert isinstance(line, cst.SimpleStatementLine)
                above += line.leading_lines
            elif above and hasattr(line, "leading_lines"):
                body.append(line.with_changes(leading_lines=[*above, *line.leading_lines]))
                above = []
            else:
                body.append(line)
        return updated_node.with_changes(body=body, footer=[*above, *updated_node.footer])

    def visit_Call(self, node: cst.Call) -> None:
        full = self.imported(node.func)
        if full.partition(".")[0] in _GREEN and full not in _PATCHES:
            self.note(f"'{full}' does not work on asyncio's loop.")
        is_socketio = full.rpartition(".")[2] == "SocketIO"
        is_run = isinstance(node.func, cst.Attribute) and node.func.attr.value == "run"
        if is_socketio or is_run:
            for arg in node.args:
                if arg.keyword is not None and arg.keyword.value in _IGNORED:
                    self.note(f"'{arg.keyword.value}' has no effect here: remove it.")


def _is_empty(line: cst.CSTNode) -> bool:
    """Return `True` for the remainder of a removed line."""
    return (
        isinstance(line, cst.SimpleStatementLine)
        and all(isinstance(statement, cst.Pass) for statement in line.body)
        and any(e.comment and e.comment.value.startswith(MARK) for e in line.leading_lines)
    )


def _only_imports_patches(line: cst.CSTNode, used: Collection[str]) -> bool:
    """Return `True` if it imports eventlet or gevent under names that nothing uses."""
    if not isinstance(line, cst.SimpleStatementLine):
        return False
    for statement in line.body:
        if not isinstance(statement, cst.Import | cst.ImportFrom):
            return False
        if isinstance(statement.names, cst.ImportStar):
            return False
        if any(m.partition(".")[0] not in _GREEN for m in _imports_in(statement)):
            return False
        for alias in statement.names:
            name = name_of(alias.asname.name if alias.asname else alias.name)
            if name.partition(".")[0] in used:
                return False
    return True
