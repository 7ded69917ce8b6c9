"""How the OpenAPI document is put together, and the text that `openapi/openapi.json` holds."""

import json
import warnings
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext

from app.core.access import Marker
from app.core.errors import Problem
from app.core.limits import RateLimit
from app.core.openapi import answers
from app.core.openapi.texts import DESCRIPTION, TAGS, TITLE
from app.core.openapi.webhooks import webhooks
from app.core.routes import api_routes, dependencies_of

VERSION = "0.1.0"
"""The version of the API and of this service."""

REF = "#/components/schemas/{model}"
METHOD_ORDER = ["get", "post", "patch", "put", "delete", "head", "options"]
WRITES = {"post", "put", "patch"}
FROM_FASTAPI = ("HTTPValidationError", "ValidationError")
"""Schemas that FastAPI adds for its own error format, which this API does not have."""

BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
"""What pydantic calls the bounds of a number that a validator of ours looks at first, and JSON Schema."""

SECURITY_SCHEMES = {
    "accessToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A person's access token, as signing in and refreshing give it.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "A program's API key.",
    },
    "apiKeyAsBearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "luneo_live_…",
        "description": "The same key in `Authorization`. Send one of the two.",
    },
}

PARAMETERS = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Makes repeating this write safe: the same key and body get the first answer again.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    },
    "OrganizationId": {
        "name": "X-Organization-Id",
        "in": "header",
        "required": False,
        "description": "The organisation to act in, when it is not the session's active one.",
        "schema": {"type": "string", "format": "uuid"},
    },
}


def operation_id(route: APIRoute) -> str:
    """The name of the handler."""
    return route.name


def marker_of(route: RouteContext) -> Marker:
    """The one access marker of a route; LookupError where there is none or more than one."""
    found = {call for call in dependencies_of(route) if isinstance(call, Marker)}
    if len(found) != 1:
        raise LookupError(f"{route.path} has {len(found)} access markers; give it one")
    return found.pop()


def install(app: FastAPI) -> None:
    """Let `app.openapi()` answer the completed document, made once."""

    def cached() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    app.openapi = cached  # type: ignore[method-assign]  # FastAPI's documented way to extend the document.


def render(made: dict[str, Any]) -> str:
    """The text of the committed file: the same for the same routes, whatever process wrote it."""
    return json.dumps(made, ensure_ascii=False, indent=1) + "\n"


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document of the application's routes and of the events that webhooks carry."""
    with warnings.catch_warnings():
        # A handler of two methods has one name; `_name` gives the second operation one of its own.
        warnings.filterwarnings("ignore", "Duplicate Operation ID")
        made = get_openapi(
            title=TITLE,
            version=VERSION,
            description=DESCRIPTION,
            routes=app.routes,
            # Relative, so that the document is true wherever it was fetched.
            servers=[{"url": "/", "description": "The server that this document comes from."}],
        )
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in FROM_FASTAPI:
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template=REF)
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem
    for route in api_routes(app):
        if route.include_in_schema:
            for method in route.methods or ():
                _complete(made["paths"][route.path_format][method.lower()], route, method.lower())
    made["webhooks"], event_schemas = webhooks(REF)
    _add(schemas, event_schemas)
    components.update(
        securitySchemes=SECURITY_SCHEMES,
        parameters=PARAMETERS,
        headers=answers.HEADERS,
        responses=answers.shared_responses(),
    )
    _name(made["paths"])
    _rename_bounds(made)
    return _ordered(made)


def _name(paths: dict[str, Any]) -> None:
    """Make operation ids unique: a handler's second method, such as PUT beside PATCH, is named with it."""
    found = sorted(
        (bool(operation.get("deprecated")), METHOD_ORDER.index(method), path)
        for path, item in paths.items()
        for method, operation in item.items()
    )
    taken: set[str] = set()
    for _, position, path in found:
        operation = paths[path][METHOD_ORDER[position]]
        if operation["operationId"] in taken:
            operation["operationId"] += f"_{METHOD_ORDER[position]}"
        if operation["operationId"] in taken:
            raise LookupError(
                f"two operations are called {operation['operationId']}; name an alias after itself"
            )
        taken.add(operation["operationId"])


