"""Owns what other areas ask of the inbox, the outbox and the jobs when they apply something of Stripe's."""

from typing import TYPE_CHECKING
from uuid import UUID

from app.repositories.stripe_webhooks.commands import CommandRepository
from app.repositories.stripe_webhooks.events import EventRepository
from app.repositories.stripe_webhooks.queue import wake_catalog_check

if TYPE_CHECKING:
    from app.core.database import ScopedSession
    from app.services.stripe_webhooks.effects import StripeEventRow


async def was_told_before(session: "ScopedSession", event: "StripeEventRow") -> bool:
    """Whether another event of the same type about the same object has had its effect already."""
    return event.object_id is not None and await EventRepository(session).was_applied(
        event.type, event.object_id
    )


async def have_catalog_checked(session: "ScopedSession") -> None:
    """Have every price compared with Stripe's, once this transaction is committed."""
    await wake_catalog_check(session)


async def is_being_told(session: "ScopedSession", organization_id: UUID, kind: str, **params: str) -> bool:
    """Whether a command of this kind, with these among its params, is on its way: what Stripe says may be out
    of date.
    """
    return await CommandRepository(session).has_open(organization_id, kind, params)
