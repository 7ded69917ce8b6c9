"""The OpenAPI document: valid, complete, true to the code, and the same whoever writes it."""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import jsonschema_rs
import pytest
from fastapi import APIRouter, Depends, FastAPI
from schemathesis.specs.openapi.definitions import OPENAPI_30_VALIDATOR, OPENAPI_31_VALIDATOR

from app.core import openapi
from app.core.access import allow, public
from app.core.errors import MEDIA_TYPE, Problem, problems
from app.core.events import REGISTRY
from app.core.openapi import VERSION, as_3_0, document, marker_of, render
from app.core.permissions import Permission
from app.core.routes import api_routes
from app.main import create_app

ROOT = Path(__file__).resolve().parents[2]
VERBS = ("get", "post", "put", "patch", "delete", "head")


@pytest.fixture(scope="module")
def made(application: FastAPI) -> dict[str, Any]:
    return application.openapi()


def operations(made: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in made["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def every(value: Any, key: str) -> Iterator[Any]:
    """What stands under a key, anywhere."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        for item in value.values():
            yield from every(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from every(item, key)


def resolve(made: dict[str, Any], part: dict[str, Any]) -> Any:
    while "$ref" in part:
        found: Any = made
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name.replace("~1", "/").replace("~0", "~")]
        part = found
    return part


def test_document_is_valid_openapi_3_1(made: dict[str, Any]) -> None:
    OPENAPI_31_VALIDATOR.validate(made)
    assert made["openapi"].startswith("3.1")
    assert len(list(operations(made))) > 20


def test_document_is_that_of_the_file() -> None:
    committed = (ROOT / "openapi" / "openapi.json").read_text()
    assert committed == render(document(create_app())), "run `make openapi`"


def test_document_is_the_same_when_made_again(made: dict[str, Any]) -> None:
    assert render(document(create_app())) == render(made)
    assert list(made["paths"]) == sorted(made["paths"])


def test_version_is_that_of_the_project() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_every_reference_leads_somewhere(made: dict[str, Any]) -> None:
    references = [found for found in every(made, "$ref") if isinstance(found, str)]
    assert len(references) > 100
    for reference in references:
        assert resolve(made, {"$ref": reference}), reference


def test_frameworks_own_errors_are_gone(made: dict[str, Any]) -> None:
    text = json.dumps(made)
    assert "HTTPValidationError" not in text
    assert "ValidationError" not in made["components"]["schemas"]


def test_operation_ids_are_the_handlers_names(application: FastAPI, made: dict[str, Any]) -> None:
    names = {operation["operationId"] for _, operation in operations(made)}
    assert len(names) == len(list(operations(made)))
    for route in api_routes(application):
        for method in (route.methods or ()) if route.include_in_schema else ():
            operation = made["paths"][route.path_format][method.lower()]
            assert operation["operationId"] in {route.name, f"{route.name}_{method.lower()}"}


def test_every_operation_has_words_for_people(made: dict[str, Any]) -> None:
    known = {tag["name"] for tag in made["tags"]}
    for name, operation in operations(made):
        assert set(operation["tags"]) <= known, name
        assert len(operation["tags"]) == 1, name
        assert 5 < len(operation["summary"]) <= 120, name
        assert not operation["summary"].endswith("."), name
        assert operation["description"], name
    assert all(tag["description"] for tag in made["tags"])


def test_every_refusal_is_a_problem_with_codes_and_examples(made: dict[str, Any]) -> None:
    problem = jsonschema_rs.validator_for(
        {**Problem.model_json_schema(), "$schema": "https://json-schema.org/draft/2020-12/schema"}
    )
    seen = 0
    for name, operation in operations(made):
        for status, response in operation["responses"].items():
            if status < "400":
                continue
            content = resolve(made, response)["content"][MEDIA_TYPE]
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}, name
            for code, example in content["examples"].items():
                seen += 1
                problem.validate(example["value"])
                assert (example["value"]["code"], example["value"]["status"]) == (code, int(status)), name
    assert seen > 100


def test_common_answers_follow_from_the_route(application: FastAPI, made: dict[str, Any]) -> None:
    seen = 0
    for route in api_routes(application):
        for method in (route.methods or ()) if route.include_in_schema else ():
            operation = made["paths"][route.path_format][method.lower()]
            statuses = set(operation["responses"])
            wanted = {"503"}
            if marker_of(route).access == "allow":
                wanted |= {"401", "403", "404", "429"}
            if "{" in str(route.path_format):
                wanted |= {"404"}
            if "requestBody" in operation:
                wanted |= {"400", "413", "415", "422"}
            if method in {"POST", "PUT", "PATCH"} and marker_of(route).access != "signed":
                wanted |= {"409", "422"}
            assert wanted <= statuses, f"{method} {route.path}"
            assert "405" not in statuses
            seen += 1
    assert seen > 20


def test_who_may_call_is_said(application: FastAPI, made: dict[str, Any]) -> None:
    kinds = set()
    for route in api_routes(application):
        for method in (route.methods or ()) if route.include_in_schema else ():
            operation = made["paths"][route.path_format][method.lower()]
            marker = marker_of(route)
            kinds.add(marker.access)
            if marker.access == "allow":
                schemes = ["accessToken"]
                if marker.is_key_ok:
                    schemes += ["apiKey", "apiKeyAsBearer"]
                assert operation["security"] == [{scheme: []} for scheme in schemes]
                assert operation.get("x-api-key-scope", operation["x-permission"]) == marker.key_scope or (
                    not marker.is_key_ok
                )
                assert operation["x-api-key"] == marker.is_key_ok
                assert operation["x-permission"] == marker.permission
                assert operation["x-step-up"] == marker.needs_step_up
            else:
                assert operation["security"] == []
                assert operation[f"x-{marker.access}"] == marker.reason
    assert kinds == {"allow", "public", "signed"}


IN_ORGANIZATION = {
    "GET /api/realtime/stream",
    "GET /api/realtime/events",
    "POST /api/realtime/tickets",
    "GET /api/events/stream",
    "GET /api/notifications/stream",
}
"""Routes that ask for no permission where they are: they show what the caller may see there."""


def test_headers_are_declared_where_they_count(made: dict[str, Any]) -> None:
    for name, operation in operations(made):
        parameters = {resolve(made, part)["name"] for part in operation.get("parameters", [])}
        is_write = name.split(" ")[0] in {"POST", "PUT", "PATCH"} and "x-signed" not in operation
        assert ("Idempotency-Key" in parameters) == is_write, name
        is_about_one = bool(operation.get("x-permission")) or name in IN_ORGANIZATION
        assert ("X-Organization-Id" in parameters) == is_about_one, name
        for status, response in operation["responses"].items():
            headers = resolve(made, response).get("headers", {})
            assert "X-Request-Id" in headers, name
            assert ("Location" in headers) == (status in {"201", "202"}), name
            if status == "401":
                assert "WWW-Authenticate" in headers, name
            if status in {"429", "503"}:
                assert "Retry-After" in headers, name


def test_inputs_refuse_unknown_fields(made: dict[str, Any]) -> None:
    seen = 0
    for name, operation in operations(made):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            continue
        schema = resolve(made, content["schema"])
        for choice in schema.get("anyOf", schema.get("oneOf", [schema])):
            found = resolve(made, choice)
            if found.get("type") == "object":
                assert found.get("additionalProperties") is False, name
                seen += 1
    assert seen >= 10


def test_webhooks_are_the_events_that_customers_may_get(made: dict[str, Any]) -> None:
    events = {
        name: event
        for name, event in REGISTRY.items()
        if event.webhook and event.__module__.startswith("app.")
    }
    assert set(made["webhooks"]) == set(events)
    assert len(events) > 5
    for name, item in made["webhooks"].items():
        envelope = item["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert envelope["properties"]["type"]["const"] == name
        data = resolve(made, envelope["properties"]["data"])
        # `from` is a word of the language, so its field has an underscore behind it.
        assert set(data.get("properties", {})) == {
            field.name.rstrip("_") for field in fields(events[name])
        }, name


def test_older_document_is_valid_openapi_3_0(made: dict[str, Any]) -> None:
    before = json.dumps(made)
    older = as_3_0(made)
    OPENAPI_30_VALIDATOR.validate(older)
    assert json.dumps(made) == before
    assert set(older["paths"]) == set(made["paths"])
    assert all(name in older["info"]["description"] for name in made["webhooks"])
    for reference in every(older, "$ref"):
        if isinstance(reference, str):
            assert resolve(older, {"$ref": reference})


def test_older_document_says_the_same_in_other_words() -> None:
    schema = {
        "type": "object",
        "properties": {
            "const": {"const": "a"},
            "type": {"type": ["string", "null"], "examples": ["x", "y"]},
            "examples": {"type": "integer", "exclusiveMinimum": 0},
            "ref": {"anyOf": [{"$ref": "#/components/schemas/A"}, {"type": "null"}], "description": "d"},
            "either": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
            "file": {"type": "string", "contentMediaType": "image/png"},
            "never": {"type": "null", "description": "d"},
            "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
            "sums": {
                "type": "object",
                "propertyNames": {"enum": ["a"]},
                "additionalProperties": {"type": "integer"},
            },
        },
        "default": {"const": 1},
    }
    document = {"openapi": "3.1.0", "info": {"description": ""}, "components": {"schemas": {"A": schema}}}
    assert as_3_0(document)["components"]["schemas"]["A"] == {
        "type": "object",
        "properties": {
            "const": {"enum": ["a"]},
            "type": {"type": "string", "nullable": True, "example": "x"},
            "examples": {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
            "ref": {"allOf": [{"$ref": "#/components/schemas/A"}], "nullable": True, "description": "d"},
            "either": {"anyOf": [{"type": "string"}, {"type": "integer"}], "nullable": True},
            "file": {"type": "string", "format": "binary"},
            "never": {"nullable": True, "enum": [None], "description": "d"},
            "pair": {"type": "array", "items": {}},
            "sums": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
        "default": {"const": 1},
    }


def small(router: APIRouter) -> dict[str, Any]:
    app = FastAPI(generate_unique_id_function=openapi.operation_id)
    app.include_router(router)
    return document(app)


ANYONE = Depends(public("a test"))


def test_own_codes_stand_beside_the_common_ones() -> None:
    router = APIRouter(tags=["orders"])
    reader = Depends(allow(Permission.orders_write, key=True, step_up=True))

    @router.put(
        "/{order_id}", dependencies=[reader], responses=problems({409: ["order_closed"], 402: ["unpaid"]})
    )
    async def change_order(order_id: UUID, name: Annotated[str, Depends(lambda: "")]) -> None:
        """Change an order.

        It must be open.
        """

    operation = small(router)["paths"]["/{order_id}"]["put"]
    assert (operation["summary"], operation["description"]) == ("Change an order", "It must be open.")
    assert operation["x-permission"] == "orders:write"
    assert operation["x-step-up"] is True
    assert operation["responses"]["409"]["x-codes"] == ["order_closed", "idempotency_in_progress"]
    assert operation["responses"]["402"]["x-codes"] == ["unpaid", "quota_exceeded"]
    assert "step_up_required" in operation["responses"]["401"]["x-codes"]
    assert operation["responses"]["429"] == {"$ref": "#/components/responses/TooManyRequests"}


def test_second_method_of_a_handler_is_named_with_it() -> None:
    router = APIRouter(tags=["orders"], dependencies=[ANYONE])

    @router.put("/{order_id}")
    @router.patch("/{order_id}")
    async def update_order(order_id: UUID) -> None:
        """Change an order."""

    item = small(router)["paths"]["/{order_id}"]
    assert {method: part["operationId"] for method, part in item.items()} == {
        "patch": "update_order",
        "put": "update_order_put",
    }


def test_document_is_refused_when_a_handler_has_two_addresses() -> None:
    router = APIRouter(tags=["orders"], dependencies=[ANYONE])

    @router.get("/a")
    @router.get("/b")
    @router.get("/c")
    async def get_order() -> None:
        """Show an order."""

    with pytest.raises(LookupError, match="two operations are called get_order_get"):
        small(router)


def test_document_is_refused_when_a_tag_is_not_described() -> None:
    router = APIRouter(tags=["gardening"], dependencies=[ANYONE])

    @router.get("/a")
    async def get_flower() -> None:
        """Show a flower."""

    with pytest.raises(LookupError, match="gardening"):
        small(router)


@pytest.mark.parametrize("dependencies", [[], [ANYONE, Depends(allow())]])
def test_document_is_refused_when_a_route_has_not_exactly_one_marker(dependencies: list[Any]) -> None:
    router = APIRouter(tags=["orders"], dependencies=dependencies)

    @router.get("/a")
    async def get_order() -> None:
        """Show an order."""

    with pytest.raises(LookupError, match=re.escape("/a has")):
        small(router)
