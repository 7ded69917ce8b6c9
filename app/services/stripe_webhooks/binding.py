"""Owns whose an id of Stripe is: whoever learns one binds it in the same transaction."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from app.repositories.stripe_webhooks.objects import ObjectRepository
from app.services.stripe_webhooks.effects import CustomerConflict

if TYPE_CHECKING:
    from app.core.database import ScopedSession


async def bind(
    session: "ScopedSession",
    stripe_id: str,
    object_type: str,
    organization_id: UUID,
    local_id: UUID | None = None,
) -> None:
    """Write that this id (`cus_…`) of a type (`customer`) is this organisation's; binding again is nothing.

    CustomerConflict when another organisation has it: the event or the command comes to its end with it.
    """
    owner = await ObjectRepository(session).bind(stripe_id, object_type, organization_id, local_id)
    if owner != organization_id:
        raise CustomerConflict(stripe_id)


async def owners_of(session: "ScopedSession", stripe_ids: Sequence[str]) -> dict[str, UUID]:
    """The organisations of these ids, as far as they are known."""
    return await ObjectRepository(session).owners(stripe_ids) if stripe_ids else {}


async def organization_exists(session: "ScopedSession", organization_id: UUID) -> bool:
    """Whether an organisation that metadata names is one of ours."""
    return await ObjectRepository(session).organization_exists(organization_id)


async def reference_exists(session: "ScopedSession", order_id: UUID) -> bool:
    """Whether an order that metadata names is one of ours."""
    return await ObjectRepository(session).order_exists(order_id)
