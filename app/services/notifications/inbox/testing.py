"""Owns test notices: what a person asks for to see whether they are reached."""

from typing import Annotated

from fastapi import Depends

from app.clients.push import sender
from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.events import emit
from app.core.ids import uuid7
from app.models.notifications import NotificationDelivery
from app.repositories.notifications import DeliveryRepository
from app.schemas.notifications.inbox import TestNotice, TestNoticeAccepted
from app.schemas.notifications.words import Category
from app.services.notifications.inbox.events import NotificationTestRequested
from app.services.notifications.push.subscribing import push_not_configured

CATEGORY: Category = "account"
TITLES = {"fr": "Notification d'essai", "en": "Test notice"}


class TestService:
    """Asks for tests; a handler sends them."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        assert principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
        self.user_id = principal.user_id

    async def send(self, body: TestNotice) -> TestNoticeAccepted:
        """Ask for a test, with a row in the history that tells how it ends; 503 `push_not_configured`."""
        if body.channel == "push" and sender() is None:
            raise push_not_configured()
        asked = NotificationTestRequested(user_id=self.user_id, channel=body.channel)
        event_id = await emit(self.session, asked)
        row = NotificationDelivery(
            id=uuid7(),
            user_id=self.user_id,
            event_id=event_id,
            category=CATEGORY,
            channel=body.channel,
            state="queued",
            title=TITLES["en"],
            dedupe_key=f"{event_id}:{body.channel}:-",
        )
        await DeliveryRepository(self.session).add(row)
        return TestNoticeAccepted(delivery_id=row.id)


Tests = Annotated[TestService, Depends()]
