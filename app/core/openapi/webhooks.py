"""The document's `webhooks` section, from the registry of events."""

from typing import Any

from pydantic import TypeAdapter

from app.core.events import API_VERSION, REGISTRY, Event

HEADERS = {
    "webhook-id": "The event's id, the same for every attempt; remember it to handle an event once.",
    "webhook-timestamp": "Seconds since 1970 at this attempt; refuse what is older than five minutes.",
    "webhook-signature": "`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body` with the endpoint's secret;"
    " one for each live secret, separated by spaces.",
}

TEXT = {"type": "string"}

ACTOR_TYPES = ["user", "api_key", "scim", "staff", "stripe", "customer", "anonymous", "system"]


def webhooks(ref: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The requests that customers' endpoints get, by event type, and the schemas of their data by name."""
    requests: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for name, event in sorted(REGISTRY.items()):
        # A class that a test defines is registered as well, and is no part of the service.
        if event.webhook and event.__module__.startswith("app."):
            schema = TypeAdapter(event).json_schema(mode="serialization", ref_template=ref)
            schemas.update(schema.pop("$defs", {}))
            data = f"{event.__name__}Data"
            schemas[data] = {**schema, "title": data}
            requests[name] = {"post": _request(event, ref.format(model=data))}
    return requests, schemas


def _request(event: type[Event], data: str) -> dict[str, Any]:
    return {
        "operationId": f"webhook_{event.type.replace('.', '_')}",
        "tags": ["webhooks"],
        "summary": event.type,
        "description": event.description,
        "security": [],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": text,
                "schema": {"type": "string"},
            }
            for name, text in HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _envelope(event, data)}},
        },
        "responses": {
            "2XX": {"description": "Taken. Every other answer, and none within 15 seconds, is tried again."}
        },
    }


def _envelope(event: type[Event], data: str) -> dict[str, Any]:
    """The frozen envelope of `emit`, with the data of this event."""
    uuid_or_null = {"type": ["string", "null"], "format": "uuid"}
    actor = {"type": {"type": "string", "enum": ACTOR_TYPES}, "id": uuid_or_null}
    kind_and_id = {"type": TEXT, "id": TEXT}
    properties: dict[str, Any] = {
        "id": {"type": "string", "format": "uuid"},
        "type": {"type": "string", "const": event.type},
        "timestamp": {"type": "string", "format": "date-time"},
        "api_version": {"type": "string", "const": API_VERSION},
        "livemode": {"type": "boolean"},
        "organization_id": uuid_or_null,
        "actor": {"type": "object", "properties": actor, "required": ["type", "id"]},
        "object": {"type": ["object", "null"], "properties": kind_and_id, "required": ["type", "id"]},
        "data": {"$ref": data},
    }
    return {"type": "object", "properties": properties, "required": list(properties)}
