"""The URL map: Werkzeug's, with a short way to a match, and one to a URL.

`Map.find` walks a copy of the states that Werkzeug's matcher has built, and answers only when a
rule matches without further ado. All else there is to say about a URL (redirects, "405 Method Not
Allowed", "404 Not Found") is left to Werkzeug's own matching. `Map.build_path` likewise: URLs with
a host, and errors, are left to Werkzeug's adapter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from werkzeug.routing import BaseConverter, Rule, ValidationError
from werkzeug.routing import Map as MapBase
from werkzeug.routing.matcher import State
from werkzeug.routing.rules import RulePart

Found = tuple[Rule, dict[str, Any]]
Converters = tuple[tuple[str, Callable[[str], Any] | None], ...]
"""By the names of a rule's placeholders; `None` where the text is the value."""


class _Transition:
    """The way over a part of a URL that has placeholders."""

    __slots__ = ("_all_groups", "_final", "_groups", "_suffixed", "match", "node", "plain")

    def __init__(self, part: RulePart, node: _Node) -> None:
        pattern = re.compile(part.content)
        # Converters may have groups of their own; Werkzeug names and numbers those it made.
        groups = {
            int(name.removeprefix(_GROUP)): index
            for name, index in pattern.groupindex.items()
            if name.startswith(_GROUP)
        }
        self._groups = tuple(groups[number] for number in sorted(groups))
        self._all_groups = self._groups == tuple(range(1, pattern.groups + 1))
        self._final = part.final  # takes all that is left of the URL
        self._suffixed = part.suffixed  # may end in a slash, its last group
        self.match = pattern.match
        self.plain = self._all_groups and not part.final and not part.suffixed
        """Whether the groups of a match with one part are the placeholders, and no more."""
        self.node = node

    def take(
        self, parts: list[str], following: int
    ) -> tuple[list[str], int, tuple[str, ...]] | None:
        """Match the part before *following*. Gives the parts to go on with, the position among
        them, and the texts of the placeholders."""
        match = self.match(
            "/".join(parts[following - 1 :]) if self._final else parts[following - 1]
        )
        if match is None:
            return None
        texts = match.groups() if self._all_groups else match.group(0, *self._groups)[1:]
        if self._suffixed and match[match.re.groups] == "/":
            return [""], 0, texts
        return ([], 0, texts) if self._final else (parts, following, texts)


_GROUP = "__werkzeug_"


class _Node:
    """A state of the matcher, as it was when the map was compiled: another thread may add a rule
    while this one looks."""

    __slots__ = ("plain", "rules", "static", "ways")

    def __init__(self, url_map: Map, state: State) -> None:
        self.rules = list(state.rules)
        self.static = {part: _Node(url_map, after) for part, after in state.static.items()}
        self.ways = [_Transition(part, _Node(url_map, after)) for part, after in state.dynamic]
        self.plain = _plain(url_map, self.rules)


def _plain(url_map: Map, rules: list[Rule]) -> dict[str, tuple[Rule, Converters]]:
    """By method the rules about which there is nothing more to say, with what converts the texts
    of their placeholders."""
    by_method: dict[str, Rule | None] = {}
    for rule in rules:
        if rule.methods is None:
            break
        more_to_say = (
            rule.alias
            or rule.redirect_to is not None
            or rule.defaults
            or url_map._rules_by_endpoint[rule.endpoint][0] is not rule
        )
        if not rule.websocket:
            for method in rule.methods:
                by_method.setdefault(method, None if more_to_say else rule)
    return {
        method: (rule, _converters(rule)) for method, rule in by_method.items() if rule is not None
    }


def _converters(rule: Rule) -> Converters:
    return tuple(
        (name, None if type(c).to_python is BaseConverter.to_python else c.to_python)
        for name, c in rule._converters.items()
    )


class _Undecided(Exception):
    """There is more to say of this URL."""


class _Compiled(NamedTuple):
    """What `Map.find` looks at, made of the matcher's states."""

    root: _Node
    fixed: dict[str, dict[str, Rule]]
    """By path and method, where nothing has placeholders: what is fixed comes before those."""
    last: dict[str, tuple[dict[str, _Node], _Transition]]
    """By the path before it, where a placeholder is alone and is the last part: what is fixed
    after the same path, which comes before it, and the way over it."""
    top: _Node | None
    """Where the paths of the default subdomain begin, unless a placeholder may stand for it."""


