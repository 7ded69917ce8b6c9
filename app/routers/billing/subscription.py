"""The routes of the subscription: buying, changing, ending."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from app.core.errors import problems
from app.core.limits import limited
from app.core.requests import StrictRoute
from app.routers.billing.markers import CHANGES, PROVIDER, READS, NoRaw, Reader, Writer
from app.schemas.base import PathId
from app.schemas.billing.subscription import (
    CheckoutCreate,
    CheckoutRead,
    HostedPage,
    InvoicePage,
    PortalCreate,
    PreviewCreate,
    PreviewRead,
    SubscriptionCancel,
    SubscriptionChange,
    SubscriptionRead,
)
from app.services.billing.paying.cancelling import Cancels
from app.services.billing.paying.changing import Changes
from app.services.billing.paying.checkout import Checkouts
from app.services.billing.paying.paying_invoices import PayingInvoices
from app.services.billing.paying.portal import Portals
from app.services.billing.paying.previewing import Previews
from app.services.billing.paying.subscription import Subscriptions

router = APIRouter(route_class=StrictRoute, prefix="/api/billing", tags=["billing"])

SessionId = Annotated[
    str, Path(max_length=255, description="`session_id` of the checkout.", examples=["cs_test_a1B2c3"])
]

RAW = ["raw_payment_data_refused"]
SYNC = ["provider_out_of_sync"]
JUDGED = ["no_subscription", "no_change", "cancellation_scheduled", "plan_not_for_sale"]
SELLABLE = [*PROVIDER, "plan_not_sellable"]
CHANGE = problems(
    {
        402: ["card_declined", "payment_action_required", "subscription_inactive"],
        409: [*JUDGED, "preview_expired", "change_in_progress", *SYNC],
        422: ["preview_required", "preview_token_invalid", *RAW],
        503: SELLABLE,
    }
)


@router.get("/subscription", dependencies=READS)
async def get_subscription(_: Reader, subscriptions: Subscriptions) -> SubscriptionRead:
    """Get the subscription.

    With the plan that counts now, how far it may be used, and what is used of it. Without a subscription it
    is the free plan, or the one of a contract.
    """
    return await subscriptions.get()


@router.post(
    "/checkout",
    status_code=201,
    dependencies=CHANGES,
    responses={
        200: {"model": CheckoutRead, "description": "The page that is open already."},
        **problems(
            {
                409: ["subscription_exists", "checkout_in_progress", "plan_not_for_sale", *SYNC],
                422: ["return_path_invalid", *RAW],
                503: SELLABLE,
            }
        ),
    },
)
async def create_checkout(
    _: Writer, _raw: NoRaw, checkouts: Checkouts, body: CheckoutCreate, request: Request, response: Response
) -> CheckoutRead:
    """Buy a plan.

    Answers the page of the payment provider to lead the payer to: a new one (201), or the one that is open
    for the same price (200). The plan is there once the payment is; see the sync.
    """
    checkout, is_new = await checkouts.create(body, request)
    response.headers["Location"] = checkout.url
    response.status_code = 201 if is_new else 200
    return checkout


@router.post(
    "/checkout/{checkout_session_id}/sync",
    dependencies=CHANGES,
    responses=problems({409: SYNC, 503: PROVIDER}),
)
async def sync_checkout(_: Writer, checkouts: Checkouts, checkout_session_id: SessionId) -> SubscriptionRead:
    """Ask what became of a checkout.

    For the page that the payer comes back to: what the payment provider would tell in a moment is fetched
    now, and applied in the same way.
    """
    return await checkouts.sync(checkout_session_id)


@router.post(
    "/subscription/preview",
    dependencies=CHANGES,
    responses=problems({402: ["subscription_inactive"], 409: [*JUDGED, *SYNC], 422: RAW, 503: SELLABLE}),
)
async def preview_subscription_change(
    _: Writer, _raw: NoRaw, previews: Previews, body: PreviewCreate
) -> PreviewRead:
    """See what a change of plan would cost.

    A plan of higher rank, or a year in place of a month, begins now and is paid now: exactly
    `amount_due_now`, if it is confirmed with `preview_token`. Everything else begins when the period ends.
    `fit_check` names what is used beyond the other plan.
    """
    return await previews.preview(body)


@router.patch("/subscription", dependencies=CHANGES, responses=CHANGE)
@router.put("/subscription", dependencies=CHANGES, responses=CHANGE)
async def change_subscription(
    _: Writer, _raw: NoRaw, changes: Changes, body: SubscriptionChange, request: Request
) -> SubscriptionRead:
    """Change the plan.

    An upgrade needs the `preview_token` of its preview and is paid at once; when the payment fails the plan
    stays as it was. A downgrade is noted as `pending_change`, and takes the place of an earlier one.
    """
    return await changes.change(body, request)


@router.delete(
    "/subscription/pending-change",
    status_code=204,
    dependencies=CHANGES,
    responses=problems({409: ["no_subscription", *SYNC], 503: PROVIDER}),
)
async def delete_pending_change(_: Writer, changes: Changes, request: Request) -> None:
    """Take a downgrade back.

    The plan stays as it is. Nothing happens where no change is to come.
    """
    await changes.take_back(request)


@router.post(
    "/subscription/cancel",
    dependencies=CHANGES,
    responses=problems({409: ["no_subscription", *SYNC], 422: RAW, 503: PROVIDER}),
)
async def cancel_subscription(
    _: Writer, _raw: NoRaw, cancels: Cancels, request: Request, body: SubscriptionCancel | None = None
) -> SubscriptionRead:
    """End the subscription.

    With the period that is paid, unless `at` is `now`; nothing is given back. One that ends already stays so.
    """
    return await cancels.cancel(body or SubscriptionCancel(), request)


@router.delete(
    "/subscription",
    status_code=204,
    dependencies=CHANGES,
    responses=problems({409: ["no_subscription", *SYNC], 503: PROVIDER}),
)
async def delete_subscription(_: Writer, cancels: Cancels, request: Request) -> None:
    """End the subscription with its period.

    See `POST /api/billing/subscription/cancel`.
    """
    await cancels.cancel(SubscriptionCancel(), request)


@router.post(
    "/subscription/resume",
    dependencies=CHANGES,
    responses=problems({409: ["no_subscription", "subscription_ended", *SYNC], 503: PROVIDER}),
)
async def resume_subscription(_: Writer, cancels: Cancels, request: Request) -> SubscriptionRead:
    """Let the subscription go on after all.

    Possible until it has ended; one that does not end stays as it is.
    """
    return await cancels.resume(request)


@router.post(
    "/portal",
    status_code=201,
    dependencies=CHANGES,
    responses=problems(
        {
            409: ["no_subscription", *SYNC],
            422: ["return_path_invalid", *RAW],
            503: [*PROVIDER, "portal_misconfigured"],
        }
    ),
)
async def create_portal_session(
    _: Writer, _raw: NoRaw, portals: Portals, body: PortalCreate, request: Request, response: Response
) -> HostedPage:
    """Open the payment provider's own page.

    There methods are changed and the subscription is ended; plans are changed here. The address is good for
    one visit soon.
    """
    page = await portals.create(body, request)
    response.headers["Location"] = page.url
    response.headers["Cache-Control"] = "no-store"
    return page


@router.post(
    "/invoices/{invoice_id}/pay",
    dependencies=[Depends(limited("billing_change", by="principal"))],
    responses=problems({409: ["invoice_not_open"], 503: ["billing_not_configured"]}),
)
async def pay_invoice(_: Writer, invoices: PayingInvoices, invoice_id: PathId) -> InvoicePage:
    """Pay an invoice of the platform.

    Answers the payment provider's page for it.
    """
    return await invoices.page(invoice_id)
