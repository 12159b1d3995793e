"""The OpenAPI 3.1 document of an app's typed views."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NotRequired, TypedDict

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from pydantic_core import to_jsonable_python
from werkzeug.datastructures import FileStorage
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.routing import Rule

from .markers import SecurityScheme
from .operation import JSON_LINES, Operation
from .problems import PROBLEM_JSON, Problem
from .signature import MISSING, Input, Output

if TYPE_CHECKING:
    from ..app import Flask

Json = dict[str, Any]
"""An object of a document, or a schema."""

PROBLEM: Final = TypeAdapter(Problem)
EVENT_STREAM: Final = "text/event-stream"
_PLACEHOLDER: Final = re.compile(r"<(?:[^<>]*:)?([^<>:]+)>")
_CONVERTER: Final = re.compile(r"<(?!string:|default:|path:)[^<>]*:")
_FORM: Final = ("form", "file")


class Info(TypedDict):
    """What a document says about itself."""

    title: str
    version: str
    description: NotRequired[str]


@dataclass
class Endpoint:
    """A typed function at a URL."""

    id: str
    path: str
    """With ``{placeholder}``."""
    placeholders: list[str]
    converters: bool
    """`True` if a placeholder does not match every text."""
    given: frozenset[str]
    """The names whose values come from the rule: its placeholders and defaults."""
    method: str
    """In lower case. Empty for a WebSocket."""
    operation: Operation
    security: tuple[SecurityScheme, ...]
    tags: list[str]


def endpoints_of(app: Flask, blueprint: str) -> Iterator[Endpoint]:
    """Yield the typed functions of *app*, or of one blueprint and those nested in it."""
    names: Counter[str] = Counter()
    for rule in app.url_map.iter_rules():
        view = app.view_functions.get(rule.endpoint)
        if blueprint and not rule.endpoint.startswith(f"{blueprint}."):
            continue
        found = dict(_operations(view, rule))
        for method, func in found.items():
            operation: Operation = func.__api__
            if operation.options.get("hidden"):
                continue
            name = operation.options.get("operation_id") or rule.endpoint.replace(".", "_")
            name = f"{name}_{method}" if len(found) > 1 else name
            names[name] += 1  # counts the URLs of a function
            tags = operation.options.get("tags")
            within = rule.endpoint.rpartition(".")[0]
            placeholders = _PLACEHOLDER.findall(rule.rule)
            yield Endpoint(
                name if names[name] == 1 else f"{name}_{names[name]}",
                _PLACEHOLDER.sub(r"{\1}", rule.rule),
                placeholders,
                _CONVERTER.search(rule.rule) is not None,
                frozenset({*placeholders, *(rule.defaults or ())}),
                method,
                operation,
                tuple(dict.fromkeys((*_security(view), *_security(func)))),
                list(tags) if tags is not None else [within] if within else [],
            )


def _operations(view: object, rule: Rule) -> Iterator[tuple[str, Any]]:
    """Yield the typed functions of a view, by method."""
    kind = getattr(view, "view_class", None)
    for method in sorted(rule.methods or ()):
        func = view
        if kind is not None:
            func = getattr(kind, method.lower(), None) or kind.dispatch_request
        if not hasattr(func, "__api__") or (method in ("HEAD", "OPTIONS") and _is_extra(rule)):
            continue
        yield ("" if rule.websocket else method.lower()), func


def _is_extra(rule: Rule) -> bool:
    """Return `True` if HEAD and OPTIONS only accompany the rule's other methods."""
    return bool((rule.methods or set()) - {"HEAD", "OPTIONS"})


def _security(func: object) -> tuple[SecurityScheme, ...]:
    return getattr(func, "__api_security__", ())


class Schemas:
    """JSON schemas, generated together, so that each model has one name. `add` returns an empty
    schema, which `components` fills in."""

    def __init__(self) -> None:
        self._asked: list[tuple[int, JsonSchemaMode, TypeAdapter[Any]]] = []
        self._given: list[Json] = []

    def add(self, adapter: TypeAdapter[Any], mode: JsonSchemaMode) -> Json:
        schema: Json = {}
        self._asked.append((len(self._given), mode, adapter))
        self._given.append(schema)
        return schema

    def components(self) -> Json:
        """Return the named schemas."""
        made, definitions = TypeAdapter.json_schemas(
            self._asked,
            ref_template="#/components/schemas/{model}",
            schema_generator=_Generator,
        )
        for (key, mode, _), schema in zip(self._asked, self._given, strict=True):
            filled = made[key, mode] | schema
            if "$ref" in filled and filled.get("title") == schema.get("title"):
                filled.pop("title", None)  # the model has its own title
            schema.clear()
            schema |= filled
        named: Json = definitions.get("$defs", {})
        return named


