"""The `migrate` pass over tests written for Quart: its test client becomes
`asyncflask.async_testing.AsyncClient`, which is httpx's."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from typing import Final

import libcst as cst
from libcst.metadata import PositionProvider, QualifiedNameProvider

from .clients import NO_USES, VERBS, Uses, uses_by_line
from .quart import without_await
from .rewriter import Tracker, name_of

CLIENT: Final = ("asyncflask.async_testing", "AsyncClient")
LIFESPAN: Final = ("asyncflask.asgi.lifespan", "lifespan")

_ARGUMENTS: Final = {"query_string": "params", "data": "content", "form": "data"}
_SAME: Final = frozenset({"headers", "json", "follow_redirects"})
_CLIENTS: Final = frozenset(
    {"quart.testing.QuartClient", "quart.testing.client.QuartClient"}
    | {"quart.typing.TestClientProtocol"}
)
_RESPONSE: Final = {
    "mimetype": 'response.headers["content-type"]',
    "content_type": 'response.headers["content-type"]',
    "location": 'response.headers["location"]',
    "content_length": 'response.headers["content-length"]',
    "status": "response.status_code",
    "is_json": 'response.headers["content-type"]',
    "set_cookie": "response.cookies",
}
_CLIENT_METHODS: Final = {
    "open": "client.request(method, url)",
    "trace": 'client.request("TRACE", url)',
    "request": "client.event_source(url), or client.stream(method, url)",
    "set_cookie": "client.cookies.set(name, value)",
    "delete_cookie": "client.cookies.delete(name)",
    "cookie_jar": "client.cookies.jar",
}


class QuartTests(Tracker):
    """Rewrites the test client. *fixtures*: the pytest fixtures that return one; *sync*: those of
    this file that tests use without `await`, which are Flask's; *mixed*: used in both ways."""

    METADATA_DEPENDENCIES = (QualifiedNameProvider, PositionProvider)

    def __init__(
        self,
        fixtures: Collection[str],
        sync: Collection[str] = (),
        mixed: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.fixtures = fixtures
        self.sync, self.mixed = sync, mixed
        self._uses_by_line: dict[int, Uses] = {}
        self._uses: list[Uses] = []
        """How clients are used in each scope: the module, its classes, their functions."""
        self._flasks: set[cst.CSTNode] = set()
        """The calls of ``test_client()`` that stay."""
        self._apps: list[dict[str, cst.BaseExpression]] = [{}]
        """The app behind each result of ``test_app()``, by scope and name."""

    def run(self, module: cst.Module) -> cst.Module:
        self._uses_by_line = uses_by_line(ast.parse(module.code))
        self._uses = [self._uses_by_line[0]]
        return super().run(module)

    # -- what variables hold: a client, a response or a WebSocket; or a client of Flask's

    def _uses_of(self, node: cst.CSTNode) -> Uses:
        line = self.get_metadata(PositionProvider, node).start.line
        return self._uses_by_line.get(line, NO_USES)

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        self._uses.append(self._uses_of(node))

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.ClassDef:
        self._uses.pop()
        return updated_node

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        super().visit_FunctionDef(node)
        self._apps.append({})
        self._uses.append(self._uses_of(node))
        for param in (*node.params.params, *node.params.kwonly_params):
            annotation = param.annotation and self.imported(param.annotation.annotation)
            name = param.name.value
            if name in self.fixtures or annotation in _CLIENTS:
                self.kinds[-1][name] = "flask" if self._uses[-1].is_sync(name) else "client"
        if node.decorators and node.name.value in self.sync:
            self._flasks.update(_test_clients_in(node))
        if node.decorators and node.name.value in self.mixed:
            self.note(
                "Some tests use this client without 'await'. Give them their own fixture that"
                " returns 'app.test_client()'."
            )

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        self._apps.pop()
        self._uses.pop()
        return super().leave_FunctionDef(original_node, updated_node)

    def visit_Assign(self, node: cst.Assign) -> None:
        for target in node.targets:
            self._find_flasks(target.target, node.value)
        super().visit_Assign(node)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        if node.value is not None:
            self._find_flasks(node.target, node.value)
        super().visit_AnnAssign(node)

    def _find_flasks(self, target: cst.CSTNode, value: cst.CSTNode) -> None:
        name = name_of(target)
        # Other methods of the object use the attribute too.
        uses = self._uses[-2 if "." in name and len(self._uses) > 1 else -1]
        if uses.is_sync(name):
            self._flasks.add(value)

    def visit_With(self, node: cst.With) -> None:
        if node.asynchronous is None:  # Quart's client needs 'async with'
            self._flasks.update(item.item for item in node.items)

    def visit_WithItem(self, node: cst.WithItem) -> None:
        if node.asname is None:
            return
        name = node.asname.name
        self.keep(name, self.kind(node.item))
        app = _app_of_test_app(node.item)
        if app is not None and isinstance(name, cst.Name):
            self._apps[-1][name.value] = app

    def kind(self, node: cst.BaseExpression) -> str:
        if isinstance(node, cst.Await):
            return self.kind(node.expression)
        name = name_of(node)
        if name:
            return self.kept(name)
        if not (isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute)):
            return ""
        method = node.func.attr.value
        if method == "test_client":
            return "flask" if self._is_flasks(node) else "client"
        if self.kind(node.func.value) == "client":
            if method in VERBS or method == "open":
                return "response"
            return method if method == "websocket" else ""
        return ""

    def _is_flasks(self, call: cst.Call) -> bool:
        """Return `True` for a call of ``test_client()`` whose client is not awaited."""
        name = f"{name_of(call.func)}()"
        return call in self._flasks or self._uses[-1].is_sync(name)

    # -- the client

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        func = original_node.func
        if not isinstance(func, cst.Attribute):
            return updated_node
        method = func.attr.value
        if method == "test_client" and isinstance(updated_node.func, cst.Attribute):
            if self._is_flasks(original_node):
                return updated_node
            if updated_node.args:
                self.note("'AsyncClient(app, ...)' takes the arguments of httpx's AsyncClient.")
                return updated_node
            self.imports.append(CLIENT)
            return cst.Call(cst.Name(CLIENT[1]), [cst.Arg(updated_node.func.value)])
        kind = self.kind(func.value)
        if kind == "client" and method in VERBS:
            return updated_node.with_changes(
                args=[self._argument(arg) for arg in updated_node.args]
            )
        if (
            kind == "client"
            and method == "websocket"
            and isinstance(updated_node.func, cst.Attribute)
        ):
            for arg in updated_node.args[1:]:
                if arg.keyword is None or arg.keyword.value not in ("headers", "subprotocols"):
                    self.note("'websocket_connect' takes a URL, 'headers' and 'subprotocols'.")
            attr = cst.Name("websocket_connect")
            return updated_node.with_changes(func=updated_node.func.with_changes(attr=attr))
        if kind == "websocket" and method == "disconnect":
            assert isinstance(updated_node.func, cst.Attribute)
            return updated_node.with_changes(
                func=updated_node.func.with_changes(attr=cst.Name("close"))
            )
        return updated_node

    def _argument(self, arg: cst.Arg) -> cst.Arg:
        if arg.keyword is None:
            return arg
        name = arg.keyword.value
        if name in _ARGUMENTS:
            return arg.with_changes(keyword=cst.Name(_ARGUMENTS[name]))
        if name == "path":
            return arg.with_changes(keyword=cst.Name("url"))
        if name == "files":
            self.note("httpx takes files as files={'name': ('file.txt', data, 'text/plain')}.")
        elif name not in _SAME:
            self.note(f"httpx has no argument '{name}'.")
        return arg

    def leave_WithItem(
        self, original_node: cst.WithItem, updated_node: cst.WithItem
    ) -> cst.WithItem:
        app = _app_of_test_app(original_node.item)
        if app is None:
            return _without_lifespan(original_node, updated_node)
        self.imports.append(LIFESPAN)
        call = cst.Call(cst.Name(LIFESPAN[1]), [cst.Arg(app)])
        return updated_node.with_changes(item=call, asname=None)

    def visit_Attribute(self, node: cst.Attribute) -> None:
        kind, name = self.kind(node.value), node.attr.value
        if kind == "response" and name in _RESPONSE:
            self.note(f"httpx's response has no '{name}'. Write: {_RESPONSE[name]}.")
        if kind == "client" and name in _CLIENT_METHODS:
            self.note(
                f"httpx's client has no '{name}' of this kind. Write: {_CLIENT_METHODS[name]}."
            )

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        if original_node in self.no_reference:
            return updated_node
        for apps in reversed(self._apps):
            if original_node.value in apps:
                return apps[original_node.value].deep_clone()
        return updated_node

    def visit_Param(self, node: cst.Param) -> bool:
        return False

    # -- its responses

    def leave_Await(self, original_node: cst.Await, updated_node: cst.Await) -> cst.BaseExpression:
        old, new = original_node.expression, updated_node.expression
        callee = old.func if isinstance(old, cst.Call) else old
        if not isinstance(callee, cst.Attribute):
            return updated_node
        name, kind = callee.attr.value, self.kind(callee.value)
        if name not in ("get_data", "get_json", "data", "json"):
            return updated_node
        if kind != "response":
            if isinstance(old, cst.Call) and not self.imported(callee) and kind == "":
                write = "response.json()" if name == "get_json" else "response.content"
                self.note(
                    "If this is a request or response, remove 'await'; if it is the test"
                    f" client's, write '{write}'."
                )
            return updated_node
        target = new.func if isinstance(new, cst.Call) else new
        assert isinstance(target, cst.Attribute)
        if name in ("get_json", "json"):
            value: cst.BaseExpression = cst.Call(target.with_changes(attr=cst.Name("json")))
        else:
            text = isinstance(old, cst.Call) and _is_as_text(old)
            value = target.with_changes(attr=cst.Name("text" if text else "content"))
        return without_await(updated_node.with_changes(expression=value))


