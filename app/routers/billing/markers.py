"""What the routes of billing share: who may call them, how often, and what is never sent to them."""

import json
from typing import Annotated

from fastapi import Depends, Request

from app.core.access import Principal, allow, staff
from app.core.limits import limited
from app.core.permissions import Permission
from app.services.billing.paying.desk import refuse_raw_payment_data

Reader = Annotated[Principal, Depends(allow(Permission.billing_read))]
Writer = Annotated[Principal, Depends(allow(Permission.billing_write))]
Staff = Annotated[Principal, Depends(staff(step_up=True))]

STAFF_ONLY = ["permission_denied"]
PROVIDER = [
    "billing_not_configured",
    "payment_provider_unavailable",
    "payment_provider_error",
    "payment_provider_misconfigured",
]
"""Codes of 503 of every route that waits for the payment provider."""


async def no_raw_payment_data(request: Request) -> None:
    """422 for a body with a card number, before anything else is said about the body."""
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        return
    refuse_raw_payment_data(body)


READS = [Depends(limited("billing_read", by="principal"))]
CHANGES = [Depends(limited("billing_change", by="principal"))]
METHODS = [Depends(limited("payment_methods", by="principal"))]

NoRaw = Annotated[None, Depends(no_raw_payment_data)]
"""The second parameter of every route with a body: the marker comes first, the body's own rules later."""