class _Generator(GenerateJsonSchema):
    def is_instance_schema(self, schema: Any) -> Any:
        if schema["cls"] is FileStorage:
            return {"type": "string", "format": "binary"}
        return super().is_instance_schema(schema)


def openapi(app: Flask, info: Info, blueprint: str, root: str) -> Json:
    """Return the document; see `Api.openapi`."""
    schemas = Schemas()
    paths: Json = {}
    schemes: Json = {}
    tags: dict[str, None] = {}
    models: list[tuple[Json, str, Json]] = []
    problem = schemas.add(PROBLEM, "serialization")
    for endpoint in endpoints_of(app, blueprint):
        if endpoint.method:
            described = _operation(endpoint, schemas, problem, models)
            paths.setdefault(endpoint.path, {})[endpoint.method] = described
            schemes |= {one.name: one.definition for one in endpoint.security}
            tags |= dict.fromkeys(endpoint.tags)
    named = schemas.components()
    for described, where, schema in models:
        described["parameters"] += _expanded(schema, where, named)
    document: Json = {"openapi": "3.1.0", "info": info}
    if root:
        document["servers"] = [{"url": root}]
    document["paths"] = paths
    components: Json = {}
    if used := _reachable(paths, named):
        components["schemas"] = used
    if schemes:
        components["securitySchemes"] = schemes
    if components:
        document["components"] = components
    if tags:
        document["tags"] = [{"name": tag} for tag in tags]
    return document


def texts(endpoint: Endpoint) -> Json:
    """Return summary and description."""
    options = endpoint.operation.options
    summary, _, rest = (inspect.getdoc(endpoint.operation.func) or "").partition("\n")
    name = endpoint.operation.func.__name__.replace("_", " ").title()
    said: Json = {"summary": options.get("summary") or summary.strip() or name}
    if description := options.get("description") or rest.strip():
        said["description"] = description
    return said


def _operation(
    endpoint: Endpoint, schemas: Schemas, problem: Json, models: list[tuple[Json, str, Json]]
) -> Json:
    operation = endpoint.operation
    signature = operation.signature
    described: Json = {**texts(endpoint), "operationId": endpoint.id}
    if endpoint.tags:
        described["tags"] = endpoint.tags
    if operation.options.get("deprecated", hasattr(operation.func, "__deprecated__")):
        described["deprecated"] = True
    if endpoint.security:
        described["security"] = [{one.name: list(one.scopes)} for one in endpoint.security]
    parameters: list[Json] = []
    form: list[Input] = []
    for one in signature.inputs:
        if one.name in endpoint.placeholders:
            parameters.append(_parameter(one, "path", schemas))
        elif one.name in endpoint.given:
            continue
        elif one.members is not None and one.kind != "form":
            models.append((described, one.kind, schemas.add(one.adapter, "validation")))
            described.setdefault("parameters", parameters)
        elif one.kind in ("query", "header", "cookie"):
            parameters.append(_parameter(one, one.kind, schemas))
        elif one.kind in _FORM:
            form.append(one)
    if parameters:
        described["parameters"] = parameters
    if signature.body is not None or form:
        described["requestBody"] = _body(endpoint, form, schemas)
    described["responses"] = _responses(endpoint, schemas, problem)
    return described


def _parameter(one: Input, where: str, schemas: Schemas) -> Json:
    described: Json = {
        "name": one.name if where == "path" else one.alias,
        "in": where,
        "required": where == "path" or one.default is MISSING,
    }
    if one.marker is not None and one.marker.field.description:
        described["description"] = one.marker.field.description
    if one.marker is not None and one.marker.deprecated:
        described["deprecated"] = True
    described["schema"] = _schema(one, schemas)
    return described


