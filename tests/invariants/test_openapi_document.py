"""Invariant: the OpenAPI document is current, says everything that a caller needs, and its examples work."""

import json
from collections.abc import Iterator
from typing import Any

from app.core.access import Marker
from tests.invariants.examples import NoExampleError, body_schema, resolve
from tests.invariants.served import Served, document, documented, served
from tests.invariants.source import ROOT

TAGS = frozenset(
    {
        "auth",
        "settings",
        "team",
        "billing",
        "orders",
        "products",
        "library",
        "designs",
        "integrations",
        "ar-studio",
        "monitoring",
        "support",
        "notifications",
        "analytics",
        "audit",
        "privacy",
        "sso",
        "realtime",
        "events",
        "profiles",
        "community",
        "courses",
        "files",
        "stripe-webhooks",
        "public",
        "health",
    }
)
"""One per area, in the form that stands in addresses."""

UNDOCUMENTED = {
    "GET /": "Leads visitors to the documentation.",
    "GET /docs": "The documentation itself.",
    "GET /docs/openapi.json": "The documentation itself.",
    "GET /docs/{name}": "The documentation itself.",
    "GET /openapi.json": "The document itself.",
    "GET /sandbox/idp": "A page of a developer's machine.",
    "GET /sandbox/idp/{provider}/authorize": "A page of a developer's machine.",
    "GET /sandbox/idp/{provider}/decide": "A page of a developer's machine.",
    "GET /sandbox/idp/{provider}/keys": "Asked by the service itself.",
    "GET /sandbox/idp/{provider}/user": "Asked by the service itself.",
    "GET /sandbox/idp/{provider}/user/emails": "Asked by the service itself.",
    "DELETE /sandbox/oauth/{path}": "What a played service answers to programs.",
    "GET /sandbox/oauth/{path}": "What a played service answers to programs.",
    "GET /sandbox/oauth/{path}/authorize": "A page of a developer's machine.",
    "GET /sandbox/oauth/{path}/decide": "A page of a developer's machine.",
    "POST /sandbox/oauth/{path}": "What a played service answers to programs.",
    "GET /sandbox/mail": "A page of a developer's machine.",
    "GET /sandbox/mail.json": "A page of a developer's machine.",
    "POST /sandbox/idp/{provider}/token": "Asked by the service itself.",
    "DELETE /sandbox/stripe/v1/{path}": "Stripe's own wire.",
    "GET /sandbox/stripe/": "A page of a developer's machine.",
    "GET /sandbox/stripe/authenticate/{intent_id}": "A page of a developer's machine.",
    "GET /sandbox/stripe/checkout/{session_id}": "A page of a developer's machine.",
    "GET /sandbox/stripe/invoices/{file_name}": "A page of a developer's machine.",
    "GET /sandbox/stripe/pay/{link_id}": "A page of a developer's machine.",
    "GET /sandbox/stripe/portal/{portal_id}": "A page of a developer's machine.",
    "GET /sandbox/stripe/v1/{path}": "Stripe's own wire.",
    "POST /sandbox/stripe/authenticate/{intent_id}": "A page of a developer's machine.",
    "POST /sandbox/stripe/checkout/{session_id}": "A page of a developer's machine.",
    "POST /sandbox/stripe/control/{path}": "Told by a developer, or by a test.",
    "POST /sandbox/stripe/invoices/{invoice_id}": "A page of a developer's machine.",
    "POST /sandbox/stripe/portal/{portal_id}": "A page of a developer's machine.",
    "POST /sandbox/stripe/v1/{path}": "Stripe's own wire.",
}
"""Routes that the document leaves out, and why."""

SHOWN = frozenset({"const", "default", "enum", "examples", "format"})
"""What in a schema lets the page show a value."""

