"""The routes that Stripe delivers its events to, and those by which the platform's staff looks after them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from app.core.access import signed
from app.core.errors import problems
from app.core.requests import StrictRoute
from app.schemas.stripe_webhooks import StripeReceived
from app.services.stripe_webhooks.intake import Intake

router = APIRouter(route_class=StrictRoute, prefix="/api", tags=["billing"])

Stripe = Annotated[None, Depends(signed("stripe"))]

INTAKE_PROBLEMS = problems(
    {
        400: ["invalid_signature", "invalid_event"],
        413: ["body_too_large"],
        503: ["webhook_not_configured", "busy"],
    }
)

EVENT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "An event as Stripe sends it, of at most 1 MiB, signed in `Stripe-Signature`.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["id", "object", "type", "created", "livemode", "data"],
                    "properties": {
                        "id": {"type": "string", "pattern": "^evt_[A-Za-z0-9_]{1,250}$"},
                        "object": {"type": "string", "const": "event"},
                        "type": {"type": "string"},
                        "created": {"type": "integer"},
                        "livemode": {"type": "boolean"},
                        "data": {"type": "object"},
                    },
                }
            }
        },
    }
}


@router.post(
    "/stripe/webhook",
    responses=INTAKE_PROBLEMS,
    openapi_extra=EVENT_BODY,
)
async def receive_stripe_event(_: Stripe, intake: Intake) -> StripeReceived:
    """Receive an event of Stripe.

    The signature is verified over the bytes of the body, with every secret that is configured; its time may
    be five minutes off on either side. An event is kept before it is answered, and processed afterwards,
    once, however often it is delivered.
    """
    return StripeReceived(duplicate=await intake.receive("/api/stripe/webhook"))


@router.post(
    "/webhooks/stripe",
    responses=INTAKE_PROBLEMS,
    openapi_extra=EVENT_BODY,
    deprecated=True,
)
async def receive_stripe_event_alias(_: Stripe, intake: Intake) -> StripeReceived:
    """Receive an event of Stripe, by the other name of `POST /api/stripe/webhook`."""
    return StripeReceived(duplicate=await intake.receive("/api/webhooks/stripe"))
