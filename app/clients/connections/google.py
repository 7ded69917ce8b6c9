"""Google's way to do OAuth, which its services share: a refresh token comes with the first grant only."""

from app.clients.connections import Account, Addresses, Grant
from app.clients.connections.asking import bearer
from app.clients.connections.oauth import OAuthService, account_of, refuse_unless_good


def addresses_of(test: str) -> Addresses:
    """Google's addresses, with the one that a service is tested by."""
    return Addresses(
        authorize="https://accounts.google.com/o/oauth2/v2/auth",
        token="https://oauth2.googleapis.com/token",  # noqa: S106 - an address
        identify="https://openidconnect.googleapis.com/v1/userinfo",
        test=test,
        revoke="https://oauth2.googleapis.com/revoke",
    )


class GoogleService(OAuthService):
    """What Google's services have in common."""

    has_pkce = True
    grantor = "google"

    def more_asked(self) -> dict[str, str]:
        """Google gives a refresh token only for offline access, and again only after asking again."""
        return {"access_type": "offline", "prompt": "consent"}

    async def identify(self, grant: Grant) -> Account:
        """The person's subject; people are shown the domain of the address, which is no personal datum."""
        reply = await self.ask("GET", self.addresses.identify, headers=bearer(grant.access_token))
        account = account_of(reply, "sub")
        domain = (reply.member("email", longest=320) or "").rpartition("@")[2]
        return Account(id=account.id, label=domain[:200] or account.id)

    async def revoke(self, kept: str) -> None:
        """Any token of the grant ends all of it; 400 is for a token that has ended already."""
        reply = await self.ask("POST", self.addresses.revoke, form={"token": kept})
        if reply.status != 400:
            refuse_unless_good(reply)
