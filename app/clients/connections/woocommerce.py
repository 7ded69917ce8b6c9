"""WooCommerce: a shop on a server of the customer's, with a pair of keys and no authorisation page."""

import re
from collections.abc import Mapping
from typing import ClassVar

from app.clients.connections import Account, Caller, ServiceRefused
from app.clients.connections.asking import ask, basic
from app.clients.connections.oauth import refuse_unless_good
from app.clients.outbound import UrlNotAllowed, check_url

KEY = re.compile(r"ck_[0-9a-f]{40}", re.ASCII)
SECRET = re.compile(r"cs_[0-9a-f]{40}", re.ASCII)
STATUS = "/wp-json/wc/v3/system_status"


class WooCommerce:
    """A shop of WooCommerce."""

    name: ClassVar[str] = "woocommerce"
    title: ClassVar[str] = "WooCommerce"
    auth_mode: ClassVar[str] = "api_key"
    params: ClassVar[tuple[str, ...]] = ("store_url", "consumer_key", "consumer_secret")
    config: ClassVar[Mapping[str, str]] = {}

    def __init__(self, caller: Caller, store_url: str) -> None:
        self.caller = caller
        self.store_url = store_url

    @staticmethod
    def read_address(text: str) -> tuple[str, Account]:
        """The shop's address in its normal form, and its account; UrlNotAllowed, https is a must."""
        checked = check_url(text)
        if checked.scheme != "https":
            raise UrlNotAllowed("scheme_not_allowed")
        path = checked.target.partition("?")[0].rstrip("/")
        host = checked.netloc[:200]
        return f"https://{checked.netloc}{path}", Account(id=host, label=host)

    @staticmethod
    def credentials(key: str, secret: str) -> str:
        """Both keys as one text, which is kept sealed."""
        return f"{key}:{secret}"

    async def test(self, credentials: str) -> None:
        """Ask the shop for its status; ServiceDown, ServiceRefused `credentials_rejected`."""
        key, _, secret = credentials.partition(":")
        url = f"{self.store_url}{STATUS}"
        reply = await ask(self.caller, "GET", url, headers=basic(key, secret), is_fixed=False)
        refuse_unless_good(reply)
        if reply.document is None:
            raise ServiceRefused("credentials_rejected", "no_json", status=reply.status)
