"""The routes of ways to pay."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.core.errors import problems
from app.core.paging import Page, PageQuery
from app.core.requests import StrictRoute
from app.routers.billing.markers import METHODS, PROVIDER, READS, NoRaw, Reader, Writer
from app.schemas.base import PathId
from app.schemas.billing.payment_methods import (
    PaymentMethodCreate,
    PaymentMethodRead,
    PaymentMethodUpdate,
    SetupRead,
)
from app.services.billing.paying.payment_methods import PaymentMethods

router = APIRouter(route_class=StrictRoute, prefix="/api/billing/payment-methods", tags=["billing"])

MethodInQuery = Annotated[PathId, Query(alias="id", description="The payment method.")]

REMOVING = problems({409: ["last_payment_method"], 503: ["billing_not_configured"]})
CHOOSING = problems({422: ["default_required", "raw_payment_data_refused"], 503: ["billing_not_configured"]})


@router.get("", dependencies=READS, responses=problems({422: ["cursor_invalid", "page_too_deep"]}))
async def list_payment_methods(
    _: Reader, methods: PaymentMethods, query: Annotated[PageQuery, Query()]
) -> Page[PaymentMethodRead]:
    """List ways to pay.

    Newest first. An expired card stays until it is removed, since its bank may have sent another with the
    same number.
    """
    return await methods.list(query)


@router.post(
    "",
    status_code=201,
    dependencies=METHODS,
    responses={
        200: {"model": PaymentMethodRead, "description": "The same card was kept already."},
        **problems(
            {
                402: ["card_declined", "payment_action_required"],
                409: ["provider_out_of_sync", "customer_conflict"],
                422: ["raw_payment_data_refused"],
                503: PROVIDER,
            }
        ),
    },
)
async def create_payment_method(
    _: Writer,
    _raw: NoRaw,
    methods: PaymentMethods,
    request: Request,
    response: Response,
    body: PaymentMethodCreate | None = None,
) -> SetupRead | PaymentMethodRead:
    """Add a way to pay.

    Without a body: what the payment provider's form needs, where the number is entered. With the id that the
    form answers: that method is kept (201), or the one that is the same card (200). Numbers are refused.
    """
    response.headers["Cache-Control"] = "no-store"
    if body is None or body.payment_method_id is None:
        # Once the number was entered, the method is among these.
        response.headers["Location"] = "/api/billing/payment-methods"
        return await methods.begin(request)
    method, is_new = await methods.attach(body.payment_method_id, request)
    response.headers["Location"] = f"/api/billing/payment-methods/{method.id}"
    response.status_code = 201 if is_new else 200
    return method


@router.delete("", status_code=204, deprecated=True, dependencies=METHODS, responses=REMOVING)
async def delete_payment_method_alias(
    _: Writer, methods: PaymentMethods, payment_method_id: MethodInQuery
) -> None:
    """Remove a way to pay, named in the query.

    See `DELETE /api/billing/payment-methods/{payment_method_id}`.
    """
    await methods.remove(payment_method_id)


@router.patch("/{payment_method_id}", dependencies=METHODS, responses=CHOOSING)
@router.put("/{payment_method_id}", dependencies=METHODS, responses=CHOOSING)
async def update_payment_method(
    _: Writer, _raw: NoRaw, methods: PaymentMethods, payment_method_id: PathId, body: PaymentMethodUpdate
) -> PaymentMethodRead:
    """Make a way to pay the default.

    What is due from now on is paid with it, renewals too.
    """
    return await methods.make_default(payment_method_id, body)


@router.delete("/{payment_method_id}", status_code=204, dependencies=METHODS, responses=REMOVING)
async def delete_payment_method(_: Writer, methods: PaymentMethods, payment_method_id: PathId) -> None:
    """Remove a way to pay.

    The newest other one becomes the default in its place. The last one stays while there is a subscription.
    """
    await methods.remove(payment_method_id)
