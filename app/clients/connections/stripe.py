"""Stripe Connect: a customer's own account at Stripe, never the one that this service is paid by."""

from app.clients.connections import Account, Addresses, Grant, ServiceRefused
from app.clients.connections.asking import bearer, text_of
from app.clients.connections.oauth import OAuthService, refuse_unless_good


class StripeConnect(OAuthService):
    """An account of Stripe that belongs to the customer."""

    name = "stripe"
    title = "Stripe"
    known_addresses = Addresses(
        authorize="https://connect.stripe.com/oauth/authorize",
        token="https://connect.stripe.com/oauth/token",  # noqa: S106 - an address
        test="https://api.stripe.com/v1/account",
        revoke="https://connect.stripe.com/oauth/deauthorize",
    )
    default_scopes = ("read_only",)
    allowed_scopes = frozenset({"read_only", "read_write"})
    is_long_lived = True

    async def identify(self, grant: Grant) -> Account:
        """The account, which stands in the answer to the code."""
        account_id = text_of(grant.answer, "stripe_user_id")
        if account_id is None:
            raise ServiceRefused("exchange_failed", "no_account")
        return Account(id=account_id, label=account_id)

    def revocable(self, *, account_id: str, access: str | None, refresh: str | None) -> str | None:
        """Stripe is told the account; no token is needed."""
        del access, refresh
        return account_id

    async def revoke(self, kept: str) -> None:
        """`deauthorize`, as the platform; 401 `invalid_client` is for an account that left already."""
        form = {"client_id": self.client.client_id, "stripe_user_id": kept}
        signed = bearer(self.client.client_secret)
        reply = await self.ask("POST", self.addresses.revoke, form=form, headers=signed)
        if reply.member("error", longest=100) != "invalid_client":
            refuse_unless_good(reply)
