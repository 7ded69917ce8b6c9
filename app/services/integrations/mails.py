"""Owns which mails follow from the events of API keys."""

from datetime import datetime
from typing import Any
from uuid import UUID

from app.core.config import get_settings
from app.core.database import SystemSession
from app.repositories.integrations import ApiKeyRepository
from app.services.auth.recipients import mail_to, moment, recipients_of
from app.services.integrations.events import ApiKeyExpiring
from app.services.notifications.requests import MailRequest, mails_for


@mails_for(ApiKeyExpiring)
async def expiring_mails(
    session: SystemSession,
    event_type: str,  # noqa: ARG001 - a composer's signature
    data: dict[str, Any],
    private: dict[str, Any],  # noqa: ARG001 - as above
) -> list[MailRequest]:
    """Tell whoever made the key and whoever may replace it; nobody when it has ended meanwhile."""
    repository = ApiKeyRepository(session)
    key = await repository.get(UUID(data["api_key_id"]))
    if key is None or key.revoked_at is not None or key.expires_at is None:
        return []
    shop = await repository.organization_name(key.organization_id)
    expires_at = datetime.fromisoformat(data["expires_at"])
    facts = {
        "key_name": key.name,
        "key_hint": f"{key.key_prefix}…{key.last4}",
        "shop": shop,
        "days": str(data["days"]),
        "until": moment(expires_at),
        "keys_url": f"{get_settings().app_url}/integrations/api-keys",
    }
    keepers = await repository.keepers(key.organization_id)
    creator = await repository.rights_of(key.organization_id, [key.created_by])
    recipients = await recipients_of(session, dict.fromkeys([*creator, *keepers]))
    return [mail_to(one, "api_key_expiring", "integrations", facts) for one in recipients]
