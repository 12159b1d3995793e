"""What the `migrate` passes share: full names, and notes in the source.

A pass is a libcst transformer. A note is a comment above the statement it is about, so it stays
in the project until somebody has dealt with it. A note that already exists is not repeated.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile
from typing import Any, ClassVar, Final, TypeVar

import libcst as cst
from libcst.helpers import get_full_name_for_node
from libcst.metadata import (
    MetadataWrapper,
    QualifiedName,
    QualifiedNameProvider,
    QualifiedNameSource,
)
from libcst.metadata.base_provider import ProviderT

MARK: Final = "# asyncflask: "

N = TypeVar("N", bound=cst.CSTNode)

STATEMENTS: Final = (
    cst.SimpleStatementLine,
    cst.FunctionDef,
    cst.ClassDef,
    cst.If,
    cst.For,
    cst.While,
    cst.With,
    cst.Try,
    cst.TryStar,
    cst.Match,
)


class Rewriter(cst.CSTTransformer):
    """A pass over a module."""

    METADATA_DEPENDENCIES: ClassVar[Collection[ProviderT]] = (QualifiedNameProvider,)

    def __init__(self) -> None:
        super().__init__()
        self._statements: list[cst.CSTNode] = []
        self._notes: dict[cst.CSTNode, list[str]] = {}
        self._at_the_top: list[str] = []
        self._header: Sequence[cst.EmptyLine] = ()
        self._first: cst.CSTNode | None = None
        """Comments above the first statement are the module's, not the statement's."""
        self.no_reference: set[cst.CSTNode] = set()
        """Names of attributes and arguments, which are not variables."""
        self.imports: list[tuple[str, str]] = []
        """The imports to add: module and name."""

    def run(self, module: cst.Module) -> cst.Module:
        """Return the module after this pass."""
        wrapper = MetadataWrapper(module)
        self._header = wrapper.module.header
        self._first = next(iter(wrapper.module.body), None)
        result = wrapper.visit(self)
        if self._at_the_top:
            new = _new_notes(result.header, self._at_the_top)
            result = result.with_changes(header=[*result.header, *new])
        return add_imports(result, self.imports)

    # -- names

    def imported(self, node: cst.CSTNode) -> str:
        """Return the full name behind a name or attribute, if it was imported."""
        if not is_name(node):
            return ""
        names: Iterable[QualifiedName] = self.get_metadata(QualifiedNameProvider, node, ())
        for name in names:
            if name.source is QualifiedNameSource.IMPORT:
                return name.name
        return ""

    # -- notes

    def note(self, text: str) -> None:
        """Add a note above the statement being visited."""
        if self._statements:
            self._notes.setdefault(self._statements[-1], []).append(text)
        else:
            self._at_the_top.append(text)

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, STATEMENTS):
            self._statements.append(node)
        elif isinstance(node, cst.Attribute):
            self.no_reference.add(node.attr)
        elif isinstance(node, cst.Arg) and node.keyword is not None:
            self.no_reference.add(node.keyword)
        return super().on_visit(node)

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        result: Any = super().on_leave(original_node, updated_node)
        if not isinstance(original_node, STATEMENTS):
            return result
        self._statements.pop()
        notes = self._notes.pop(original_node, [])
        if not notes:
            return result
        header = self._header if original_node is self._first else ()
        if isinstance(result, cst.FlattenSentinel):
            first, *others = result
            return cst.FlattenSentinel([_noted(first, header, notes), *others])
        return _noted(result, header, notes)


class Tracker(Rewriter):
    """A pass that tracks what variables contain."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: list[dict[str, str]] = [{}]
        """What each variable contains, by scope and name."""

    def kind(self, node: cst.BaseExpression) -> str:
        """Return what the value of an expression is, if that can be determined."""
        raise NotImplementedError

    def keep(self, target: cst.CSTNode, kind: str) -> None:
        name = name_of(target)
        if name:
            self.kinds[-1 if "." not in name else 0][name] = kind

    def kept(self, name: str) -> str:
        return next((kinds[name] for kinds in reversed(self.kinds) if name in kinds), "")

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        self.kinds.append({})

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        self.kinds.pop()
        return updated_node

    def visit_Assign(self, node: cst.Assign) -> None:
        kind = self.kind(node.value)
        for target in node.targets:
            self.keep(target.target, kind)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        if node.value is not None:
            self.keep(node.target, self.kind(node.value))


def _noted(node: Any, header: Sequence[cst.EmptyLine], notes: list[str]) -> Any:
    """Return a statement with notes above it."""
    lines = node.leading_lines
    return node.with_changes(leading_lines=[*lines, *_new_notes([*header, *lines], notes)])