def _rename_bounds(part: Any) -> None:
    """Give bounds their names in JSON Schema, in place."""
    for item in part.values() if isinstance(part, dict) else part:
        if isinstance(item, dict | list):
            _rename_bounds(item)
    if isinstance(part, dict) and part.get("type") in ("integer", "number"):
        for theirs, name in BOUNDS.items():
            if theirs in part:
                part[name] = part.pop(theirs)


def _add(schemas: dict[str, Any], more: dict[str, Any]) -> None:
    for name, schema in more.items():
        if schemas.setdefault(name, schema) != schema:
            raise ValueError(f"two schemas are called {name}")


def _complete(operation: dict[str, Any], route: RouteContext, method: str) -> None:
    """Add to an operation what FastAPI does not know about it."""
    marker = marker_of(route)
    if route.summary is None:
        # FastAPI would make it of the handler's name; the first line of its docstring says more.
        first, _, rest = str(route.description).partition("\n")
        operation["summary"] = first.removesuffix(".")
        operation["description"] = rest.strip() or first
    operation["security"] = _security(marker)
    if marker.access == "allow":
        operation["x-permission"] = marker.permission.value if marker.permission else None
        operation["x-api-key"] = marker.is_key_ok
        if marker.key_scope != marker.permission and marker.is_key_ok:
            operation["x-api-key-scope"] = marker.key_scope
        operation["x-step-up"] = marker.needs_step_up
    else:
        operation[f"x-{marker.access}"] = marker.reason
    _describe_ids(operation.get("parameters", []))
    added = _header_parameters(marker, method)
    if added:
        operation["parameters"] = [*operation.get("parameters", []), *added]
    limits = sorted({call.name for call in dependencies_of(route) if isinstance(call, RateLimit)})
    if limits:
        operation["x-rate-limits"] = limits
    facts = answers.Facts(
        method=method,
        marker=marker,
        has_body="requestBody" in operation,
        has_path_ids=bool(route.param_convertors),
        has_parameters=bool(operation.get("parameters")),
        is_limited=bool(limits) or marker.access == "allow",
    )
    answers.complete(operation["responses"], facts)


def _describe_ids(parameters: list[dict[str, Any]]) -> None:
    """Say of an id in the path whose it is, as its name does."""
    for item in parameters:
        if item.get("in") == "path" and item["name"].endswith("_id"):
            item.setdefault("description", f"Id of the {item['name'].removesuffix('_id').replace('_', ' ')}.")


def _security(marker: Marker) -> list[dict[str, list[str]]]:
    if marker.access != "allow":
        return []
    schemes = ["accessToken", "apiKey", "apiKeyAsBearer"] if marker.is_key_ok else ["accessToken"]
    return [{scheme: []} for scheme in schemes]


def _header_parameters(marker: Marker, method: str) -> list[dict[str, str]]:
    names = []
    if marker.permission is not None:
        names.append("OrganizationId")
    if method in WRITES and marker.access != "signed":
        names.append("IdempotencyKey")
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _ordered(made: dict[str, Any]) -> dict[str, Any]:
    """The same document with everything sorted whose order says nothing."""
    items = [*made["paths"].values(), *made["webhooks"].values()]
    used = {tag for item in items for operation in item.values() for tag in operation["tags"]}
    unknown = used - TAGS.keys()
    if unknown:
        raise LookupError(f"describe these tags in core/openapi/texts.py: {', '.join(sorted(unknown))}")
    return {
        "openapi": made["openapi"],
        "info": made["info"],
        "servers": made["servers"],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items() if name in used],
        "paths": {path: _by_method(item) for path, item in sorted(made["paths"].items())},
        "webhooks": dict(sorted(made["webhooks"].items())),
        "components": {
            kind: dict(sorted(named.items())) for kind, named in sorted(made["components"].items())
        },
    }


def _by_method(item: dict[str, Any]) -> dict[str, Any]:
    for operation in item.values():
        operation["responses"] = dict(sorted(operation["responses"].items()))
    return dict(sorted(item.items(), key=lambda pair: METHOD_ORDER.index(pair[0])))
