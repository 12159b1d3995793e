"""The AsyncAPI 3.0 document of an app's typed WebSockets and streams."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from .openapi import Endpoint, Info, Json, Schemas, endpoints_of, texts
from .operation import Operation
from .signature import MISSING, alternatives

if TYPE_CHECKING:
    from ..app import Flask

VERSION: Final = "3.0.0"


def asyncapi(app: Flask, info: Info, blueprint: str, root: str) -> Json:
    """Return the document; see `Api.asyncapi`."""
    schemas = Schemas()
    channels: Json = {}
    operations: Json = {}
    schemes: Json = {}
    for endpoint in endpoints_of(app, blueprint):
        outputs = endpoint.operation.signature.outputs
        streams = [one.adapter for one in outputs.values() if one.stream]
        if not endpoint.method:
            ways = {
                "receive": _kinds(endpoint.operation, "receives", "receive_as"),
                "send": _kinds(endpoint.operation, "sends", "send_as"),
            }
        elif streams:
            ways = {"send": [adapter for adapter in streams if adapter is not None]}
        else:
            continue
        channel = _channel(endpoint, root, schemas)
        channels[endpoint.id] = channel
        for action, kinds in ways.items():
            messages = _messages(kinds, schemas)
            channel["messages"] |= messages
            if messages:
                operations[f"{endpoint.id}_{action}"] = _operation(endpoint, action, messages)
        schemes |= {one.name: _scheme(one.definition) for one in endpoint.security}
    document: Json = {"asyncapi": VERSION, "info": info}
    named = schemas.components()
    document |= {"channels": channels, "operations": operations}
    components = {"schemas": named, "securitySchemes": schemes}
    document["components"] = {name: part for name, part in components.items() if part}
    return document


def _channel(endpoint: Endpoint, root: str, schemas: Schemas) -> Json:
    channel: Json = {"address": root + endpoint.path, **texts(endpoint), "messages": {}}
    signature = endpoint.operation.signature
    if endpoint.placeholders:
        channel["parameters"] = {name: {} for name in endpoint.placeholders}
    binding: Json = {"method": "GET"} if not endpoint.method else {}
    for kind, part in (("query", "query"), ("header", "headers")):
        inputs = [
            one for one in signature.inputs if one.kind == kind and one.name not in endpoint.given
        ]
        if inputs and not endpoint.method:
            binding[part] = {
                "type": "object",
                "properties": {
                    one.alias: schemas.add(one.adapter, "validation") for one in inputs
                },
                "required": [one.alias for one in inputs if one.default is MISSING],
            }
    if binding:
        channel["bindings"] = {"ws": {**binding, "bindingVersion": "0.1.0"}}
    return channel


def _operation(endpoint: Endpoint, action: str, messages: Json) -> Json:
    channel = f"#/channels/{endpoint.id}"
    described: Json = {
        "action": action,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{name}"} for name in messages],
    }
    if endpoint.security:
        described["security"] = [
            {"$ref": f"#/components/securitySchemes/{one.name}"} for one in endpoint.security
        ]
    if endpoint.tags:
        described["tags"] = [{"name": tag} for tag in endpoint.tags]
    return described


def _messages(kinds: list[Any], schemas: Schemas) -> Json:
    """Return the messages for types or their adapters, by name."""
    messages: Json = {}
    for kind in kinds:
        adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
        name = getattr(adapter._type, "__name__", None) or f"message{len(messages) + 1}"
        messages[name] = {
            "name": name,
            "contentType": "application/json",
            "payload": schemas.add(adapter, "serialization"),
        }
    return messages


def _scheme(definition: Json) -> Json:
    """Convert OpenAPI's `apiKey`, which means something else in AsyncAPI, to its `httpApiKey`."""
    if definition["type"] == "apiKey":
        return {**definition, "type": "httpApiKey"}
    return definition


# -- what messages a handler has --------------------------------------------------------------


def _kinds(operation: Operation, option: str, method: str) -> list[Any]:
    given = operation.options.get(option)
    if given is not None:
        return alternatives(given)
    kinds: list[Any] = []
    for kind in _named_in(operation.func, method):
        kinds += [one for one in alternatives(kind) if one not in kinds]
    return kinds


def _named_in(func: Callable[..., object], method: str) -> list[Any]:
    """Return the types that the source of *func* passes as first argument to *method*."""
    inner = inspect.unwrap(func)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inner)))
    except (OSError, TypeError, SyntaxError):  # its source is not available
        return []
    found = inspect.getclosurevars(inner)
    names = {**found.builtins, **inner.__globals__, **found.nonlocals}
    kinds = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == method
            and node.args
        ):
            try:
                kinds.append(eval(compile(ast.Expression(node.args[0]), "<type>", "eval"), names))
            except Exception:  # only known when the handler runs
                continue
    return kinds