FREE_FORM: dict[str, str] = {}
"""Answers without a schema of their own, and why."""


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def test_file_when_it_is_compared_with_the_code() -> None:
    file = ROOT / "openapi" / "openapi.json"
    assert file.exists(), "there is no openapi/openapi.json: run `make openapi`"
    written = json.loads(file.read_text())
    assert len(written["paths"]) > 30
    changed = sorted(
        path
        for path in {*written["paths"], *document()["paths"]}
        if written["paths"].get(path) != document()["paths"].get(path)
    )
    assert written == document(), f"openapi/openapi.json is not current ({changed}): run `make openapi`"


def test_routes_when_they_are_compared_with_the_document() -> None:
    said = {name for name, _ in operations()}
    assert len(said) > 40
    missing = {route.name for route in served()} - said
    assert missing == set(UNDOCUMENTED), (
        "put every route into the document, or into UNDOCUMENTED with its reason"
    )


def test_operation_ids_when_they_are_compared_with_the_handlers() -> None:
    """A handler of two methods has its name for the first, and its name and the method for the second."""
    wrong: list[str] = []
    taken: list[str] = []
    for route in documented():
        name = route.context.endpoint.__name__ if route.context.endpoint else ""
        said = route.operation["operationId"]
        taken.append(said)
        if said not in (name, f"{name}_{route.method.lower()}"):
            wrong.append(f"{route.name} is called {said} and its handler {name}: do not set operation_id")
    assert not wrong, "\n".join(wrong)
    twice = sorted({name for name in taken if taken.count(name) > 1})
    assert not twice, f"two operations are called {twice}: name each handler after what it does"


def test_operations_when_they_are_described() -> None:
    wrong: list[str] = []
    for name, operation in operations():
        summary, description = operation.get("summary", ""), operation.get("description", "")
        if not 3 <= len(summary) <= 120 or summary.endswith("."):
            wrong.append(f"{name}: let the first line of its docstring be a summary of up to 120 characters")
        if len(description) < 10:
            wrong.append(f"{name}: describe it in its docstring")
        if len(operation.get("tags", [])) != 1 or not set(operation["tags"]) <= TAGS:
            wrong.append(f"{name} has the tags {operation.get('tags')}: give it the one of its area")
        if description == f"{summary}." and not operation.get("deprecated"):
            wrong.append(f"{name}: say more below the first line of its docstring than the line says")
        wrong += [
            f"{name}: describe the parameter {item['name']}"
            for item in operation.get("parameters", [])
            if "in" in item and not (item.get("description") or item["schema"].get("description"))
        ]
        wrong += [
            f"{name}: show an example of the parameter {item['name']}, which must be sent"
            for item in operation.get("parameters", [])
            if item.get("required") and not {"example", "examples"} & item.keys()
            if not SHOWN & resolve(document(), item["schema"]).keys()
        ]
    assert not wrong, "\n".join(wrong)


def test_tags_when_they_are_listed() -> None:
    described = {tag["name"]: tag["description"] for tag in document()["tags"]}
    used = {tag for _, operation in operations() for tag in operation["tags"]}
    assert used <= set(described), f"describe the tags {sorted(used - set(described))}"
    assert all(described.values())


def due_problems(route: Served) -> set[str]:
    """The refusals that every route of its kind may answer."""
    marker: Marker = route.marker
    due = {"503"}
    if marker.access == "allow":
        due |= {"401", "429"}
        due |= {"403"} if marker.permission else set()
        due |= {"404"} if route.path_ids else set()
    if route.limits:
        due.add("429")
    if "requestBody" in route.operation:
        due |= {"400", "413", "415", "422"}
    if any(item.get("in") == "query" for item in route.operation.get("parameters", [])):
        due.add("422")
    return due


def test_refusals_when_they_are_looked_for() -> None:
    wrong: list[str] = []
    for route in documented():
        responses = route.operation["responses"]
        missing = due_problems(route) - set(responses)
        if missing:
            wrong.append(f"{route.name} does not say that it may answer {sorted(missing)}")
        for status, response in responses.items():
            content = resolve(document(), response).get("content", {})
            if status >= "400" and "application/problem+json" not in content:
                wrong.append(
                    f"{route.name} answers {status} without application/problem+json: use problems()"
                )
    assert not wrong, "\n".join(wrong)


