"""HubSpot: it names errors in `status`, and says in another answer whose a token is and what it may."""

from urllib.parse import quote

from app.clients.connections import Account, Addresses, Grant
from app.clients.connections.asking import Reply
from app.clients.connections.oauth import OAuthService, account_of, refuse_unless_good, sound_scopes


class HubSpot(OAuthService):
    """An account (a hub) of HubSpot."""

    name = "hubspot"
    title = "HubSpot"
    known_addresses = Addresses(
        authorize="https://app.hubspot.com/oauth/authorize",
        token="https://api.hubapi.com/oauth/v1/token",  # noqa: S106 - an address
        identify="https://api.hubapi.com/oauth/v1/access-tokens",
        test="https://api.hubapi.com/account-info/v3/details",
        revoke="https://api.hubapi.com/oauth/v1/refresh-tokens",
    )
    default_scopes = ("oauth", "crm.objects.contacts.read", "crm.objects.contacts.write")
    allowed_scopes = frozenset({*default_scopes, "crm.objects.deals.read", "crm.objects.deals.write"})
    required_scopes = ("crm.objects.contacts.read",)
    always_scopes = ("oauth", *required_scopes)
    config = {"pipeline_id": r"[A-Za-z0-9_-]{1,60}"}  # noqa: RUF012 - as the base declares it
    gone_errors = frozenset({"invalid_grant", "BAD_REFRESH_TOKEN", "BAD_AUTH_CODE"})

    def error_in(self, reply: Reply) -> str | None:
        """HubSpot's own word for it stands in `status`."""
        error = super().error_in(reply)
        return error if error is None else reply.member("status", longest=100) or error

    async def identify(self, grant: Grant) -> Account:
        """The hub of a token; the token is part of the path."""
        url = f"{self.addresses.identify}/{quote(grant.access_token, safe='')}"
        reply = await self.ask("GET", url)
        account = account_of(reply, "hub_id", "hub_domain")
        named = reply.document.get("scopes") if reply.document is not None else None
        scopes = sound_scopes(named) if isinstance(named, list) else None
        return Account(id=account.id, label=account.label, scopes=scopes)

    def revocable(self, *, account_id: str, access: str | None, refresh: str | None) -> str | None:
        """HubSpot deletes refresh tokens; access tokens end by themselves within half an hour."""
        del account_id, access
        return refresh

    async def revoke(self, kept: str) -> None:
        """Delete the refresh token; 404 is for one that is gone."""
        reply = await self.ask("DELETE", f"{self.addresses.revoke}/{quote(kept, safe='')}")
        if reply.status != 404:
            refuse_unless_good(reply)
