"""The `migrate` pass over an app written for Quart: removes `await`s, renames, and adds notes
on what behaves differently."""

from __future__ import annotations

from typing import Final

import libcst as cst
from libcst.metadata import (
    ImportAssignment,
    ParentNodeProvider,
    QualifiedNameProvider,
    Scope,
    ScopeProvider,
)

from .names import (
    CONFIG,
    CONFIG_RENAMED,
    COROUTINES,
    OF_APP,
    OF_RESPONSE,
    OF_WEBSOCKET,
    ON_APP_ONLY_IN_QUART,
    VALUES,
)
from .rewriter import Tracker, code, name_of

_APPS: Final = frozenset({"quart.Quart", "quart.app.Quart"})
_BLUEPRINTS: Final = frozenset({"quart.Blueprint", "quart.blueprints.Blueprint"})
_RESPONSES: Final = frozenset(
    {"quart.make_response", "quart.jsonify", "quart.send_file", "quart.send_from_directory"}
    | {"quart.Response", "quart.redirect", "quart.helpers.make_response"}
)
_ANNOTATED: Final = {
    "Quart": "app",
    "Blueprint": "app",
    "Request": "request",
    "Response": "response",
}
_FOLDERS: Final = frozenset({"instance_path", "root_path", "static_folder"})
_RUN_SYNC: Final = "quart.utils.run_sync"
_RUN_OPTIONS: Final = frozenset({"loop", "ca_certs", "certfile", "keyfile"})
_IN_TEMPLATES: Final = frozenset(
    {"app_template_filter", "app_template_global", "app_template_test", "template_filter"}
    | {"template_global", "template_test"}
)


