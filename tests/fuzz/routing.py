"""Random rules and URLs: requests and WebSockets end where Werkzeug's own map says, with the same
values, the same redirects and the same methods."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from urllib.parse import quote

from werkzeug.exceptions import HTTPException
from werkzeug.routing import BuildError, Map, RequestRedirect, Rule, WebsocketMismatch
from werkzeug.urls import iri_to_uri

from asyncflask import Flask, request, websocket
from fuzz.common import ask_asgi, environ_of, expect, http_scope, runner
from support.asgi import Peer

PARTS = ["a", "b", "ab", "a b", "é", "a.b", "", "<x>", "<x>-<y>", "v<x>", "<x>.txt", "<int:x>"]
PARTS += ["<int(signed=True):x>", "<float:x>", "<path:x>", "<string(length=2):x>", "<uuid:x>"]
PARTS += ["<any(a, b, 'a b'):x>", "<string(minlength=2, maxlength=3):x>", "<int(max=9):x>"]
PIECES = [b"a", b"b", b"ab", b"a%20b", b"%C3%A9", b"\x25e9", b"a.b", b"", b"x-y", b"va", b"a.txt"]
PIECES += [
    b"1",
    b"007",
    b"-1",
    b"1.5",
    b"%FF",
    b"%2F",
    b"a%2Fb",
    b"%00",
    b"..",
    b";",
    b"+",
    b"%25",
]
PIECES += [b"12345678-1234-5678-1234-567812345678", b"aab", b"%F0%9F%8D%B5", b"'", b"~", b"%7E"]
METHODS = ["GET", "HEAD", "POST", "PUT", "OPTIONS", "PATCH", "X"]
HOSTS = ["localhost", "a.localhost", "b.a.localhost", "other", "localhost:80", "A.localhost"]


def random_rule(chance: Random, number: int, by_host: bool, by_subdomain: bool) -> dict[str, Any]:
    parts = [chance.choice(PARTS) for _ in range(chance.randint(0, 3))]
    text = "/" + "/".join(parts) + (chance.choice(["", "/"]) if parts else "")
    for index in range(4):  # the name of a placeholder may be in a rule once
        text = text.replace("x>", f"v{2 * index}>", 1).replace("<y>", f"<v{2 * index + 1}>", 1)
    rule: dict[str, Any] = {"rule": text, "endpoint": chance.choice([f"e{number}", "shared"])}
    if chance.random() < 0.15:
        rule["websocket"] = True
        rule["endpoint"] += " of WebSockets"
    else:
        rule["methods"] = chance.choice([["GET"], ["POST"], ["GET", "PUT"], ["GET"]])
    for key in "strict_slashes", "merge_slashes":
        if (value := chance.choice([None, None, True, False])) is not None:
            rule[key] = value
    if chance.random() < 0.1 and "v0>" not in text:
        rule["defaults"] = {"v0": chance.choice(["a", 1])}
    if chance.random() < 0.05:
        rule["redirect_to"] = chance.choice(["/b", "b/<v0>"]) if "v0>" in text else "/b"
    if chance.random() < 0.03:
        rule["alias"] = True
    if chance.random() < 0.03:
        rule["build_only"] = True
    if by_host:
        rule["host"] = chance.choice(["localhost", "a.localhost", "<v8>.localhost", "other"])
    elif by_subdomain and chance.random() < 0.5:
        rule["subdomain"] = chance.choice(["a", "<v8>", "b.a"])
    return rule


def view(**values: Any) -> dict[str, Any]:
    return {"endpoint": request.endpoint, "values": {k: str(v) for k, v in values.items()}}


async def view_async(**values: Any) -> dict[str, Any]:
    return view(**values)


async def handler(**values: Any) -> None:
    await websocket.accept()
    await websocket.send_json(view(**values))


class Site:
    """The same rules in an app and in a map of Werkzeug's."""

    def __init__(self, chance: Random) -> None:
        self.by_host = chance.random() < 0.2
        self.by_subdomain = not self.by_host and chance.random() < 0.3
        self.server_name = "localhost" if self.by_subdomain or chance.random() < 0.2 else None
        self.app = Flask(
            __name__,
            static_folder=None,
            host_matching=self.by_host,
            subdomain_matching=self.by_subdomain,
        )
        self.app.config["SERVER_NAME"] = self.server_name
        self.map = Map(host_matching=self.by_host)
        for name in "strict_slashes", "merge_slashes", "redirect_defaults":
            value = chance.random() < 0.7
            setattr(self.app.url_map, name, value)
            setattr(self.map, name, value)
        self.rules: list[dict[str, Any]] = []
        for number in range(chance.randint(1, 10)):
            self.add(random_rule(chance, number, self.by_host, self.by_subdomain), chance)

    def add(self, rule: dict[str, Any], chance: Random) -> None:
        options = {key: value for key, value in rule.items() if key not in ("rule", "endpoint")}
        # As Flask and asyncflask register it.
        methods = {"methods": [*rule["methods"], "OPTIONS"] if "methods" in rule else ["GET"]}
        try:
            self.map.add(Rule(rule["rule"], endpoint=rule["endpoint"], **options | methods))
        except (ValueError, LookupError, TypeError):  # no rule
            return
        self.rules.append(rule)
        function: Any = handler if "websocket" in rule else chance.choice([view, view_async])
        function = self.app.view_functions.get(rule["endpoint"], function)
        self.app.add_url_rule(rule["rule"], rule["endpoint"], function, **options)

    def outcome(self, scope: Any) -> Any:
        """What Werkzeug makes of it: as `asked` gives it."""
        is_websocket = scope["type"] == "websocket"
        environ = environ_of({**scope, "method": scope.get("method", "GET")}, b"")
        if is_websocket:
            environ |= {"HTTP_CONNECTION": "Upgrade", "HTTP_UPGRADE": "websocket"}
        adapter = self.map.bind_to_environ(
            environ,
            server_name=None if self.by_host else self.server_name,
            subdomain=None if self.by_host or self.by_subdomain else "",
        )
        try:
            endpoint, values = adapter.match(websocket=is_websocket)
        except RequestRedirect as redirect:
            return redirect.code, iri_to_uri(redirect.new_url)
        except WebsocketMismatch as error:  # a request for a WebSocket: we say more than 400
            return error.code if is_websocket else 426, []
        except HTTPException as error:
            return error.code, sorted(getattr(error, "valid_methods", None) or ())
        except (BuildError, ValueError):  # of a redirect that it cannot build
            return None
        if scope.get("method") == "OPTIONS":
            return 200, sorted(adapter.allowed_methods())
        return 200, {"endpoint": endpoint, "values": {k: str(v) for k, v in values.items()}}


