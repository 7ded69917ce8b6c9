"""Owns what an organisation is shown of its subscription."""

from typing import Annotated

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.schemas.billing.subscription import SubscriptionRead
from app.services.billing.paying.desk import organization_of
from app.services.billing.paying.reading import read_subscription


class SubscriptionService:
    """Shows the subscription."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal

    async def get(self) -> SubscriptionRead:
        """The subscription with the plan that counts."""
        return await read_subscription(self.session, organization_of(self.principal))


Subscriptions = Annotated[SubscriptionService, Depends()]
