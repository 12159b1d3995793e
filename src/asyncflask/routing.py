"""The URL map: Werkzeug's, with fast paths for matching and building URLs.

`Map.find` needs one lookup, and for rules with placeholders one search (`matcher.py`). What
takes more than a path (redirects, "405 Method Not Allowed") is left to Werkzeug's adapter. So
are URLs with a host, and errors, in `Map.build_path`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial
from types import CoroutineType
from typing import Any, Final, NamedTuple, cast

from starlette.types import Scope
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import Map as MapBase
from werkzeug.routing import Rule, RuleFactory, ValidationError, WebsocketMismatch

from .asgi.scope import ORIGIN
from .matcher import Target, Texts, Tree, Values, walk


class Match(NamedTuple):
    """The matched rule and the values of its placeholders."""

    rule: Rule
    values: Values
    """Empty if *pending* is set."""
    pending: Callable[[], Values] | None = None
    """Runs the converters and returns the values, if a converter is not Werkzeug's: it may read
    the session, query a database or `abort()`. Call it once, in the request's context and on
    its thread. Raises what converters raise; a `ValidationError` becomes the `HTTPException`
    that Werkzeug's matching would end with (404 or 405)."""


def _raise_not_found() -> Any:
    raise NotFound


NOT_FOUND: Final = Match(cast(Rule, None), {}, _raise_not_found)
"""The result of `Map.find` for "404 Not Found"."""

TOO_LONG: Final = Match(cast(Rule, None), {}, _raise_not_found)
"""The result of `Map.find` for "414 Request URI Too Long"."""

PATH_LENGTH: Final = 4_096
"""The maximum length of a path if a rule has two `path` converters. Doubling the length takes
four times as long to match: 50 ms at this length, 12 s at 64 KiB."""

_matched: Callable[[tuple[Rule, dict[str, Any], None]], Match] = partial(tuple.__new__, Match)
"""Create a `Match`, in C."""


class UpgradeRequired(WebsocketMismatch):
    """426 for an HTTP request to a WebSocket's URL (RFC 9110 section 15.5.22), instead of
    Werkzeug's 400."""

    code = 426
    description = "This URL is for WebSocket connections."

    def __init__(self, path: str, debug: bool, scope: Scope | None) -> None:
        super().__init__()
        # Neither HTTP/2 (RFC 9113 section 8.2.2) nor a WSGI app (PEP 3333) may send the header.
        self._may_upgrade = (
            scope is not None and scope.get("http_version") == "1.1" and ORIGIN not in scope
        )
        if debug:
            self.description = (
                f"{path!r} is the URL of a WebSocket, but this was an ordinary request, such as"
                f" a browser's address bar sends. Connect with 'new WebSocket({path!r})' in a"
                " page, or with websockets.connect() in Python. If you did, something between"
                " client and app drops the 'Upgrade' header, or the server does not support"
                " WebSockets: 'pip install uvicorn[standard]'."
            )

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """Add the protocol to upgrade to, as the RFC requires, where the header is allowed. It
        also requires that `Connection` names the header (section 7.8)."""
        upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
        headers = super().get_headers(*args, **kwargs)
        return [*headers, *upgrade] if self._may_upgrade else headers


NO_WEBSOCKET: Final = (
    "A client tried to open a WebSocket at %r, which is the URL of an HTTP route, and got a"
    " 400. Register a WebSocket handler for this URL with '@app.websocket(\"...\")' (the HTTP"
    " route may stay), or connect to the URL of an existing one: 'asyncflask routes' lists"
    " them as WEBSOCKET."
)
"""Logged in debug mode, with the path, for the opposite of `UpgradeRequired`."""


IN_BRACES: Final = (
    "No rule matches %r. In the rule %r the braces are literal text. If they mark a variable,"
    " write %r."
)
"""Logged in debug mode for a 404, with the path, the rule, and what to write. No error of the
rule, since braces are valid in one."""

_BRACES: Final = re.compile(r"\{(\w+)(?::(\w+))?\}")

_EXPLAINED_CHARACTERS: Final = 200
"""A longer path gets no such explanation: with three variables in one part of the rule, doubling
the length takes eight times as long, 5 s at 2,000."""


def in_braces(rules: Iterable[Rule], path: str) -> tuple[str, str, str] | None:
    """Return the arguments of `IN_BRACES` if a rule would match *path* with its ``{name}``
    written as ``<name>``."""
    if len(path) > _EXPLAINED_CHARACTERS:
        return None
    for rule in rules:
        if not _BRACES.search(rule.rule):
            continue
        fixed = re.split(r"\{\w+(?::\w+)?\}|<[^>]*>", rule.rule)
        if re.fullmatch("[^/]+".join(map(re.escape, fixed)), path):
            return path, rule.rule, _BRACES.sub(_variable, rule.rule)
    return None


def _variable(found: re.Match[str]) -> str:
    converter = f"{found[2]}:" if found[2] else ""
    return f"<{converter}{found[1]}>"


