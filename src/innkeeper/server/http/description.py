"""The OpenAPI description: examples, and problem details as they are really sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from fastapi import FastAPI

from innkeeper.errors import MachineBusy
from innkeeper.server.http.problems import problem_of

#: A piece of a JSON document; OpenAPI's own, which nobody has given types.
Piece: TypeAlias = "dict[str, Any]"

_REF: Final = "#/components/schemas/"

#: An example for each field that a reader should see filled as in life: by its name alone, or by that of its
#: message too, which goes before.
_EXAMPLES: Final[Mapping[str, object]] = {
    "machine": "web-1",
    "name": "web-1",
    "host": "node-1",
    "identifier": "2026-11",
    "label": "Security",
    "context": "YXB0LWdldA==",
    "start": "2026-11-30T22:00:00+01:00",
    "end": "2026-12-01T02:00:00+01:00",
    "deadline": "2026-12-07T00:00:00+01:00",
    "at": "2026-11-30T22:00:07+01:00",
    "machines": ["web-*"],
    "zone": "Europe/Madrid",
    "opens_at": "22:00:00",
    "duration_seconds": 14400,
    "weekdays": ["mon", "tue"],
    "dates": ["2026-12-05"],
    "blackouts": ["2026-12-24"],
    "path": "\\Nightly\\Compact",
    "folder": "\\Nightly",
    "xml": "<Task xmlns='http://schemas.microsoft.com/windows/2004/02/mit/task'>…</Task>",
    "arguments": ["--quick"],
    "percent": 40,
    "keys": ["CTRL", "ALT", "DELETE"],
    "text": "ls -l",
    "session": "1f0c",
    "width": 1024,
    "height": 768,
    "x": 512,
    "y": 384,
    "notches": -1,
    "size_bytes": 21474836480,
    "parent": "/var/lib/innkeeper/disks/base.vhd",
    "target": "/var/lib/innkeeper/disks/web-1-copy.vhd",
    "WindowRequest.name": "nights",
    "WindowMessage.name": "nights",
    "RunRequest.session": 0,
}

#: Messages whose ``path`` is that of a disk.
_DISK_PATH: Final = "/var/lib/innkeeper/disks/web-1.vhd"


def describe(app: FastAPI) -> None:
    """Make the application describe itself with examples; built when first asked for."""
    plain: Callable[[], Piece] = app.openapi

    def finished() -> Piece:
        if app.openapi_schema is None:
            _finish(plain())
        return plain()

    app.openapi = finished  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _finish(description: Piece) -> None:
    schemas: Piece = description["components"]["schemas"]
    for operation in _operations(description):
        for code, answer in operation["responses"].items():
            if code == "default":
                _as_problem(answer)
        for content in _contents(operation):
            content["example"] = example_of(content["schema"], schemas)
    for name, schema in schemas.items():
        if "properties" in schema:
            schema["examples"] = [example_of({"$ref": _REF + name}, schemas)]


def _operations(description: Piece) -> Iterator[Piece]:
    for path in description["paths"].values():
        yield from path.values()


def _contents(operation: Piece) -> Iterator[Piece]:
    """Yield the JSON contents of a request or response."""
    bodies = [operation.get("requestBody", {})]
    bodies += [answer for code, answer in operation["responses"].items() if code != "default"]
    for body in bodies:
        content = body.get("content", {}).get("application/json", {})
        if content.get("schema"):
            yield content


def _as_problem(answer: Piece) -> None:
    """Give a problem response its own media type."""
    content = answer["content"].pop("application/json")
    busy = MachineBusy(
        "web-1 is busy with task 17.",
        machine="web-1",
        task_id=17,
        advice="Wait for it, or cancel it.",
    )
    content["example"] = problem_of(busy).model_dump(mode="json")
    answer["content"]["application/problem+json"] = content


def example_of(schema: Piece, schemas: Piece, field: str = "", depth: int = 0) -> object:
    """Return an example of a schema, by the field's name or the schema's own example."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        return _example_of_named(name, schemas[name], schemas, field, depth)
    if field in _EXAMPLES and _may_be(_EXAMPLES[field], schema):
        return _EXAMPLES[field]
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], schemas, field, depth)
    if "enum" in schema:
        return schema["enum"][0]
    for word in ("const", "default"):
        if schema.get(word) is not None:
            return schema[word]
    if schema.get("type") == "array":
        one = example_of(schema.get("items", {}), schemas, "", depth + 1)
        return [one] * max(1, schema.get("minItems", 1))
    return _of_type(schema)


def _of_type(schema: Piece) -> object:
    kind, form = schema.get("type", ""), schema.get("format", "")
    plain = _BY_TYPE.get((kind, ""), schema.get("minimum", 1))
    return _BY_TYPE.get((kind, form), plain)


def _example_of_named(name: str, schema: Piece, schemas: Piece, field: str, depth: int) -> object:
    if "properties" not in schema:
        return example_of(schema, schemas, field, depth)
    required = schema.get("required", [])
    return {
        key: _example_of_field(name, key, inner, schemas, depth)
        for key, inner in schema["properties"].items()
        if depth < 1 or key in required
    }


def _example_of_field(message: str, field: str, schema: Piece, schemas: Piece, depth: int) -> object:
    if (told := _EXAMPLES.get(f"{message}.{field}")) is not None:
        return told
    if field == "path" and ("Disk" in message or message in _ON_DISKS):
        return _DISK_PATH
    return example_of(schema, schemas, field, depth + 1)


def _may_be(example: object, schema: Piece) -> bool:
    """Whether a value fits the schema's type and is not an object of its own."""
    each = [schema, *schema.get("anyOf", [])]
    if any("$ref" in one or "$ref" in one.get("items", {}) for one in each):
        return False
    return any(one.get("type") == _TYPES[type(example)] for one in each)


_TYPES: Final[Mapping[type, str]] = {str: "string", int: "integer", list: "array"}

_ON_DISKS: Final = frozenset(
    {"CompactRequest", "ConvertRequest", "MergeRequest", "MergeToRequest", "ReparentRequest"}
    | {"ResizeRequest", "CheckRequest", "RepairRequest"}
)

_BY_TYPE: Final[Mapping[tuple[str, str], object]] = {
    ("string", ""): "…",
    ("string", "date-time"): "2026-11-30T22:00:07+01:00",
    ("string", "date"): "2026-11-30",
    ("string", "time"): "22:00:00",
    ("string", "byte"): "YXB0LWdldA==",
    ("boolean", ""): False,
    ("object", ""): {},
    ("number", ""): 1.5,
    ("null", ""): None,
}