class Quart(Tracker):
    """Rewrites uses of Quart's names."""

    METADATA_DEPENDENCIES = (QualifiedNameProvider, ParentNodeProvider, ScopeProvider)

    def __init__(self, *, has_websockets: bool) -> None:
        super().__init__()
        self.has_websockets = has_websockets
        self._overrides: set[cst.CSTNode] = set()
        """Coroutine methods that override what is sync here."""

    # -- what variables hold: an app, a response, or files of a request

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        super().visit_FunctionDef(node)
        self._say_of_function(node)
        for param in (*node.params.params, *node.params.kwonly_params):
            annotation = self.imported(param.annotation.annotation) if param.annotation else ""
            kind = _ANNOTATED.get(annotation.rpartition(".")[2], "")
            if kind and annotation.startswith("quart."):
                self.kinds[-1][param.name.value] = kind
        if any(_method(d.decorator) == "after_request" for d in node.decorators):
            for param in node.params.params[:1]:
                self.kinds[-1][param.name.value] = "response"

    def visit_For(self, node: cst.For) -> None:
        if self.kind(node.iter) == "files":
            elements = node.target.elements if isinstance(node.target, cst.Tuple) else ()
            for target in [element.value for element in elements] or [node.target]:
                self.keep(target, "files")
        self._say_of_body(node.iter)

    def visit_CompFor(self, node: cst.CompFor) -> None:
        self._say_of_body(node.iter)

    def _say_of_body(self, node: cst.BaseExpression) -> None:
        if self.imported(node) == "quart.request.body":
            self.note("Write 'async for ... in request.stream', with 'stream=True' on the route.")

    def kind(self, node: cst.BaseExpression) -> str:
        if isinstance(node, cst.Await):
            return self.kind(node.expression)
        if isinstance(node, cst.Name | cst.Attribute):
            full = self.imported(node)
            if full == "quart.request.files":
                return "files"
            if full == "quart.current_app":
                return "app"
            kind = self.kept(name_of(node))
            if kind or isinstance(node, cst.Name):
                return kind
            return "files" if self.kind(node.value) == "files" else ""
        if isinstance(node, cst.Subscript):
            return "files" if self.kind(node.value) == "files" else ""
        if isinstance(node, cst.Call):
            full = self.imported(node.func)
            if full in _APPS or full in _BLUEPRINTS:
                return "app"
            if full in _RESPONSES:
                return "response"
            if isinstance(node.func, cst.Attribute):
                owner = self.kind(node.func.value)
                if owner == "app" and node.func.attr.value in (
                    "make_response",
                    "process_response",
                ):
                    return "response"
                return "files" if owner == "files" else ""
        return ""

    # -- await

    def leave_Await(self, original_node: cst.Await, updated_node: cst.Await) -> cst.BaseExpression:
        expression, new = original_node.expression, updated_node.expression
        if self._is_value(expression):
            return without_await(updated_node)
        if self.imported(expression) == "quart.request.body":
            assert isinstance(new, cst.Attribute)
            call = cst.Call(new.with_changes(attr=cst.Name("get_data")))
            return without_await(updated_node.with_changes(expression=call))
        if isinstance(expression, cst.Call) and isinstance(expression.func, cst.Call):
            inner = expression.func
            if self.imported(inner.func) == _RUN_SYNC and isinstance(new, cst.Call):
                called = new.func
                assert isinstance(called, cst.Call)
                first = called.args[0].with_changes(
                    comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
                    if new.args
                    else cst.MaybeSentinel.DEFAULT
                )
                call = new.with_changes(func=called.func, args=[first, *new.args])
                return updated_node.with_changes(expression=call)
        return updated_node

    def _is_value(self, node: cst.BaseExpression) -> bool:
        """Return `True` if the awaited expression is not a coroutine any more."""
        callee = node.func if isinstance(node, cst.Call) else node
        full = self.imported(callee)
        if full in VALUES or full in COROUTINES:
            return True
        if not isinstance(callee, cst.Attribute):
            return False
        attribute, owner = callee.attr.value, self.kind(callee.value)
        if isinstance(callee.value, cst.Call) and name_of(callee.value.func) == "super":
            owner = owner or "app"
        return (
            (owner == "app" and attribute in OF_APP)
            or (owner == "request" and f"quart.request.{attribute}" in VALUES)
            or (owner == "response" and attribute in OF_RESPONSE)
            or (owner == "files" and attribute == "save")
        )

    # -- what else changes

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        full = self.imported(original_node.func)
        parent = self.get_metadata(ParentNodeProvider, original_node)
        if full in COROUTINES | VALUES and isinstance(parent, cst.Arg):
            self.note(f"'{full.rpartition('.')[2]}(...)' is a value here, not a coroutine.")
        if full == _RUN_SYNC and not _is_called_and_awaited(self, original_node):
            self.note("Here, 'await run_sync(f, x)' calls f. It does not return a function.")
        if isinstance(original_node.func, cst.Attribute):
            return self._method_called(original_node.func, updated_node)
        return updated_node

    def _method_called(self, func: cst.Attribute, node: cst.Call) -> cst.Call:
        name = func.attr.value
        if name == "add_websocket" and isinstance(node.func, cst.Attribute):
            func_ = node.func.with_changes(attr=cst.Name("add_url_rule"))
            equal = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
            flag = cst.Arg(cst.Name("True"), keyword=cst.Name("websocket"), equal=equal)
            return node.with_changes(func=func_, args=[*node.args, flag])
        is_app = self.kind(func.value) == "app"
        if is_app and name in ON_APP_ONLY_IN_QUART:
            self.note(f"There is no '{name}' here: {ON_APP_ONLY_IN_QUART[name]}.")
        if is_app and name == "run":
            given = {arg.keyword.value for arg in node.args if arg.keyword is not None}
            for option in sorted(given & _RUN_OPTIONS):
                self.note(f"'run' has no '{option}': pass it to 'asyncflask run' or your server.")
        if name == "from_prefixed_env" and not node.args:
            self.note("The prefix is FLASK_ here; write from_prefixed_env('QUART') to keep it.")
        return node

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        full = self.imported(original_node)
        if full in VALUES:
            parent = self.get_metadata(ParentNodeProvider, original_node)
            if isinstance(parent, cst.Arg):
                self.note(f"'{full.removeprefix('quart.')}' is a value here, not a coroutine.")
        if full.startswith("quart.websocket."):
            name = original_node.attr.value
            is_direct = full == f"quart.websocket.{name}"
            if is_direct and name not in OF_WEBSOCKET and not name.startswith("_"):
                return self._of_request(name, original_node, updated_node)
        return updated_node

    def _of_request(
        self, name: str, original: cst.Attribute, node: cst.Attribute
    ) -> cst.Attribute:
        """Rewrite what Quart has on `websocket` and asyncflask on `request`."""
        if isinstance(node.value, cst.Attribute):  # quart.websocket.args
            return node.with_changes(value=node.value.with_changes(attr=cst.Name("request")))
        scope: Scope | None = self.get_metadata(ScopeProvider, original)
        if scope is None or not all(
            isinstance(assigned, ImportAssignment)
            and any(n.name == "quart.request" for n in assigned.get_qualified_names_for("request"))
            for assigned in scope["request"]
        ):
            self.note(f"Write 'asyncflask.request.{name}': the handshake is a request.")
            return node
        self.imports.append(("quart", "request"))
        return node.with_changes(value=cst.Name("request"))

    def leave_BinaryOperation(
        self, original_node: cst.BinaryOperation, updated_node: cst.BinaryOperation
    ) -> cst.BinaryOperation:
        left = updated_node.left
        if isinstance(updated_node.operator, cst.Divide) and _is_folder(left):
            self.imports.append(("pathlib", "Path"))
            path = cst.Call(cst.Name("Path"), [cst.Arg(left)])
            return updated_node.with_changes(left=path)
        return updated_node

    def visit_Attribute(self, node: cst.Attribute) -> None:
        if _is_folder(node.value):
            name = name_of(node.value) or "a folder"
            self.note(f"'{name}' is a string here. Write 'Path({name})'.")

    def leave_SimpleString(
        self, original_node: cst.SimpleString, updated_node: cst.SimpleString
    ) -> cst.SimpleString:
        text = original_node.raw_value
        if text in CONFIG:
            self.note(f"'{text}': {CONFIG[text]}.")
        if text in CONFIG_RENAMED:
            return updated_node.with_changes(
                value=updated_node.value.replace(text, CONFIG_RENAMED[text])
            )
        return updated_node

    # -- notes on what behaves otherwise

    def _say_of_function(self, node: cst.FunctionDef) -> None:
        methods = {_method(decorator.decorator) for decorator in node.decorators}
        if self.has_websockets and methods & {"before_request", "teardown_request"}:
            self.note(
                "This runs for WebSockets too. If it must not, start it with 'if"
                " has_websocket_context(): return'."
            )
        if methods & {"before_request"} and methods & {"before_websocket"}:
            self.note("Remove 'before_websocket': 'before_request' runs for both.")
        if node in self._overrides:
            self.note(f"'{node.name.value}' is a 'def' method here, as in Flask.")
        if node.asynchronous and methods & _IN_TEMPLATES:
            self.note(
                "Templates that call it need 'await render_template_async(...)' in async views."
            )

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        if not any(self.imported(base.value) in _APPS for base in node.bases):
            return
        for item in node.body.body:
            if not (isinstance(item, cst.FunctionDef) and item.asynchronous):
                continue
            if item.name.value in OF_APP:
                self._overrides.add(item)

    def visit_ExceptHandler(self, node: cst.ExceptHandler) -> None:
        if (
            node.type is not None
            and self.has_websockets
            and "asyncio.CancelledError" in map(self.imported, _types(node.type))
        ):
            self.note(
                "When the client leaves, receive and send raise 'WebSocketDisconnect' here,"
                " not CancelledError."
            )


