"""The `migrate` pass over tests written for Quart: its test client becomes
`asyncflask.async_testing.AsyncClient`, which is httpx's."""

from __future__ import annotations

import ast
from collections.abc import Collection
from typing import Final

import libcst as cst

from .quart import without_await
from .rewriter import Tracker, name_of

CLIENT: Final = ("asyncflask.async_testing", "AsyncClient")
LIFESPAN: Final = ("asyncflask.asgi.lifespan", "lifespan")

_VERBS: Final = frozenset({"delete", "get", "head", "options", "patch", "post", "put"})
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
    """Rewrites the test client. *fixtures*: the pytest fixtures that return one."""

    def __init__(self, fixtures: Collection[str]) -> None:
        super().__init__()
        self.fixtures = fixtures
        self._apps: list[dict[str, cst.BaseExpression]] = [{}]
        """The app behind each result of ``test_app()``, by scope and name."""

    # -- what variables hold: a client, a response or a WebSocket

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        super().visit_FunctionDef(node)
        self._apps.append({})
        for param in (*node.params.params, *node.params.kwonly_params):
            annotation = param.annotation and self.imported(param.annotation.annotation)
            if param.name.value in self.fixtures or annotation in _CLIENTS:
                self.kinds[-1][param.name.value] = "client"

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        self._apps.pop()
        return super().leave_FunctionDef(original_node, updated_node)

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
            return "client"
        if self.kind(node.func.value) == "client":
            if method in _VERBS or method == "open":
                return "response"
            return method if method == "websocket" else ""
        return ""

    # -- the client

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        func = original_node.func
        if not isinstance(func, cst.Attribute):
            return updated_node
        method = func.attr.value
        if method == "test_client" and isinstance(updated_node.func, cst.Attribute):
            if updated_node.args:
                self.note("'AsyncClient(app, ...)' takes the arguments of httpx's AsyncClient.")
                return updated_node
            self.imports.append(CLIENT)
            return cst.Call(cst.Name(CLIENT[1]), [cst.Arg(updated_node.func.value)])
        kind = self.kind(func.value)
        if kind == "client" and method in _VERBS:
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


def client_fixtures(tree: ast.Module) -> set[str]:
    """Return the pytest fixtures that return a test client."""
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)
        and _gives_client(node)
    }


def _gives_client(node: ast.AST) -> bool:
    clients: set[str] = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Assign) and _is_client(child.value):
            clients.update(target.id for target in child.targets if isinstance(target, ast.Name))
        if (
            isinstance(child, ast.withitem)
            and _is_client(child.context_expr)
            and isinstance(child.optional_vars, ast.Name)
        ):
            clients.add(child.optional_vars.id)
    return any(
        isinstance(child, ast.Return | ast.Yield)
        and child.value is not None
        and (_is_client(child.value) or getattr(child.value, "id", None) in clients)
        for child in ast.walk(node)
    )


def _is_client(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "test_client"
    )
