"""Owns which services can be connected here, who plays them, and where they send people back to."""

from app.clients.connections import Addresses, Caller, OAuthClient
from app.clients.connections.oauth import OAuthService
from app.clients.connections.registry import OAUTH, SERVICES, AnyService
from app.clients.connections.sandbox import SANDBOX_CLIENT, SandboxCaller
from app.clients.connections.shopify import Shopify
from app.clients.connections.shopify import addresses_of as shop_addresses
from app.clients.connections.woocommerce import WooCommerce
from app.clients.outbound import get_outbound
from app.core.config import Settings, get_settings
from app.core.errors import FieldError, Invalid, Unavailable
from app.models.integrations import Integration


def service_named(name: str) -> AnyService:
    """The service of this name; 422 `unknown_service`."""
    if name not in SERVICES:
        known = ", ".join(SERVICES)
        detail = f"There is no such service here; there are {known}."
        raise Invalid("unknown_service", detail, errors=[FieldError("/service", "unknown_service", detail)])
    return SERVICES[name]


def is_configured(name: str) -> bool:
    """Whether a service can be connected now: the operator named a client, or the sandbox plays it."""
    settings = get_settings()
    return name not in OAUTH or settings.has_sandbox or _credentials(settings, name) is not None


def oauth_service(name: str, *, shop: str | None = None) -> OAuthService:
    """A service that people authorise, ready to be asked; 503 `integration_not_configured`.

    `shop` is the host of a shop, where each has its own addresses.
    """
    settings = get_settings()
    client = _credentials(settings, name)
    if client is not None:
        return _made(name, client, get_outbound(), _real_addresses(name, shop), shop)
    if not settings.has_sandbox:
        raise Unavailable(
            "integration_not_configured",
            f"This installation has no client of {OAUTH[name].title}; ask its operator.",
            headers={"Retry-After": "3600"},
        )
    own = OAuthClient(SANDBOX_CLIENT, SANDBOX_CLIENT)
    return _made(name, own, SandboxCaller(), _sandbox_addresses(settings, name, shop), shop)


def service_of(row: Integration) -> OAuthService:
    """The service of a connection, ready to be asked; 503 `integration_not_configured`."""
    return oauth_service(row.service, shop=row.external_account_id)


def store_at(store_url: str) -> WooCommerce:
    """A shop on a customer's server, ready to be asked."""
    return WooCommerce(get_outbound(), store_url)


def shopify_secret() -> str:
    """What Shopify signs the way back with."""
    client = _credentials(get_settings(), Shopify.name)
    return client.client_secret if client is not None else SANDBOX_CLIENT


def callback_address(name: str) -> str:
    """The one address that a service may send people back to."""
    return f"{get_settings().api_url}/api/integrations/callback/{name}"


def _made(
    name: str, client: OAuthClient, caller: Caller, addresses: Addresses, shop: str | None
) -> OAuthService:
    if name == Shopify.name:
        return Shopify(client, caller, addresses, shop=shop or "")
    return OAUTH[name](client, caller, addresses)


def _real_addresses(name: str, shop: str | None) -> Addresses:
    known = OAUTH[name].known_addresses
    return known if known is not None else shop_addresses(shop or "")


def _sandbox_addresses(settings: Settings, name: str, shop: str | None) -> Addresses:
    base = f"{settings.api_url}/sandbox/oauth/{name}"
    if name == Shopify.name:
        base = f"{base}/{shop}"
    known = OAUTH[name].known_addresses
    has_own_refresh = known is not None and known.refresh
    return Addresses(
        authorize=f"{base}/authorize",
        token=f"{base}/token",
        refresh=f"{base}/refresh" if has_own_refresh else "",
        identify=f"{base}/identify",
        test=f"{base}/test",
        revoke=f"{base}/revoke",
    )


def _credentials(settings: Settings, name: str) -> OAuthClient | None:
    """The client that the operator named; None when it is not whole."""
    match name:
        case "google_drive" | "google_analytics":
            pair = (settings.google_client_id, settings.google_client_secret)
        case "stripe":
            pair = (settings.stripe_connect_client_id, settings.stripe_secret_key)
        case _:
            pair = (getattr(settings, f"{name}_client_id"), getattr(settings, f"{name}_client_secret"))
    client_id, client_secret = pair
    return OAuthClient(client_id, client_secret) if client_id and client_secret else None