class Map(MapBase):
    """The rules of an app (Werkzeug: `werkzeug.routing.Map`)."""

    _tree: Tree | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._changing = threading.RLock()
        self._added: list[Rule] = []
        self._preferred: dict[str, Rule] = {}
        """For each endpoint, its first rule, if that rule fits whenever exactly its
        placeholders are given, for one of its methods."""
        super().__init__(*args, **kwargs)

    def add(self, rulefactory: RuleFactory) -> None:
        with self._changing:
            for rule in rulefactory.get_rules(self):
                try:
                    super().add(rule)
                except LookupError as error:
                    raise self._explained(error, rule) from None
                self._added.append(rule)
            self._tree = None
            self._preferred = {}

    def _explained(self, error: LookupError, rule: Rule) -> LookupError:
        """Return a rule's error, with the available converters."""
        name = next((name for name in self._names_in(str(error))), None)
        if name is None:
            return error
        near = get_close_matches(name, self.converters, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        swapped = re.search(rf"<{re.escape(name)}:\s*(\w+)\s*>", rule.rule)
        if swapped is not None and swapped[1] in self.converters:
            hint = f" Write '<{swapped[1]}:{name}>': the converter comes first."
        return LookupError(
            f"The rule {rule.rule!r} uses a converter {name!r} that does not exist.{hint}"
            f" Available: {', '.join(map(repr, sorted(self.converters)))}. Add your own to"
            " 'app.url_map.converters' before the rule."
        )

    @staticmethod
    def _names_in(message: str) -> list[str]:
        return re.findall(r"^the converter '(.*)' does not exist$", message)

    def _new_tree(self) -> Tree:
        with self._changing:
            tree = self._tree = Tree(self, self._added)
            return tree

    @property
    def pending(self) -> bool:
        """`True` if a rule has a converter that is not Werkzeug's. Then also call
        `MapAdapter.match` in the request's context and on its thread."""
        return (self._tree or self._new_tree()).pending

    def find(self, path: str, method: str, websocket: bool = False) -> Match | None:
        """Return the match that `MapAdapter.match` would return for *path* of the default
        subdomain, or `NOT_FOUND` if it would raise `NotFound`. `None` if the adapter must
        decide."""
        tree = self._tree or self._new_tree()
        rule = tree.fixed.get((path, method))
        if (
            rule is not None and not websocket and method in (rule.methods or (method,))
        ):  # unchanged
            return _matched((rule, {}, None))
        if tree.long and len(path) > PATH_LENGTH:
            return TOO_LONG
        if self.host_matching or (path and path[0] != "/"):
            return None
        if path[1:2] == "/":  # several leading slashes count as one, see `MapAdapter.match`
            return self.find("/" + path.lstrip("/"), method, websocket)
        missed: list[Rule] = []
        if tree.top and path:
            match = walk(tree.top, path.split("/"), 1, (), method, websocket, missed)
        else:
            parts = [self.default_subdomain or "", *path.split("/")]
            match = walk(tree.root, parts, 0, (), method, websocket, missed)
        if match is None:
            merge = "//" in path and self.merge_slashes
            return None if missed or merge else NOT_FOUND
        target, texts = match
        if target is None or target.redirects:
            return None
        if target.pending:
            return Match(target.rule, {}, partial(_resolve, target, texts, method, missed))
        try:
            return Match(target.rule, target.convert(texts))
        except ValidationError:
            return None if missed else NOT_FOUND

    def build_path(self, endpoint: str, values: Values, method: str) -> str | None:
        """Return the path that `MapAdapter.build` would build for *endpoint* of the default
        subdomain, without a leading slash. `None` if the adapter must decide."""
        for value in values.values():
            if value is None:  # treated as missing
                values = {name: value for name, value in values.items() if value is not None}
                break
        preferred = self._preferred
        rule: Any = preferred.get(endpoint)
        built: tuple[str, str] | None = None
        if rule is not None and values.keys() == rule.arguments and method in rule.methods:
            built = rule.build(values)
        if built is None:
            try:
                rules: list[Rule] = list(self.iter_rules(endpoint))
            except KeyError:
                return None
            for rule in rules:
                if rule.suitable_for(values, method) and (built := rule.build(values)) is not None:
                    break
            else:
                return None
            is_default = type(rule).suitable_for is Rule.suitable_for
            if is_default and rule is rules[0] and rule.methods and not rule.defaults:
                preferred[endpoint] = rule
        domain: str
        path: str
        domain, path = built
        if rule.websocket or domain != (self.default_subdomain or ""):
            return None
        return path.lstrip("/")


def _resolve(target: Target, texts: Texts, method: str, missed: list[Rule]) -> Values:
    try:
        values = target.convert(texts)
        for name, value in values.items():
            if isinstance(value, CoroutineType):
                value.close()
                raise TypeError(
                    f"The converter of {name!r} in {target.rule.rule!r} is async. Write 'def"
                    " to_python(...)': it runs on the request's thread, where it may block."
                )
        return values
    except ValidationError as error:  # the first rule that matches the path decides
        raise _refusal(method, missed) from error


def _refusal(method: str, missed: list[Rule]) -> HTTPException:
    """Return the exception that Werkzeug raises if *missed* are all rules that match the path."""
    allowed = {
        name
        for rule in missed
        if rule.methods is not None and method not in rule.methods
        for name in rule.methods
    }
    if allowed:
        return MethodNotAllowed(valid_methods=list(allowed))
    return WebsocketMismatch() if missed else NotFound()
