"""The rules of a URL map as a tree of path parts, and the search in it.

The search finds what Werkzeug's matcher finds (`tests/test_routing.py` verifies that), but
tries each regular expression only once. It uses two private names of Werkzeug: a rule's
`_parts`, with their regular expressions and weights, and its `_converters`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Any, Final

from werkzeug.routing import (
    BaseConverter,
    FloatConverter,
    IntegerConverter,
    Map,
    Rule,
    UUIDConverter,
)
from werkzeug.routing.rules import RulePart

Values = dict[str, Any]
Texts = tuple[str, ...]
"""The text of the placeholders, before conversion."""

_WERKZEUGS: Final = (IntegerConverter, FloatConverter, UUIDConverter)
"""Converters that need no time and no context, besides those that return the text unchanged."""

_GROUP: Final = "__werkzeug_"
"""The prefix of Werkzeug's group names for placeholders in a part's regular expression."""


class Target:
    """A rule at the end of its parts in the tree."""

    __slots__ = ("converters", "pending", "redirects", "rule")

    def __init__(self, url_map: Map, rule: Rule) -> None:
        self.rule = rule
        self.converters = [(name, _function(c)) for name, c in rule._converters.items()]
        """Placeholder names with their conversion, or `None` if the text is the value."""
        self.pending = not all(
            function is None or type(converter) in _WERKZEUGS
            for (_, function), converter in zip(
                self.converters, rule._converters.values(), strict=True
            )
        )
        before = takewhile(lambda other: other is not rule, url_map.iter_rules(rule.endpoint))
        self.redirects = bool(
            rule.alias
            or rule.redirect_to is not None
            or any(other.provides_defaults_for(rule) for other in before)
        )
        """`True` if Werkzeug may redirect the rule; it knows where to."""

    def convert(self, texts: Texts) -> Values:
        values = {
            name: text if convert is None else convert(text)
            for (name, convert), text in zip(self.converters, texts, strict=False)
        }
        if self.rule.defaults:
            values.update(self.rule.defaults)
        return values


def _function(converter: BaseConverter) -> Callable[[str], Any] | None:
    function = converter.to_python
    as_it_is = getattr(function, "__func__", None) is BaseConverter.to_python
    return None if as_it_is else function


class _Way:
    """An edge of the tree: a part of a URL with placeholders."""

    __slots__ = ("all_groups", "final", "groups", "match", "node", "part", "suffixed")

    def __init__(self, part: RulePart) -> None:
        self.part = part
        pattern = re.compile(part.content)
        # Converters may contain groups of their own; Werkzeug names and numbers those it adds.
        numbers = {
            int(name.removeprefix(_GROUP)): index
            for name, index in pattern.groupindex.items()
            if name.startswith(_GROUP)
        }
        self.groups = tuple(numbers[number] for number in sorted(numbers))
        self.all_groups = tuple(range(1, pattern.groups + 1))
        self.final = part.final  # matches the rest of the URL
        self.suffixed = part.suffixed  # may end in a slash, captured by its last group
        self.match = pattern.match
        self.node = Node()


class Node:
    __slots__ = ("only_way", "static", "targets", "ways")

    def __init__(self) -> None:
        self.static: dict[str, Node] = {}
        self.targets: list[Target] = []
        self.ways: list[_Way] = []
        self.only_way: _Way | None = None
        """The only edge, if there is just one, it covers one part, and its groups are the
        placeholders."""

    def way(self, part: RulePart) -> _Way:
        for way in self.ways:
            if way.part == part:
                return way
        way = _Way(part)
        self.ways.append(way)
        self.ways.sort(key=lambda way: way.part.weight)
        is_direct = not way.final and not way.suffixed and way.groups == way.all_groups
        self.only_way = way if len(self.ways) == 1 and is_direct else None
        return way


class Tree:
    """The rules of a map as they are now; another thread may be adding one."""

    __slots__ = ("fixed", "long", "pending", "root", "top")

    def __init__(self, url_map: Map, rules: Iterable[Rule]) -> None:
        self.root = Node()
        self.pending = False
        """`True` if a rule has a converter that is not Werkzeug's."""
        self.long = False
        """`True` if a rule has two placeholders of any length in one part. Finding where one
        ends and the other begins takes time that grows with the square of the length."""
        self.fixed: dict[tuple[str, str], Rule] = {}
        """Rules without placeholders, by path and method. They take precedence."""
        domain = url_map.default_subdomain or ""
        for rule in rules:
            if rule.build_only:
                continue
            node = self.root
            for part in rule._parts:
                if part.static:
                    node = node.static.setdefault(part.content, Node())
                else:
                    node = node.way(part).node
                    self.long = self.long or part.content.count(".*") > 1
            target = Target(url_map, rule)
            node.targets.append(target)
            self.pending = self.pending or target.pending
        nodes: list[tuple[Texts, Node]] = []
        if domain in self.root.static and not url_map.host_matching:
            nodes.append(((), self.root.static[domain]))
        start = self.root.static.get(domain)
        self.top = start and not start.ways and not self.root.ways and start.static.get("")
        """The start of the paths of the default subdomain, if there is nowhere else to look."""
        while nodes:
            parts, node = nodes.pop()
            self._note("/".join(parts), node.targets)
            nodes.extend(((*parts, part), after) for part, after in node.static.items())

    def _note(self, path: str, targets: list[Target]) -> None:
        first: dict[str, Target] = {}
        for target in targets:
            rule = target.rule
            if rule.methods is None:
                break
            if not rule.websocket:
                first = dict.fromkeys(rule.methods, target) | first
        if first and not path.startswith("//"):
            for method, target in first.items():
                if not target.redirects and not target.rule.defaults:
                    self.fixed[path, method] = target.rule


