"""The log of events, the endpoints that want them, and when a delivery is repeated."""

import secrets

import stripe

from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.reading import retrievable
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.state import Object, State
from app.clients.stripe.sandbox.views import page

EVENTS_KEPT_SECONDS = 30 * 86_400
"""How long Stripe answers for an event."""

PAUSES = (1, 5, 30, 120, 600)
"""Seconds until a failed delivery is repeated; after these every hour."""

GIVE_UP_AFTER = 3 * 86_400
BATCH = 20


@route("GET", "/v1/events", "EventListParams")
def list_events(state: State, params: Params) -> Object:
    """Events, newest first, by type or types."""
    wanted = params.texts("types") or ([kind] if (kind := params.text("type")) else [])

    def fits(event: Object) -> bool:
        return not wanted or any(_matches(event["type"], kind) for kind in wanted)

    return page(params, "/v1/events", state.all("event", where=fits))


def _matches(event_type: str, wanted: str) -> bool:
    """Whether a type is the wanted one, or one of `invoice.*`."""
    return event_type == wanted or (wanted.endswith("*") and event_type.startswith(wanted[:-1]))


@route("POST", "/v1/webhook_endpoints", "WebhookEndpointCreateParams")
def create_endpoint(state: State, params: Params) -> Object:
    """An endpoint; its secret is shown this once."""
    endpoint = state.create(
        "webhook_endpoint",
        "we",
        api_version=params.text("api_version") or stripe.api_version,
        application=None,
        description=params.text("description"),
        enabled_events=params.texts("enabled_events"),
        metadata=params.metadata(),
        status="enabled",
        url=params.need("url"),
    )
    return {**endpoint, "secret": f"whsec_{secrets.token_hex(16)}"}


@route("GET", "/v1/webhook_endpoints", "WebhookEndpointListParams")
def list_endpoints(state: State, params: Params) -> Object:
    """The endpoints, without their secrets."""
    return page(params, "/v1/webhook_endpoints", state.all("webhook_endpoint"))


@route("DELETE", "/v1/webhook_endpoints/{id}", "WebhookEndpointDeleteParams")
def delete_endpoint(state: State, _: Params, identifier: str) -> Object:
    """Remove an endpoint."""
    endpoint = state.get("webhook_endpoint", identifier)
    del state.objects[endpoint["id"]]
    return {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}


def due_events(state: State) -> list[Object]:
    """The oldest events whose delivery is due."""
    prune(state)
    waiting = [
        event
        for event in state.objects.values()
        if event["object"] == "event"
        and not event["_delivery"]["done"]
        and event["_delivery"]["next_at"] <= state.real_now
    ]
    return waiting[:BATCH]


def prune(state: State) -> None:
    """Forget events that Stripe would no longer answer for, so that the document stays small."""
    old = [
        event["id"]
        for event in state.objects.values()
        if event["object"] == "event"
        and event["created"] < state.now - EVENTS_KEPT_SECONDS
        and event["_delivery"]["done"]
    ]
    for identifier in old:
        del state.objects[identifier]


def note_delivery(state: State, event_id: str, *, succeeded: bool) -> None:
    """Note how a delivery went; a failed one is repeated for three days."""
    event = state.objects.get(event_id)
    if event is None:
        return
    delivery = event["_delivery"]
    delivery["attempts"] += 1
    if succeeded:
        event["pending_webhooks"] = 0
        delivery["done"] = True
        return
    pause = PAUSES[delivery["attempts"] - 1] if delivery["attempts"] <= len(PAUSES) else 3600
    delivery["first_at"] = delivery.get("first_at", state.real_now)
    delivery["next_at"] = state.real_now + pause
    delivery["done"] = delivery["next_at"] - delivery["first_at"] > GIVE_UP_AFTER


def redeliver(state: State, event_id: str) -> Object:
    """Let an event be delivered once more, now."""
    event = state.get("event", event_id)
    event["_delivery"] = {"attempts": 0, "next_at": state.real_now, "done": False}
    return event


retrievable("event", "/v1/events", "EventRetrieveParams")
