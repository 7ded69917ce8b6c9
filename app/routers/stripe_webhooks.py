"""The routes that Stripe delivers its events to, and those by which the platform's staff looks after them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from app.core.access import Principal, signed, staff
from app.core.errors import problems
from app.core.paging import Page, Rows
from app.core.requests import StrictRoute
from app.schemas.base import PathId, Text
from app.schemas.stripe_webhooks import (
    DifferenceNote,
    DifferenceQuery,
    DifferenceRead,
    RunStarted,
    StripeCommandQuery,
    StripeCommandRead,
    StripeEventQuery,
    StripeEventRead,
    StripeEventSummary,
    StripeReceived,
)
from app.services.stripe_webhooks.intake import Intake
from app.services.stripe_webhooks.operating import Operations

router = APIRouter(route_class=StrictRoute, prefix="/api", tags=["billing"])

Stripe = Annotated[None, Depends(signed("stripe"))]
Staff = Annotated[Principal, Depends(staff(step_up=True))]
EventId = Annotated[Text, Path(max_length=255, examples=["evt_1"])]

STAFF_ONLY = ["permission_denied"]
PAGED = ["page_too_deep", "cursor_invalid"]

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
            "application/json; charset=utf-8": {
                "schema": {"type": "object", "description": "An event of Stripe, whatever its version."},
                "example": {
                    "id": "evt_1",
                    "object": "event",
                    "type": "invoice.paid",
                    "created": 1_790_000_000,
                    "livemode": False,
                    "data": {"object": {"id": "in_1", "object": "invoice"}},
                },
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


@router.get(
    "/billing/stripe-events",
    response_model=Page[StripeEventSummary],
    responses=problems({403: STAFF_ONLY, 422: PAGED}),
)
async def list_stripe_events(
    _: Staff, operations: Operations, query: Annotated[StripeEventQuery, Query()]
) -> Rows[StripeEventSummary]:
    """List events of Stripe, newest first.

    For the platform's staff, in a session with a second factor and a recent second check, as all of these.
    Payloads stand in the single event only.
    """
    return await operations.list_events(query)


@router.get(
    "/billing/stripe-events/{event_id}",
    responses=problems({403: STAFF_ONLY}),
)
async def get_stripe_event(_: Staff, operations: Operations, event_id: EventId) -> StripeEventRead:
    """Get an event of Stripe with what was delivered.

    For the platform's staff. `payload` is kept for a while, and `{}` after that.
    """
    return await operations.get_event(event_id)


@router.post(
    "/billing/stripe-events/{event_id}/retry",
    status_code=202,
    responses=problems({403: STAFF_ONLY, 409: ["event_not_retryable"]}),
)
async def retry_stripe_event(
    _: Staff, operations: Operations, event_id: EventId, response: Response
) -> StripeEventSummary:
    """Process an event of Stripe once more.

    For one that is dead, was skipped or waits for its next attempt. What it is about is fetched anew, so it
    does not matter how old it is.
    """
    response.headers["Location"] = f"/api/billing/stripe-events/{event_id}"
    return await operations.retry_event(event_id)


@router.get(
    "/billing/stripe-commands",
    response_model=Page[StripeCommandRead],
    responses=problems({403: STAFF_ONLY, 422: PAGED}),
)
async def list_stripe_commands(
    _: Staff, operations: Operations, query: Annotated[StripeCommandQuery, Query()]
) -> Rows[StripeCommandRead]:
    """List what Stripe was told to do, newest first.

    For the platform's staff. `error` says why a command failed, `next_attempt_at` when it is sent again.
    """
    return await operations.list_commands(query)


@router.post(
    "/billing/stripe-commands/{command_id}/retry",
    status_code=202,
    responses=problems({403: STAFF_ONLY, 409: ["command_not_retryable"]}),
)
async def retry_stripe_command(
    _: Staff, operations: Operations, command_id: PathId, response: Response
) -> StripeCommandRead:
    """Send a command to Stripe now, instead of after its pause.

    A command that has failed stays failed, because what waited for it was given back.
    """
    response.headers["Location"] = "/api/billing/stripe-commands"
    return await operations.retry_command(command_id)


@router.get(
    "/billing/reconciliation",
    response_model=Page[DifferenceRead],
    responses=problems({403: STAFF_ONLY, 422: PAGED}),
)
async def list_stripe_differences(
    _: Staff, operations: Operations, query: Annotated[DifferenceQuery, Query()]
) -> Rows[DifferenceRead]:
    """List in what Stripe and our rows disagree, newest first.

    For the platform's staff. `repair` names what would put a difference right.
    """
    return await operations.list_differences(query)


@router.post(
    "/billing/reconciliation/run",
    status_code=202,
    responses=problems({403: STAFF_ONLY, 503: ["billing_not_configured"]}),
)
async def run_reconciliation(_: Staff, operations: Operations, response: Response) -> RunStarted:
    """Compare our rows with Stripe now, instead of at night.

    For the platform's staff. What it finds is in `GET /api/billing/reconciliation`.
    """
    response.headers["Location"] = "/api/billing/reconciliation"
    return await operations.run()


@router.post(
    "/billing/reconciliation/{difference_id}/repair",
    status_code=202,
    responses=problems({403: STAFF_ONLY, 409: ["difference_closed", "difference_not_repairable"]}),
)
async def repair_stripe_difference(
    _: Staff, operations: Operations, difference_id: PathId, response: Response
) -> DifferenceRead:
    """Repair a difference: the object is fetched and applied as an event of it would be.

    It is done in the background; the difference is `repaired` then.
    """
    response.headers["Location"] = "/api/billing/reconciliation"
    return await operations.repair(difference_id)


@router.post(
    "/billing/reconciliation/{difference_id}/ignore",
    responses=problems({403: STAFF_ONLY, 409: ["difference_closed"]}),
)
async def ignore_stripe_difference(
    _: Staff, operations: Operations, difference_id: PathId, body: DifferenceNote
) -> DifferenceRead:
    """Close a difference about which nothing is to be done, and note why.

    For the platform's staff. `note` says why, and is kept with the difference.
    """
    return await operations.ignore(difference_id, body.note)