def _new_notes(lines: Sequence[cst.EmptyLine], notes: list[str]) -> list[cst.EmptyLine]:
    """Return the lines of notes, except those that already exist."""
    there = {line.comment.value for line in lines if line.comment}
    wanted = dict.fromkeys(MARK + text for text in notes)
    return [cst.EmptyLine(comment=cst.Comment(text)) for text in wanted if text not in there]


def is_name(node: cst.CSTNode) -> bool:
    """Return `True` for ``a.b.c``."""
    while isinstance(node, cst.Attribute):
        node = node.value
    return isinstance(node, cst.Name)


def name_of(node: cst.CSTNode) -> str:
    """Return ``a.b.c`` as written; empty if it is not a name."""
    return (get_full_name_for_node(node) or "") if is_name(node) else ""


def dotted(name: str) -> cst.Name | cst.Attribute:
    """Return the expression for ``a.b.c``."""
    first, *others = name.split(".")
    node: cst.Name | cst.Attribute = cst.Name(first)
    for other in others:
        node = cst.Attribute(node, cst.Name(other))
    return node


def code(node: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(node)


def names_used(module: cst.Module) -> set[str]:
    """Return the names in a module, except those in its imports."""
    names: set[str] = set()

    class Collector(cst.CSTVisitor):
        def visit_Name(self, node: cst.Name) -> None:
            names.add(node.value)

        def visit_Import(self, node: cst.Import) -> bool:
            return False

        def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
            return False

    module.visit(Collector())
    return names


def add_imports(module: cst.Module, names: Iterable[tuple[str, str]]) -> cst.Module:
    """Import *names*, pairs of module and name, unless already imported: in a statement that
    imports from the module, or a new one above the first import."""
    wanted: dict[str, list[str]] = {}
    for source, name in dict.fromkeys(names):
        wanted.setdefault(source, []).append(name)
    for source, names_of_it in wanted.items():
        module = _add_import(module, source, names_of_it)
    return module


def _add_import(module: cst.Module, source: str, names: list[str]) -> cst.Module:
    body: list[Any] = list(module.body)
    at_lines = [(at, of) for at, line in enumerate(body) if (of := _imported_by(line))]
    for at, of in at_lines:
        if of == source and isinstance(body[at].body[0], cst.ImportFrom):
            there = _names_without_as(body[at].body[0])
            names = [name for name in names if name not in there]
            if names and there and not body[at].body[0].lpar:
                body[at] = body[at].with_changes(body=[_with_names(body[at].body[0], names)])
                return module.with_changes(body=body)
    if not names:
        return module
    statement = cst.ImportFrom(dotted(source), [cst.ImportAlias(cst.Name(name)) for name in names])
    line = cst.SimpleStatementLine([statement])
    is_of_python = _is_of_python(source)
    later = [at for at, of in at_lines if of != "__future__" and _is_of_python(of) <= is_of_python]
    if later:
        # A comment above an import is mostly about the file.
        blank = _blank(body[later[0]].leading_lines)
        rest = body[later[0]].leading_lines[len(blank) :]
        body[later[0]] = body[later[0]].with_changes(leading_lines=rest)
        body.insert(later[0], line.with_changes(leading_lines=blank))
    elif at_lines:
        body.insert(at_lines[-1][0] + 1, line)
    else:
        body.insert(1 if body and _is_docstring(body[0]) else 0, line)
    return module.with_changes(body=body)


def _imported_by(line: cst.CSTNode) -> str:
    """Return the module that a line imports from, if that is all it does."""
    if not isinstance(line, cst.SimpleStatementLine) or len(line.body) != 1:
        return ""
    (statement,) = line.body
    if isinstance(statement, cst.Import):
        return name_of(statement.names[0].name)
    if isinstance(statement, cst.ImportFrom):
        return "." * len(statement.relative) + (
            name_of(statement.module) if statement.module else ""
        )
    return ""


def _is_of_python(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _names_without_as(statement: cst.ImportFrom) -> set[str]:
    if isinstance(statement.names, cst.ImportStar):
        return set()
    return {name_of(alias.name) for alias in statement.names if alias.asname is None}


def _with_names(statement: cst.ImportFrom, names: list[str]) -> cst.ImportFrom:
    assert not isinstance(statement.names, cst.ImportStar)
    *others, last = statement.names
    last = last.with_changes(comma=cst.MaybeSentinel.DEFAULT)
    new = [cst.ImportAlias(cst.Name(name)) for name in names]
    return statement.with_changes(names=[*others, last, *new])


def _blank(lines: Sequence[cst.EmptyLine]) -> list[cst.EmptyLine]:
    return list(takewhile(lambda line: line.comment is None, lines))


def _is_docstring(line: cst.CSTNode) -> bool:
    if not isinstance(line, cst.SimpleStatementLine):
        return False
    first = line.body[0]
    return isinstance(first, cst.Expr) and isinstance(first.value, cst.SimpleString)
