"""Shopify: addresses of each shop's own, and a way back that the platform signs."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence

from app.clients.connections import Account, Addresses, Caller, Grant, OAuthClient
from app.clients.connections.oauth import EndedByAccessToken, refuse_unless_good

SHOP = re.compile(r"[a-z0-9][a-z0-9-]*\.myshopify\.com", re.ASCII)
LONGEST_SHOP = 100
API = "admin/api/2026-01"


def is_shop(text: object) -> bool:
    """Whether this is the host of a shop, and nothing that only looks like one."""
    return isinstance(text, str) and len(text) <= LONGEST_SHOP and SHOP.fullmatch(text) is not None


def addresses_of(shop: str) -> Addresses:
    """The addresses of a shop, whose name a customer chose."""
    return Addresses(
        authorize=f"https://{shop}/admin/oauth/authorize",
        token=f"https://{shop}/admin/oauth/access_token",
        test=f"https://{shop}/{API}/shop.json",
        revoke=f"https://{shop}/admin/api_permissions/current.json",
        is_fixed=False,
    )


def signature_of(secret: str, query: Iterable[tuple[str, str]]) -> str:
    """What Shopify signs a way back with: HMAC-SHA256 over its sorted parameters, in hexadecimal."""
    signed = sorted((name, value) for name, value in query if name not in ("hmac", "signature"))
    message = "&".join(f"{name}={value}" for name, value in signed)
    return hmac.digest(secret.encode(), message.encode(), hashlib.sha256).hex()


def is_signed(secret: str, query: Sequence[tuple[str, str]]) -> bool:
    """Whether the parameters of a way back carry Shopify's signature."""
    sent = [value for name, value in query if name == "hmac"]
    if len(sent) != 1:
        return False
    expected = signature_of(secret, query)
    return hmac.compare_digest(expected.encode(), sent[0].encode(errors="replace"))


class Shopify(EndedByAccessToken):
    """A shop."""

    name = "shopify"
    title = "Shopify"
    default_scopes = ("read_products", "read_orders")
    allowed_scopes = frozenset(
        {*default_scopes, "write_products", "write_orders", "read_inventory", "write_inventory"}
    )
    required_scopes = always_scopes = ("read_products",)
    scope_separator = ","
    params = ("shop",)
    config = {"location_id": r"[0-9]{1,30}"}  # noqa: RUF012 - as the base declares it

    def __init__(self, client: OAuthClient, caller: Caller, addresses: Addresses, *, shop: str) -> None:
        super().__init__(client, caller, addresses)
        self.shop = shop

    @classmethod
    def missing_scopes(cls, granted: Iterable[str]) -> tuple[str, ...]:
        """Shopify leaves out what another scope contains: who may write may read."""
        known = set(granted)
        known |= {f"read_{scope.removeprefix('write_')}" for scope in known if scope.startswith("write_")}
        return super().missing_scopes(known)

    def more_exchanged(self) -> dict[str, str]:
        """Tokens that expire and come with a refresh token, instead of one for ever."""
        return {"expiring": "1"}

    async def identify(self, grant: Grant) -> Account:
        """The shop itself: only its own address could answer the code."""
        del grant
        return Account(id=self.shop, label=self.shop)

    def sign(self, access_token: str) -> dict[str, str]:
        """Shopify's own header."""
        return {"X-Shopify-Access-Token": access_token}

    async def end_by(self, access_token: str) -> bool:
        """Take back what the shop allowed; 401 and 403 are for a token that has expired or was taken back."""
        reply = await self.ask("DELETE", self.addresses.revoke, headers=self.sign(access_token))
        if reply.status in (401, 403):
            return False
        refuse_unless_good(reply)
        return True