def _without_lifespan(original: cst.WithItem, node: cst.WithItem) -> cst.WithItem:
    """Keep ``async with app.test_client()`` from starting the app, as in Quart."""
    made, client = original.item, node.item
    if not (isinstance(made, cst.Call) and isinstance(made.func, cst.Attribute)):
        return node
    if made.func.attr.value != "test_client" or not isinstance(client, cst.Call):
        return node
    if name_of(client.func) != CLIENT[1]:
        return node
    equal = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
    flag = cst.Arg(cst.Name("False"), keyword=cst.Name("lifespan"), equal=equal)
    return node.with_changes(item=client.with_changes(args=[*client.args, flag]))


def _is_as_text(call: cst.Call) -> bool:
    """Return `True` for ``get_data(as_text=True)``, or with another true value."""
    return any(name_of(arg.value) != "False" for arg in call.args)


def _app_of_test_app(node: cst.BaseExpression) -> cst.Name | cst.Attribute | None:
    """Return the app in ``app.test_app()``."""
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
        owner = node.func.value
        if node.func.attr.value == "test_app" and isinstance(owner, cst.Name | cst.Attribute):
            return owner
    return None


def _test_clients_in(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    for child in node.children:
        if isinstance(child, cst.Call) and name_of(child.func).endswith(".test_client"):
            yield child
        yield from _test_clients_in(child)