def walk(
    node: Node,
    parts: list[str],
    at: int,
    texts: Texts,
    method: str,
    websocket: bool,
    missed: list[Rule],
) -> tuple[Target | None, Texts] | None:
    """Match the parts from *at* on: first by fixed text, then by placeholders in order of
    weight. A result without target means that the URL needs a trailing slash. Rules that match
    the path, but for other methods or the other protocol, are added to *missed*."""
    end = len(parts)
    while at < end:  # while there is only one way
        part = parts[at]
        after = node.static.get(part)
        if after is not None:
            if node.ways or not part:
                break
            node = after
        elif node.only_way is None or not part:
            break
        else:
            match = node.only_way.match(part)
            if match is None:
                return None
            texts += match.groups()
            node = node.only_way.node
        at += 1
    else:
        for target in node.targets:
            if _answers(target.rule, method, websocket):
                return target, texts
            missed.append(target.rule)
        for target in node.static[""].targets if "" in node.static else ():
            if _answers(target.rule, method, websocket):
                return (None if target.rule.strict_slashes else target), texts
        return None
    if after is not None:
        result = walk(after, parts, at + 1, texts, method, websocket, missed)
        if result is not None:
            return result
    for way in node.ways:
        match = way.match("/".join(parts[at:]) if way.final else part)
        if match is None:
            continue
        rest, start = ([], 0) if way.final else (parts, at + 1)
        if way.suffixed and match[match.re.groups] == "/":
            rest, start = [""], 0
        given = match.group(0, *way.groups)[1:]
        result = walk(way.node, rest, start, texts + given, method, websocket, missed)
        if result is not None:
            return result
    if not part and at + 1 == end:
        for target in node.targets:
            if not target.rule.strict_slashes:
                if _answers(target.rule, method, websocket):
                    return target, texts
                missed.append(target.rule)
    return None


def _answers(rule: Rule, method: str, websocket: bool) -> bool:
    return rule.websocket == websocket and (rule.methods is None or method in rule.methods)
