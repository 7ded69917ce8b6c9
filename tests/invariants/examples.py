"""Bodies made from the examples of the OpenAPI document, as somebody who pastes them from the docs would."""

from collections.abc import Iterator
from typing import Any

FORMATS = {"uuid": "0197a5c2-7d3e-7b1a-9c4f-2e8d6a1b5c3f", "date-time": "2026-01-02T03:04:05Z"}
"""What Swagger UI shows for formats whose values say nothing."""


class NoExampleError(AssertionError):
    """A field that must be sent has no example."""


def resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema behind a reference."""
    while "$ref" in schema:
        node: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            node = node[part]
        schema = node
    return schema


def body_schema(operation: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON schema of an operation's body, as it stands in the document."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return content["schema"] if content else None


def example_body(document: dict[str, Any], operation: dict[str, Any]) -> Any:
    """The example of an operation's JSON body, None when it takes none; NoExampleError if it is due."""
    schema = body_schema(operation)
    if schema is None:
        return None
    content = operation["requestBody"]["content"]["application/json"]
    if "example" in content:
        return content["example"]
    if content.get("examples"):
        return next(iter(content["examples"].values()))["value"]
    return example_of(document, schema, "the body")


def example_of(document: dict[str, Any], schema: dict[str, Any], name: str) -> Any:
    """The example of a schema: its own, else its first choice, else one put together from its fields."""
    for described in (schema, resolve(document, schema)):
        for found in _stated(described):
            return found
    schema = resolve(document, schema)
    for choice in (*schema.get("anyOf", []), *schema.get("oneOf", []), *schema.get("allOf", [])):
        if choice.get("type") != "null":
            return example_of(document, choice, name)
    if "properties" in schema:
        return _object(document, schema)
    if schema.get("type") == "array" and "items" in schema:
        return [example_of(document, schema["items"], name)]
    raise NoExampleError(f"{name} has no example: add Field(examples=[…])")


def _stated(schema: dict[str, Any]) -> Iterator[Any]:
    """The values that a schema itself shows, best first."""
    yield from schema.get("examples", [])
    yield from (schema[key] for key in ("example", "const", "default") if key in schema)
    yield from schema.get("enum", [])
    yield from (FORMATS[name] for name in (schema.get("format"),) if name in FORMATS)


def _object(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Every field that must be sent, and the others that have an example."""
    made: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        if name in schema.get("required", []):
            made[name] = example_of(document, field, f"{schema.get('title')}.{name}")
        elif field.get("examples"):
            made[name] = field["examples"][0]
    return made