def asked(app: Flask, scope: Any) -> Any:
    """What the app answers: its status, with the values of the rule or what a header says."""
    if scope["type"] == "websocket":
        return asked_by_websocket(app, scope)
    status, headers, body = ask_asgi(app, scope)
    named = dict(headers)
    if "location" in named:
        return status, named["location"]
    if status == 200 and scope["method"] == "HEAD":
        return 200, None
    if status == 200 and scope["method"] != "OPTIONS":
        return 200, json.loads(body)
    return status, sorted(name for name in named.get("allow", "").split(", ") if name)


def asked_by_websocket(app: Flask, scope: Any) -> Any:
    peer = Peer([{"type": "websocket.connect"}])
    runner().run(_run(app, scope, peer))
    first = peer.sent[0]
    if first["type"] == "websocket.accept":
        return 200, json.loads(peer.sent[1]["text"])
    headers = {name.decode(): value.decode("latin-1") for name, value in first["headers"]}
    if "location" in headers:
        return first["status"], headers["location"]
    return first["status"], []


async def _run(app: Flask, scope: Any, peer: Peer) -> None:
    await app(scope, peer.receive, peer.send)


@contextmanager
def fuzzer() -> Iterator[Any]:
    yield case


def random_path(chance: Random, rules: list[dict[str, Any]]) -> bytes:
    """Any, or one that a rule may match."""
    if rules and chance.random() < 0.6:
        rule: str = chance.choice(rules)["rule"]
        piece = chance.choice(PIECES).decode()
        return re.sub("<[^>]*>", lambda _: piece, quote(rule, safe="/<>")).encode()
    count = chance.choice([0, 1, 1, 2, 2, 3, 4])
    return b"/" + b"/".join(chance.choice(PIECES) for _ in range(count))


def case(chance: Random) -> None:
    site = Site(chance)
    for _ in range(20):
        path = random_path(chance, site.rules)
        path += chance.choice([b"", b"", b"/", b"//", b"?a=b", b"?%FF=\x27"])
        host = chance.choice(HOSTS if site.by_host or site.by_subdomain else HOSTS[:1])
        scope = http_scope(path, chance.choice(METHODS + ["GET"] * 5), [(b"host", host.encode())])
        if chance.random() < 0.15:
            scope["type"], scope["scheme"] = "websocket", "ws"
            del scope["method"]
            scope["extensions"] = {"websocket.http.response": {}}
        if (expected := site.outcome(scope)) is None:
            continue
        found = asked(site.app, scope)
        if scope.get("method") == "HEAD" and expected[0] == 200:
            expected = 200, None
        if scope["type"] == "websocket" and expected[0] == 405:
            expected = 405, []
        what = f"{scope['type']} {scope.get('method')} {host} {path!r}"
        expect(f"{what} in {site.rules}", found, expected)
