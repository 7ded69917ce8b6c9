"""Notices about keys, webhooks and connected services."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app.core.config import get_settings
from app.core.database import SystemSession
from app.core.permissions import Permission
from app.repositories.notifications import ReaderRepository
from app.schemas.notifications.words import Level
from app.services.billing.pdf.words import day
from app.services.integrations.connections.events import IntegrationNeedsReauth
from app.services.integrations.events import ApiKeyExpiring
from app.services.integrations.webhooks.events import (
    WebhookEndpointDisabled,
    WebhookEndpointFailing,
    WebhookEndpointRecovered,
)
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


class Health(NamedTuple):
    """What is said of an endpoint's health."""

    level: Level
    fr: tuple[str, str]
    en: tuple[str, str]
    template: str


WEBHOOKS_PAGE = "/integrations/webhooks"

HEALTH: Mapping[str, Health] = {
    WebhookEndpointFailing.type: Health(
        "warning",
        ("Les envois à {host} échouent", "Ils sont répétés, puis l'adresse est désactivée."),
        ("Deliveries to {host} fail", "They are repeated, and then the address is switched off."),
        "webhook_failing",
    ),
    WebhookEndpointDisabled.type: Health(
        "error",
        ("Plus rien n'est envoyé à {host}", "Corrigez la cause et réactivez l'adresse."),
        ("Nothing is sent to {host} any more", "Mend the cause and switch the address on again."),
        "webhook_disabled",
    ),
    WebhookEndpointRecovered.type: Health(
        "success",
        ("{host} répond à nouveau", "Ce qui attendait est envoyé."),
        ("{host} answers again", "What waited is being sent."),
        "notification",
    ),
}

REASONS: Mapping[str | None, tuple[str, str]] = {
    None: ("aucune réponse valable depuis un moment", "no good answer for some time"),
    "failing": ("trop d'échecs", "too many failures"),
    "gone": ("l'adresse n'existe plus (410)", "the address is gone (410)"),
    "plan_limit": ("votre offre en permet moins", "your plan allows fewer"),
}


@notices_for(WebhookEndpointFailing, WebhookEndpointDisabled, WebhookEndpointRecovered)
async def endpoint_notices(session: SystemSession, fact: Fact) -> list[Notice]:
    """To whoever may change webhooks."""
    said, host = HEALTH[fact.type], fact.data["url_host"]
    shop, _ = await ReaderRepository(session).names(fact.organization, [])
    url = f"{get_settings().app_url}{WEBHOOKS_PAGE}"
    reasons = REASONS.get(fact.data["disabled_reason"], REASONS[None])
    facts = {
        language: {"shop": shop, "endpoint": host, "reason": reason, "webhooks_url": url}
        for language, reason in zip(("fr", "en"), reasons, strict=True)
    }
    return [
        Notice(
            category="integrations",
            level=said.level,
            words=in_both(
                Words(said.fr[0].format(host=host), said.fr[1], "Voir les webhooks"),
                Words(said.en[0].format(host=host), said.en[1], "See the webhooks"),
            ),
            holders=Permission.webhooks_manage,
            organization_id=fact.organization,
            path=WEBHOOKS_PAGE,
            mail="as_category",
            template=said.template,
            facts=facts,
            ids={"webhook_endpoint_id": fact.data["webhook_endpoint_id"]},
        )
    ]


@notices_for(IntegrationNeedsReauth)
async def connection_notices(session: SystemSession, fact: Fact) -> list[Notice]:
    """To whoever may connect it again; once a day where a grant is lost again and again."""
    if fact.private.get("is_news") is False:
        return []
    service = fact.data["service"].replace("_", " ").title()
    shop, _ = await ReaderRepository(session).names(fact.organization, [])
    facts = {
        "shop": shop,
        "service": service,
        "connections_url": f"{get_settings().app_url}/integrations",
    }
    return [
        Notice(
            category="integrations",
            level="warning",
            words=in_both(
                Words(
                    f"La connexion à {service} est à renouveler",
                    "Le service ne l'accepte plus. Reconnectez-le.",
                    "Reconnecter",
                ),
                Words(
                    f"The connection to {service} has to be renewed",
                    "The service does not accept it any more. Connect it again.",
                    "Connect again",
                ),
            ),
            holders=Permission.integrations_manage,
            organization_id=fact.organization,
            path="/integrations",
            mail="as_category",
            template="integration_needs_reauth",
            facts={"fr": facts, "en": facts},
            ids={"integration_id": fact.data["integration_id"]},
        )
    ]