def test_successes_when_they_have_a_body() -> None:
    """An answer has a named schema, so that clients can be generated; no `{}` and no anonymous object."""
    wrong: list[str] = []
    count = 0
    for name, operation in operations():
        successes = {status: item for status, item in operation["responses"].items() if status < "400"}
        if not successes:
            wrong.append(f"{name} says no success")
        for response in successes.values():
            schema = response.get("content", {}).get("application/json", {}).get("schema")
            if schema is None or name in FREE_FORM:
                continue
            count += 1
            items = schema.get("items", {}) if schema.get("type") == "array" else schema
            if "$ref" not in items and "anyOf" not in items:
                wrong.append(f"{name} answers an anonymous {schema}: declare an Output as its response_model")
    assert count > 25
    assert not wrong, "\n".join(wrong)


def objects_of(schema: dict[str, Any], seen: set[str]) -> Iterator[dict[str, Any]]:
    """Every object with named fields in a schema, through its references."""
    if "$ref" in schema:
        if schema["$ref"] in seen:
            return
        seen.add(schema["$ref"])
        schema = resolve(document(), schema)
    if "properties" in schema:
        yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", []), *schema.get("oneOf", [])]
    inner += [*schema.get("allOf", []), *schema.get("prefixItems", [])]
    inner += [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
    for part in inner:
        yield from objects_of(part, seen)


def with_json_body() -> list[tuple[Served, dict[str, Any]]]:
    found = [(route, body_schema(route.operation)) for route in documented()]
    return [(route, schema) for route, schema in found if schema is not None]


def test_bodies_when_unknown_fields_are_sent() -> None:
    assert len(with_json_body()) > 15
    wrong = [
        f"{route.name} takes unknown fields in {part.get('title')}: derive it from Input"
        for route, schema in with_json_body()
        for part in objects_of(schema, set())
        if part.get("additionalProperties") is not False
    ]
    assert not wrong, "\n".join(wrong)


def unbounded(schema: dict[str, Any], name: str) -> Iterator[str]:
    """Fields of a body whose text, number or list has no end."""
    kind = schema.get("type")
    if kind == "string" and not schema.keys() & {"maxLength", "pattern", "format", "enum", "const"}:
        yield f"{name} has no max_length"
    if kind in ("integer", "number") and not (
        schema.keys() & {"maximum", "exclusiveMaximum", "const", "enum"}
        and schema.keys() & {"minimum", "exclusiveMinimum", "const", "enum"}
    ):
        yield f"{name} has no bounds"
    if kind == "array":
        if "maxItems" not in schema:
            yield f"{name} has no max_length"
        yield from unbounded(schema.get("items", {}), f"{name}[]")
    for choice in (*schema.get("anyOf", []), *schema.get("oneOf", []), *schema.get("allOf", [])):
        yield from unbounded(choice, name)


def test_bodies_when_a_field_is_long() -> None:
    wrong = {
        f"{part.get('title')}: {fault}"
        for _, schema in with_json_body()
        for part in objects_of(schema, set())
        for name, field in part["properties"].items()
        for fault in unbounded(field, name)
    }
    assert not wrong, "\n".join(sorted(wrong))


def test_examples_when_they_are_pasted() -> None:
    """What the documentation shows as a body is a valid one."""
    wrong: list[str] = []
    for route, _ in with_json_body():
        try:
            body = route.example()
        except NoExampleError as error:
            wrong.append(f"{route.name}: {error}")
            continue
        field = route.context.body_field
        _, errors = field.validate(body, loc=("body",))
        if errors:
            wrong.append(f"{route.name}: its example is not valid: {errors}")
    assert not wrong, "\n".join(wrong)
