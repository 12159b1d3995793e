"""The URL map: Werkzeug's, with a short way to a match.

`Map.find` walks the states that Werkzeug's matcher has built, and answers only when a rule
matches without further ado. All else there is to say about a URL (redirects, "405 Method Not
Allowed", "404 Not Found") is left to Werkzeug's own matching.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from werkzeug.routing import Map as MapBase
from werkzeug.routing import Rule, ValidationError
from werkzeug.routing.matcher import State
from werkzeug.routing.rules import RulePart


class _Transition:
    """The way over a part of a URL that has placeholders."""

    __slots__ = ("_all_groups", "_final", "_groups", "_match", "_suffixed", "state")

    def __init__(self, part: RulePart, state: State) -> None:
        pattern = re.compile(part.content)
        # Converters may have groups of their own; Werkzeug names and numbers those it made.
        groups = {
            int(name.removeprefix(_GROUP)): index
            for name, index in pattern.groupindex.items()
            if name.startswith(_GROUP)
        }
        self._groups = tuple(groups[number] for number in sorted(groups))
        self._all_groups = self._groups == tuple(range(1, pattern.groups + 1))
        self._match = pattern.match
        self._final = part.final  # takes all that is left of the URL
        self._suffixed = part.suffixed  # may end in a slash, its last group
        self.state = state

    def take(
        self, parts: list[str], following: int
    ) -> tuple[list[str], int, tuple[str, ...]] | None:
        """Match the part before *following*. Gives the parts to go on with, the position among
        them, and the texts of the placeholders."""
        match = self._match(
            "/".join(parts[following - 1 :]) if self._final else parts[following - 1]
        )
        if match is None:
            return None
        texts = match.groups() if self._all_groups else match.group(0, *self._groups)[1:]
        if self._suffixed and match[match.re.groups] == "/":
            return [""], 0, texts
        return ([], 0, texts) if self._final else (parts, following, texts)


_GROUP = "__werkzeug_"


class _Undecided(Exception):
    """There is more to say of this URL."""


class _Compiled(NamedTuple):
    """What `Map.find` looks at, made of the matcher's states."""

    fixed: dict[str, list[Rule]]
    """The rules without placeholders, by their URL: what is fixed comes before placeholders."""
    transitions: dict[int, list[_Transition]]
    """The transitions of each state that has some, by its `id`."""


class Map(MapBase):
    """The rules of an app (Werkzeug: `werkzeug.routing.Map`)."""

    _compiled: _Compiled | None = None

    def add(self, rulefactory: Any) -> None:
        with self._remap_lock:
            super().add(rulefactory)
            self._compiled = None

    def find(self, path: str, method: str, websocket: bool) -> tuple[Rule, dict[str, Any]] | None:
        """The rule for *path*, of the default subdomain, and the values of its placeholders, as
        `MapAdapter.match` gives them; `None` if there is more to say."""
        compiled = self._compiled
        if compiled is None:
            self.update()
            with self._remap_lock:
                if self._remap:
                    return None  # a rule was added at this very moment
                root = self._matcher._root
                compiled = self._compiled = _compile(root, self.default_subdomain or "")
        texts: tuple[str, ...] = ()
        for rule in compiled.fixed.get(path, ()):
            if _answers(rule, method, websocket):
                break
        else:
            parts = [self.default_subdomain or "", *path.split("/")]
            try:
                found = _find(
                    compiled.transitions, self._matcher._root, parts, 0, (), method, websocket
                )
            except _Undecided:
                return None
            if found is None:
                return None
            rule, texts = found
        if rule.alias or rule.redirect_to is not None:
            return None
        if self.redirect_defaults and self._rules_by_endpoint[rule.endpoint][0] is not rule:
            return None  # one before it may be what to redirect to
        values: dict[str, Any] = {}
        if texts:
            for (name, converter), text in zip(rule._converters.items(), texts, strict=False):
                try:
                    values[name] = converter.to_python(text)
                except ValidationError:
                    return None
        if rule.defaults:
            values.update(rule.defaults)
        return rule, values


def _find(
    transitions: dict[int, list[_Transition]],
    state: State,
    parts: list[str],
    position: int,
    texts: tuple[str, ...],
    method: str,
    websocket: bool,
) -> tuple[Rule, tuple[str, ...]] | None:
    """Match the parts from *position* on, first by what is fixed, then by placeholders in the
    order of their weight."""
    while position < len(parts):
        part = parts[position]
        fixed = state.static.get(part)
        # None for what was added since: a request that comes at this moment comes before it, and
        # if it finds nothing, Werkzeug looks again.
        ways = transitions.get(id(state), ())
        slash = part == "" and position + 1 == len(parts)
        if slash or len(ways) + (fixed is not None) > 1:
            break
        # There is but one way on, or none.
        position += 1
        if fixed is not None:
            state = fixed
            continue
        for way in ways:
            taken = way.take(parts, position)
            if taken is None:
                return None
            state = way.state
            parts, position = taken[0], taken[1]
            texts += taken[2]
            break
        else:
            return None
    else:
        for rule in state.rules:
            if _answers(rule, method, websocket):
                return rule, texts
        if "" in state.static:
            for rule in state.static[""].rules:
                if _answers(rule, method, websocket):
                    if rule.strict_slashes:
                        raise _Undecided
                    return rule, texts
        return None
    if fixed is not None:
        found = _find(transitions, fixed, parts, position + 1, texts, method, websocket)
        if found is not None:
            return found
    for way in ways:
        taken = way.take(parts, position + 1)
        if taken is not None:
            rest, start, given = taken
            found = _find(transitions, way.state, rest, start, texts + given, method, websocket)
            if found is not None:
                return found
    if slash:
        for rule in state.rules:
            if not rule.strict_slashes and _answers(rule, method, websocket):
                return rule, texts
    return None


def _answers(rule: Rule, method: str, websocket: bool) -> bool:
    return rule.websocket == websocket and (rule.methods is None or method in rule.methods)


def _compile(root: State, domain: str) -> _Compiled:
    fixed: dict[str, list[Rule]] = {}
    transitions: dict[int, list[_Transition]] = {}
    states: list[tuple[State, tuple[str, ...] | None]] = [(root, ())]
    while states:
        state, parts = states.pop()
        if state.dynamic:
            transitions[id(state)] = [_Transition(part, after) for part, after in state.dynamic]
            states.extend((after, None) for _, after in state.dynamic)
        if parts is None:  # behind a placeholder
            states.extend((after, None) for after in state.static.values())
            continue
        states.extend((after, (*parts, part)) for part, after in state.static.items())
        if state.rules and parts[0] == domain:
            fixed["/".join(parts[1:])] = state.rules
    return _Compiled(fixed, transitions)
