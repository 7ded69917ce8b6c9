"""The services that can be connected, by name."""

from app.clients.connections.figma import Figma
from app.clients.connections.google_analytics import GoogleAnalytics
from app.clients.connections.google_drive import GoogleDrive
from app.clients.connections.hubspot import HubSpot
from app.clients.connections.oauth import OAuthService
from app.clients.connections.shopify import Shopify
from app.clients.connections.slack import Slack
from app.clients.connections.stripe import StripeConnect
from app.clients.connections.woocommerce import WooCommerce
from app.clients.connections.zapier import Zapier

AnyService = type[OAuthService] | type[WooCommerce] | type[Zapier]

OAUTH: dict[str, type[OAuthService]] = {
    service.name: service
    for service in (Slack, GoogleDrive, GoogleAnalytics, Figma, HubSpot, StripeConnect, Shopify)
}
"""Those that people authorise on a page of the service."""

SERVICES: dict[str, AnyService] = {**OAUTH, WooCommerce.name: WooCommerce, Zapier.name: Zapier}
"""All of them, in the order in which they are shown."""


def sharing_grants(name: str) -> tuple[str, ...]:
    """The services whose grants end together with those of this one, itself included."""
    grantor = OAUTH[name].grantor
    return tuple(
        other for other, kind in OAUTH.items() if other == name or (grantor and kind.grantor == grantor)
    )
