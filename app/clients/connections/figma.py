"""Figma: the client's credentials in Basic, an address of its own for refreshes, nothing to revoke by."""

from app.clients.connections import Account, Addresses, Grant
from app.clients.connections.asking import bearer
from app.clients.connections.oauth import OAuthService, account_of


class Figma(OAuthService):
    """The account of a person at Figma."""

    name = "figma"
    title = "Figma"
    known_addresses = Addresses(
        authorize="https://www.figma.com/oauth",
        token="https://api.figma.com/v1/oauth/token",  # noqa: S106 - an address
        refresh="https://api.figma.com/v1/oauth/refresh",
        identify="https://api.figma.com/v1/me",
        test="https://api.figma.com/v1/me",
    )
    default_scopes = ("current_user:read", "file_content:read")
    allowed_scopes = frozenset({*default_scopes, "file_metadata:read", "file_comments:read", "projects:read"})
    required_scopes = always_scopes = ("current_user:read",)
    scope_separator = ","
    is_client_in_basic = True
    config = {"team_id": r"[0-9]{1,30}", "project_id": r"[0-9]{1,30}"}  # noqa: RUF012 - as the base declares it

    async def identify(self, grant: Grant) -> Account:
        """`/v1/me`."""
        reply = await self.ask("GET", self.addresses.identify, headers=bearer(grant.access_token))
        return account_of(reply, "id", "handle")

    def revocable(self, *, account_id: str, access: str | None, refresh: str | None) -> str | None:
        """Figma has no address for it; people take the grant back in their settings there."""
        del account_id, access, refresh
        return None

    async def revoke(self, kept: str) -> None:
        """Nothing: `revocable` keeps nothing of a connection to Figma."""
        del kept