def _schema(one: Input, schemas: Schemas) -> Json:
    schema = schemas.add(one.adapter, "validation")
    field = None if one.marker is None else one.marker.field
    schema["title"] = (field and field.title) or one.alias.replace("_", " ").title()
    if one.marker is not None and one.marker.deprecated:
        schema["deprecated"] = True
    if one.default is not MISSING and one.default is not None:
        schema["default"] = to_jsonable_python(one.default)
    return schema


def _expanded(schema: Json, where: str, named: Json) -> Iterator[Json]:
    """Yield a parameter for each member of a model."""
    schema = named[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    required = schema.get("required", ())
    for name, member in schema.get("properties", {}).items():
        sent = name.replace("_", "-") if where == "header" else name
        described = {"name": sent, "in": where, "required": name in required, "schema": member}
        if "description" in member:
            described["description"] = member["description"]
        yield described


def _body(endpoint: Endpoint, form: list[Input], schemas: Schemas) -> Json:
    signature = endpoint.operation.signature
    inputs = form or [one for one in signature.inputs if one.kind == "body"]
    required = any(one.default is MISSING for one in inputs)
    if signature.body is not None and not signature.embedded:
        return _content("application/json", _schema(inputs[0], schemas), required)
    if len(inputs) == 1 and inputs[0].members is not None:
        schema = schemas.add(inputs[0].adapter, "validation")
    else:
        schema = {
            "type": "object",
            "title": f"Body_{endpoint.id}",
            "properties": {one.alias: _schema(one, schemas) for one in inputs},
        }
        if names := [one.alias for one in inputs if one.default is MISSING]:
            schema["required"] = names
    mimetype = "application/json"
    if form:
        files = any(one.kind == "file" or one.as_files for one in form)
        mimetype = "multipart/form-data" if files else "application/x-www-form-urlencoded"
    return _content(mimetype, schema, required)


def _content(mimetype: str, schema: Json, required: bool) -> Json:
    body: Json = {"content": {mimetype: {"schema": schema}}}
    return {"required": True, **body} if required else body


def _responses(endpoint: Endpoint, schemas: Schemas, problem: Json) -> Json:
    operation = endpoint.operation
    signature = operation.signature
    responses: Json = {}
    for output in signature.outputs.values():
        responses[str(output.status)] = _response(output, schemas)
    if not responses:
        responses["200"] = {"description": "OK"}
    for status, said in (operation.options.get("responses") or {}).items():
        if isinstance(said, str):
            responses[str(status)] = _problem(said, problem)
        else:
            output = Output(status, TypeAdapter(said))
            responses[str(status)] = _response(output, schemas)
    if endpoint.security:
        responses.setdefault("401", _problem("Not authenticated", problem))
    if any(one.kind != "given" for one in signature.inputs):
        status = str(operation.invalid_status)
        responses.setdefault(status, _problem("The request is not valid", problem))
    if endpoint.converters:
        responses.setdefault("404", {"description": "The URL is not valid"})
    if signature.body is not None:
        responses.setdefault("415", _problem("The body is not JSON", problem))
    return responses


def _response(output: Output, schemas: Schemas) -> Json:
    described: Json = {
        "description": HTTP_STATUS_CODES.get(output.status, f"Status {output.status}")
    }
    if output.adapter is not None:
        schema = schemas.add(output.adapter, "serialization")
        if output.stream:  # OpenAPI 3.1 cannot describe the items of a stream
            mimetype = JSON_LINES if output.events is None else EVENT_STREAM
            content = {"x-itemSchema": schema}
        else:
            mimetype, content = "application/json", {"schema": schema}
        described["content"] = {mimetype: content}
    return described


def _problem(description: str, schema: Json) -> Json:
    return {"description": description, "content": {PROBLEM_JSON: {"schema": schema}}}


def _reachable(used: object, named: Json) -> Json:
    """Return the named schemas that *used* refers to."""
    found: set[str] = set()
    left = [used]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            reference = part.get("$ref")
            if isinstance(reference, str):
                name = reference.rpartition("/")[2]
                if name in named and name not in found:
                    found.add(name)
                    left.append(named[name])
            left.extend(part.values())
        elif isinstance(part, list):
            left.extend(part)
    return {name: schema for name, schema in named.items() if name in found}
