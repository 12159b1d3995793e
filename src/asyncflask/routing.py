"""The URL map: Werkzeug's, with a short way to a match.

`Map.find` walks the states that Werkzeug's matcher has built, and answers only when a rule
matches without further ado. All else there is to say about a URL (redirects, "405 Method Not
Allowed", "404 Not Found") is left to Werkzeug's own matching.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from werkzeug.routing import Map as MapBase
from werkzeug.routing import Rule, ValidationError
from werkzeug.routing.matcher import State
from werkzeug.routing.rules import RulePart


class _Transition(NamedTuple):
    """The way over a part of a URL that has placeholders."""

    match: Callable[[str], re.Match[str] | None]
    groups: tuple[int, ...]
    """The groups of the pattern that hold the placeholders' values."""
    final: bool
    """Whether it takes all that is left of the URL."""
    suffixed: bool
    """Whether it may end in a slash."""
    state: State


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
        super().add(rulefactory)
        self._compiled = None

    def find(self, path: str, method: str, websocket: bool) -> tuple[Rule, dict[str, Any]] | None:
        """The rule for *path*, of the default subdomain, and the values of its placeholders, as
        `MapAdapter.match` gives them; `None` if there is more to say."""
        compiled = self._compiled
        if compiled is None:
            self.update()
            compiled = self._compiled = _compile(self._matcher._root, self.default_subdomain or "")
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
    if position == len(parts):
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
    part = parts[position]
    if part in state.static:
        found = _find(
            transitions, state.static[part], parts, position + 1, texts, method, websocket
        )
        if found is not None:
            return found
    if state.dynamic:
        for transition in transitions[id(state)]:
            target, rest, start = part, parts, position + 1
            if transition.final:
                target, rest, start = "/".join(parts[position:]), [], 0
            match = transition.match(target)
            if match is None:
                continue
            if transition.suffixed and match[match.re.groups] == "/":
                rest, start = [""], 0
            given = texts + match.group(0, *transition.groups)[1:]
            found = _find(transitions, transition.state, rest, start, given, method, websocket)
            if found is not None:
                return found
    if part == "" and position + 1 == len(parts):
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
            transitions[id(state)] = [_transition(part, after) for part, after in state.dynamic]
            states.extend((after, None) for _, after in state.dynamic)
        if parts is None:  # behind a placeholder
            states.extend((after, None) for after in state.static.values())
            continue
        states.extend((after, (*parts, part)) for part, after in state.static.items())
        if state.rules and parts[0] == domain:
            fixed["/".join(parts[1:])] = state.rules
    return _Compiled(fixed, transitions)


def _transition(part: RulePart, state: State) -> _Transition:
    pattern = re.compile(part.content)
    # Converters may have groups of their own; Werkzeug names and numbers those it made.
    groups = {
        int(name.removeprefix(_GROUP)): index
        for name, index in pattern.groupindex.items()
        if name.startswith(_GROUP)
    }
    indexes = tuple(groups[number] for number in sorted(groups))
    return _Transition(pattern.match, indexes, part.final, part.suffixed, state)


_GROUP = "__werkzeug_"
