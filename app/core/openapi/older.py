"""The document in OpenAPI 3.0, for the viewer of `/docs`, which knows no newer version."""

from typing import Any

VERBATIM = frozenset({"default", "enum", "example", "required", "value"})
"""Members whose values are data or names and no schemas."""


NEWER = frozenset(
    {
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
        "patternProperties",
        "prefixItems",
        "propertyNames",
    }
)
"""Members that 3.0 does not know. They only narrow what their schema says."""

NULL = {"nullable": True, "enum": [None]}
"""A schema that null alone fits."""


def as_3_0(document: dict[str, Any]) -> dict[str, Any]:
    """A 3.0 rendition of the 3.1 document, for reading and for trying requests.

    3.0 has no webhooks; the description lists them.
    """
    made: dict[str, Any] = _converted({name: part for name, part in document.items() if name != "webhooks"})
    made["openapi"] = "3.0.3"
    events = ", ".join(f"`{name}`" for name in document.get("webhooks", {}))
    made["info"]["description"] += f"\n## Webhooks\n[The whole document](/openapi.json) describes {events}.\n"
    return made


def _converted(value: Any) -> Any:
    if isinstance(value, list):
        return [_converted(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {
        name: _converted_names(item)
        if name in {"properties", "examples"} and isinstance(item, dict)
        else item
        if name in VERBATIM or name == "examples"
        else _converted(item)
        for name, item in value.items()
        if name != "x-codes"  # The descriptions name them, too.
    }
    return _schema(made)


def _converted_names(named: dict[str, Any]) -> dict[str, Any]:
    """A map from names to schemas or examples: a property may be called `type` or `const`."""
    return {name: _converted(item) for name, item in named.items()}


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Say in the words of 3.0 what only 3.1 has."""
    if "contentMediaType" in schema:
        schema["format"] = "binary"
    for name in NEWER & schema.keys():
        del schema[name]
    if schema.get("type") == "array":
        schema.setdefault("items", {})
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if isinstance(schema.get("examples"), list):
        examples = schema.pop("examples")
        if examples:
            schema["example"] = examples[0]
    for bound, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(schema.get(bound), int | float) and not isinstance(schema[bound], bool):
            schema[plain] = schema[bound]
            schema[bound] = True
    if schema.get("type") == "null":
        del schema["type"]
        schema.update(NULL)
    if isinstance(schema.get("type"), list):
        _without_null(schema, [{"type": kind} for kind in schema.pop("type")])
    if isinstance(schema.get("anyOf"), list):
        _without_null(schema, schema.pop("anyOf"))
    if "$ref" in schema and len(schema) > 1:
        schema["allOf"] = [{"$ref": schema.pop("$ref")}]
    return schema


def _without_null(schema: dict[str, Any], choices: list[dict[str, Any]]) -> None:
    """Put the choices back, with `nullable` in place of the type `null`."""
    others = [choice for choice in choices if choice not in (NULL, {"type": "null"})]
    if len(others) < len(choices):
        schema["nullable"] = True
    if len(others) == 1:
        schema.update({**others[0], **schema})
    elif others:
        schema["anyOf"] = others