class Map(MapBase):
    """The rules of an app (Werkzeug: `werkzeug.routing.Map`)."""

    _compiled: _Compiled | None = None

    _preferred: dict[str, Rule] = {}  # replaced by `add`
    """By endpoint the rule that comes first, if it is suitable whenever its own placeholders are
    given, and no more, for one of its methods."""

    def add(self, rulefactory: Any) -> None:
        with self._remap_lock:
            super().add(rulefactory)
            self._compiled = None
            self._preferred = {}

    def find(self, path: str, method: str, websocket: bool) -> Found | None:
        """The rule for *path*, of the default subdomain, and the values of its placeholders, as
        `MapAdapter.match` gives them; `None` if there is more to say."""
        compiled = self._compiled
        if compiled is None:
            self.update()
            with self._remap_lock:
                if self._remap:
                    return None  # a rule was added at this very moment
                compiled = self._compiled = _compile(self)
        if path in compiled.fixed and not websocket:
            rule = compiled.fixed[path].get(method)
            if rule is not None and (rule.methods is None or method in rule.methods):  # still
                return rule, {}
        if path[:1] != "/" or path[1:2] == "/":
            return None  # not the path of a request, which begins with one slash
        head, _, tail = path.rpartition("/")
        if head in compiled.last and tail and not websocket:
            static, way = compiled.last[head]
            if tail not in static and (match := way.match(tail)) is not None:
                plain = way.node.plain
                if method in plain:
                    rule, converters = plain[method]
                    if _answers(rule, method, False):
                        return _found(rule, converters, match.groups())
        parts = path.split("/")
        texts: tuple[str, ...] = ()
        if compiled.top is None:
            node, position = compiled.root, 0
            parts.insert(0, self.default_subdomain or "")
        else:
            position = 1
            if not websocket:
                # As `_find`, which would first look where this looks.
                node = compiled.top
                for part in parts[1:]:
                    if part in node.static:
                        node = node.static[part]
                        continue
                    if part == "" or not node.ways:
                        break
                    way = node.ways[0]
                    match = way.match(part) if way.plain else None
                    if match is None:
                        break
                    texts += match.groups()
                    node = way.node
                else:
                    if method in node.plain:
                        rule, converters = node.plain[method]
                        if _answers(rule, method, websocket):
                            return _found(rule, converters, texts)
            node = compiled.top
        try:
            found = _find(node, parts, position, (), method, websocket)
        except _Undecided:
            return None
        if found is None:
            return None
        rule, texts = found
        if rule.alias or rule.redirect_to is not None:
            return None
        if self.redirect_defaults and self._rules_by_endpoint[rule.endpoint][0] is not rule:
            return None  # one before it may be what to redirect to
        return _found(rule, _converters(rule), texts)

    def build_path(self, endpoint: str, values: dict[str, Any], method: str) -> str | None:
        """The path to *endpoint*, of the default subdomain, as `MapAdapter.build` gives it, but
        without a slash before it; `None` if there is more to say."""
        for value in values.values():
            if value is None:  # as if it were not there
                values = {name: value for name, value in values.items() if value is not None}
                break
        preferred = self._preferred
        rule: Any = preferred.get(endpoint)
        built: Any = None
        if rule is not None and values.keys() == rule.arguments and method in rule.methods:
            built = rule.build(values)
        if built is None:
            self.update()
            rules: Any = self._rules_by_endpoint.get(endpoint, ())
            for rule in rules:
                if rule.suitable_for(values, method) and (built := rule.build(values)) is not None:
                    break
            else:
                return None
            own = type(rule).suitable_for is Rule.suitable_for
            if own and rule is rules[0] and rule.methods and not rule.defaults:
                preferred[endpoint] = rule
        domain: str
        path: str
        domain, path = built
        if rule.websocket or domain != (self.default_subdomain or ""):
            return None
        return path.lstrip("/")


def _found(rule: Rule, converters: Converters, texts: tuple[str, ...]) -> Found | None:
    values: dict[str, Any] = {}
    if texts:
        try:
            for (name, convert), text in zip(converters, texts, strict=False):
                values[name] = text if convert is None else convert(text)
        except ValidationError:
            return None
    if rule.defaults:
        values.update(rule.defaults)
    return rule, values


def _find(
    node: _Node,
    parts: list[str],
    position: int,
    texts: tuple[str, ...],
    method: str,
    websocket: bool,
) -> tuple[Rule, tuple[str, ...]] | None:
    """Match the parts from *position* on, first by what is fixed, then by placeholders in the
    order of their weight."""
    if position == len(parts):
        for rule in node.rules:
            if _answers(rule, method, websocket):
                return rule, texts
        if "" in node.static:
            for rule in node.static[""].rules:
                if _answers(rule, method, websocket):
                    if rule.strict_slashes:
                        raise _Undecided
                    return rule, texts
        return None
    part = parts[position]
    if part in node.static:
        found = _find(node.static[part], parts, position + 1, texts, method, websocket)
        if found is not None:
            return found
    for way in node.ways:
        taken = way.take(parts, position + 1)
        if taken is not None:
            rest, start, given = taken
            found = _find(way.node, rest, start, texts + given, method, websocket)
            if found is not None:
                return found
    if part == "" and position + 1 == len(parts):
        for rule in node.rules:
            if not rule.strict_slashes and _answers(rule, method, websocket):
                return rule, texts
    return None


def _answers(rule: Rule, method: str, websocket: bool) -> bool:
    return rule.websocket == websocket and (rule.methods is None or method in rule.methods)


def _compile(url_map: Map) -> _Compiled:
    root = _Node(url_map, url_map._matcher._root)
    domain = root.static.get(url_map.default_subdomain or "")
    fixed: dict[str, dict[str, Rule]] = {}
    last: dict[str, tuple[dict[str, _Node], _Transition]] = {}
    nodes: list[tuple[tuple[str, ...], _Node]] = [] if domain is None else [((), domain)]
    while nodes:
        parts, node = nodes.pop()
        if node.rules:
            fixed["/".join(parts)] = {method: rule for method, (rule, _) in node.plain.items()}
        if len(node.ways) == 1 and node.ways[0].plain:
            last["/".join(parts)] = node.static, node.ways[0]
        nodes.extend(((*parts, part), after) for part, after in node.static.items())
    if domain is None or root.ways or domain.ways:
        return _Compiled(root, fixed, last, None)
    return _Compiled(root, fixed, last, domain.static.get(""))