def _types(node: cst.BaseExpression) -> list[cst.BaseExpression]:
    if isinstance(node, cst.Tuple):
        return [element.value for element in node.elements]
    return [node]


def _method(decorator: cst.BaseExpression) -> str:
    """Return ``route`` for ``@app.route("/")``."""
    if isinstance(decorator, cst.Call):
        decorator = decorator.func
    return decorator.attr.value if isinstance(decorator, cst.Attribute) else ""


def _is_folder(node: cst.BaseExpression) -> bool:
    """Return `True` for an attribute that is a `Path` in Quart and a string in Flask."""
    return isinstance(node, cst.Attribute) and node.attr.value in _FOLDERS


def _is_called_and_awaited(rewriter: Quart, node: cst.Call) -> bool:
    """Return `True` for ``await run_sync(f)(x)``, with *node* as ``run_sync(f)``."""
    call = rewriter.get_metadata(ParentNodeProvider, node)
    if not (isinstance(call, cst.Call) and call.func is node):
        return False
    return isinstance(rewriter.get_metadata(ParentNodeProvider, call), cst.Await)


def without_await(node: cst.Await) -> cst.BaseExpression:
    """Return the awaited expression, in the parentheses around ``await`` if its line breaks
    need them."""
    expression = node.expression
    callee = expression.func if isinstance(expression, cst.Call) else expression
    if not node.lpar or ("\n" not in code(callee) and not _has_lines(node)):
        return expression
    return expression.with_changes(
        lpar=[*node.lpar, *expression.lpar], rpar=[*expression.rpar, *node.rpar]
    )


def _has_lines(node: cst.Await) -> bool:
    return any("\n" in code(side) for side in (*node.lpar, *node.rpar))
