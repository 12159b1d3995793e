"""The rules of a URL map as a tree of the parts of their paths, and the walk along it.

The walk finds what Werkzeug's matcher finds, and tries each regular expression once
(`tests/test_routing.py` holds the two equal). Two private names of Werkzeug are used: a rule's
`_parts`, each with its regular expression and weight, and its `_converters`.
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
"""What the placeholders stand for, before it is converted."""

_WERKZEUGS: Final = (IntegerConverter, FloatConverter, UUIDConverter)
"""Besides those that give the text as it is: what they do takes no time and no context."""

_GROUP: Final = "__werkzeug_"
"""How Werkzeug names the groups of a part's regular expression that are placeholders."""


class Target:
    """A rule, where its parts end in the tree."""

    __slots__ = ("converters", "pending", "redirects", "rule")

    def __init__(self, url_map: Map, rule: Rule) -> None:
        self.rule = rule
        self.converters = [(name, _function(c)) for name, c in rule._converters.items()]
        """By the names of the placeholders; `None` where the text is the value."""
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
        """Whether it may: Werkzeug knows where to."""

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
    """The way over a part of a URL that has placeholders."""

    __slots__ = ("all_groups", "final", "groups", "match", "node", "part", "suffixed")

    def __init__(self, part: RulePart) -> None:
        self.part = part
        pattern = re.compile(part.content)
        # Converters may have groups; Werkzeug names and numbers those it adds.
        numbers = {
            int(name.removeprefix(_GROUP)): index
            for name, index in pattern.groupindex.items()
            if name.startswith(_GROUP)
        }
        self.groups = tuple(numbers[number] for number in sorted(numbers))
        self.all_groups = tuple(range(1, pattern.groups + 1))
        self.final = part.final  # takes all that is left of the URL
        self.suffixed = part.suffixed  # may end in a slash, its last group
        self.match = pattern.match
        self.node = Node()


class Node:
    __slots__ = ("only_way", "static", "targets", "ways")

    def __init__(self) -> None:
        self.static: dict[str, Node] = {}
        self.targets: list[Target] = []
        self.ways: list[_Way] = []
        self.only_way: _Way | None = None
        """If there is but one, and it is over one part whose groups are the placeholders."""

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
    """The rules of a map at one moment: another thread may add one meanwhile."""

    __slots__ = ("fixed", "long", "pending", "root", "top")

    def __init__(self, url_map: Map, rules: Iterable[Rule]) -> None:
        self.root = Node()
        self.pending = False
        """Whether a rule has a converter that is not Werkzeug's."""
        self.long = False
        """Whether a rule has two placeholders in one part, each of any length: where the one ends
        and the other begins is found in a time that grows with the square of that."""
        self.fixed: dict[tuple[str, str], Rule] = {}
        """By path and method, where nothing has placeholders: what is fixed comes before those."""
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
        """Where the paths of the default subdomain begin, if there is nowhere else to look."""
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
    """Match the parts from *at* on, first by what is fixed, then by placeholders in the order of
    their weight. No target: the URL needs another slash. *missed*: gets the rules for the path
    that are for other methods, or for the other protocol."""
    end = len(parts)
    while at < end:  # as long as there is one way to go
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
