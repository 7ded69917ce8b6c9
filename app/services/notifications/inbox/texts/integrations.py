"""Notices about keys, webhooks and connected services."""

from datetime import datetime
from uuid import UUID

from app.core.database import SystemSession
from app.core.permissions import Permission
from app.repositories.notifications import ReaderRepository
from app.services.billing.pdf.words import day
from app.services.integrations.events import ApiKeyExpiring
from app.services.notifications.inbox.notices import Fact, Notice, Words, in_both, notices_for


@notices_for(ApiKeyExpiring)
async def expiring_notices(session: SystemSession, fact: Fact) -> list[Notice]:
    """To whoever made the key, and to those who may replace it; its mail is the keys' own."""
    maker = await ReaderRepository(session).maker_of_key(fact.organization, UUID(fact.data["api_key_id"]))
    name, end = fact.data["name"], datetime.fromisoformat(fact.data["expires_at"]).date()
    return [
        Notice(
            category="integrations",
            level="warning",
            words=in_both(
                Words(
                    f"La clé API « {name} » expire bientôt",
                    f"Elle expire le {day(end, 'fr')}. Remplacez-la avant.",
                    "Voir les clés",
                ),
                Words(
                    f"The API key “{name}” expires soon",
                    f"It expires on {day(end, 'en')}. Replace it before.",
                    "See the keys",
                ),
            ),
            holders=Permission.api_keys_manage,
            people=[maker] if maker is not None else [],
            organization_id=fact.organization,
            path="/integrations/api-keys",
            ids={"api_key_id": fact.data["api_key_id"]},
        )
    ]
