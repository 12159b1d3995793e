"""The `migrate` pass that rewrites imports and the names they bind."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import libcst as cst

from ..check import REPLACED
from .names import PACKAGES, REMARKS, RENAMED, SAYS, module_of, target_of
from .rewriter import Rewriter, dotted, name_of

_BY_STRING: Final = frozenset({"patch", "import_module", "getLogger", "setattr", "object"})


class Imports(Rewriter):
    """Turns imports of *packages* into imports of asyncflask."""

    def __init__(self, packages: Collection[str], module: cst.Module) -> None:
        super().__init__()
        self.packages = packages
        self._written = _names_in(module)
        self._bound: set[str] = set()
        """The packages bound under their own names."""
        self._aliases: set[str] = set()
        """The full names that keep their name, with ``as``."""
        self._said: set[str] = set()

    # -- statements

    def visit_Import(self, node: cst.Import) -> bool:
        for alias in node.names:
            name = name_of(alias.name)
            top = name.partition(".")[0]
            if top in self.packages:
                if module_of(name) is None:
                    self.note(f"There is no '{name}' here: {SAYS.get(name, _see(top))}.")
                elif alias.asname is None:
                    self._bound.add(top)
            else:
                self.other(name)
        return False

    def leave_Import(self, original_node: cst.Import, updated_node: cst.Import) -> cst.Import:
        return updated_node.with_changes(
            names=[self._module_alias(alias) for alias in updated_node.names]
        )

    def _module_alias(self, alias: cst.ImportAlias) -> cst.ImportAlias:
        name = name_of(alias.name)
        ours = module_of(name) if name.partition(".")[0] in self.packages else None
        return alias if ours is None else alias.with_changes(name=dotted(ours))

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        module = name_of(node.module) if node.module and not node.relative else ""
        if module and module.partition(".")[0] not in self.packages:
            self.other(module)
        return False

    def other(self, module: str) -> None:
        """Leave a note about an import that cannot stay."""
        top = module.partition(".")[0]
        if top in REPLACED and top not in self.packages and top not in self._said:
            self._said.add(top)
            self.note(f"{top}: {REPLACED[top]}")

    def leave_ImportFrom(
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.ImportFrom | cst.FlattenSentinel[cst.BaseSmallStatement]:
        parts = self._parts(updated_node)
        return parts[0] if len(parts) == 1 else cst.FlattenSentinel(parts)

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.FlattenSentinel[cst.BaseStatement]:
        body = updated_node.body
        if len(original_node.body) > 1 or len(body) < 2:
            return updated_node
        first = updated_node.with_changes(body=[_alone(body[0])])
        others = [cst.SimpleStatementLine([_alone(statement)]) for statement in body[1:]]
        return cst.FlattenSentinel([first, *others])

    def _parts(self, node: cst.ImportFrom) -> list[cst.ImportFrom]:
        """Return the statements that import the same from asyncflask, one per module."""
        module = name_of(node.module) if node.module and not node.relative else ""
        if module.partition(".")[0] not in self.packages:
            return [node]
        if isinstance(node.names, cst.ImportStar):
            ours = module_of(module)
            if ours is None:
                self.note(f"There is no '{module}' here: {_see(module)}.")
                return [node]
            return [node.with_changes(module=dotted(ours))]
        aliases: dict[str, list[cst.ImportAlias]] = {}
        for alias in node.names:
            where, new = self._name_alias(module, alias)
            aliases.setdefault(where, []).append(new)
        return [
            node.with_changes(module=dotted(where), names=_closed(of_it, node.names[-1].comma))
            # A note about what stays goes above the first statement.
            for where, of_it in sorted(aliases.items(), key=lambda item: item[0] != module)
        ]

    def _name_alias(self, module: str, alias: cst.ImportAlias) -> tuple[str, cst.ImportAlias]:
        name = name_of(alias.name)
        full = f"{module}.{name}"
        target = target_of(module, name)
        if target is None:
            self.note(f"There is no '{name}' here: {SAYS.get(full, _see(module))}.")
            return module, alias
        if remark := REMARKS.get(".".join(target)):
            self.note(remark)
        if target.name != name:
            if alias.asname is None and target.name in self._written:
                self._aliases.add(full)
                asname = cst.AsName(
                    cst.Name(name), cst.SimpleWhitespace(" "), cst.SimpleWhitespace(" ")
                )
                alias = alias.with_changes(asname=asname)
            alias = alias.with_changes(name=cst.Name(target.name))
        return target.module, alias

    # -- names

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        if original_node in self.no_reference:
            return updated_node
        full = self.imported(original_node)
        if full in self._bound and full == original_node.value:
            if full == "flask_socketio":
                return dotted(PACKAGES[full])
            return updated_node.with_changes(value=PACKAGES[full])
        old = original_node.value
        if full in RENAMED and full.partition(".")[0] in self.packages:
            new = RENAMED[full].rpartition(".")[2]
            if full.rpartition(".")[2] == old and full not in self._aliases and new != old:
                return updated_node.with_changes(value=new)
        return updated_node

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        full = self.imported(original_node)
        module, _, name = full.rpartition(".")
        if module.partition(".")[0] not in self.packages or name != original_node.attr.value:
            return updated_node
        if full in SAYS:
            self.note(f"There is no '{name}' here: {SAYS[full]}.")
        elif full in RENAMED:
            there, new = RENAMED[full].rsplit(".", 1)
            if there == module_of(module):
                return updated_node.with_changes(attr=cst.Name(new))
            self.imports.append((there, new))
            return cst.Name(new, lpar=updated_node.lpar, rpar=updated_node.rpar)
        elif module in PACKAGES and target_of(module, name) is None:
            self.note(f"There is no '{full}' here: {_see(module)}.")
        return updated_node

    def visit_Call(self, node: cst.Call) -> None:
        called = (
            node.func.attr.value if isinstance(node.func, cst.Attribute) else name_of(node.func)
        )
        if called not in _BY_STRING or not node.args:
            return
        value = node.args[0].value
        if isinstance(value, cst.SimpleString):
            text = value.evaluated_value
            if isinstance(text, str) and text.partition(".")[0] in self.packages:
                self.note(f"'{text}' names a package that the project no longer uses.")


def _names_in(module: cst.Module) -> set[str]:
    """Return all names in the module."""
    names: set[str] = set()

    class Collector(cst.CSTVisitor):
        def visit_Name(self, node: cst.Name) -> None:
            names.add(node.value)

        def visit_Annotation(self, node: cst.Annotation) -> None:
            for child in _strings(node):
                # A name in a string cannot be renamed, so it is kept with `as`.
                names.update(
                    RENAMED[full].rpartition(".")[2]
                    for full in RENAMED
                    if full.rpartition(".")[2] in child
                )

    module.visit(Collector())
    return names


def _strings(node: cst.CSTNode) -> list[str]:
    found: list[str] = []

    class Strings(cst.CSTVisitor):
        def visit_SimpleString(self, node: cst.SimpleString) -> None:
            found.append(node.value)

    node.visit(Strings())
    return found


def _closed(
    aliases: Sequence[cst.ImportAlias], comma: cst.Comma | cst.MaybeSentinel
) -> list[cst.ImportAlias]:
    """Return a statement's names; the last one gets the *comma* that the last one had."""
    *others, last = aliases
    others = [
        alias
        if isinstance(alias.comma, cst.Comma)
        else alias.with_changes(comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" ")))
        for alias in others
    ]
    if isinstance(last.comma, cst.Comma) and isinstance(comma, cst.Comma):
        after, before = comma.whitespace_after, last.comma.whitespace_after
        if isinstance(after, cst.ParenthesizedWhitespace) and isinstance(
            before, cst.ParenthesizedWhitespace
        ):
            after = after.with_changes(first_line=before.first_line)  # keeps its comment
        comma = comma.with_changes(whitespace_after=after)
    return [*others, last.with_changes(comma=comma)]


def _alone(statement: cst.BaseSmallStatement) -> cst.BaseSmallStatement:
    return statement.with_changes(semicolon=cst.MaybeSentinel.DEFAULT)


def _see(module: str) -> str:
    if module.partition(".")[0] == "quart":
        return "see 'Coming from Quart' in the documentation"
    return "see 'Differences from Flask' in the documentation"
