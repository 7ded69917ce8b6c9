"""Discount codes in orders: redeeming one, looking at one without effect, and giving one back."""

from datetime import datetime
from uuid import UUID

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import FieldError, Invalid
from app.core.money import Discount
from app.core.permissions import Permission
from app.models.orders import DiscountCode
from app.repositories.orders.discounts import DiscountRepository

CAUSES = {
    "unknown": "There is no such code.",
    "inactive": "The code is switched off.",
    "not_started": "The code is not valid yet.",
    "ended": "The code is not valid any more.",
    "exhausted": "The code was redeemed as often as it may be.",
    "minimum_not_reached": "The basket is below the code's minimum.",
    "wrong_currency": "The code is for another currency.",
    "customer_limit": "This buyer has redeemed the code as often as one may.",
}


class DiscountService:
    """Decides whether a code applies to a basket; amounts in minor units of the basket's currency."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.codes = DiscountRepository(session)

    async def redeem(self, code: str, *, subtotal: int, currency: str, email: str | None) -> DiscountCode:
        """Count a redemption; its row stays locked. 422 `discount_not_applicable` when it cannot be."""
        now = await self.session.now()
        redeemed = await self.codes.redeem(code.upper(), subtotal=subtotal, currency=currency, now=now)
        if redeemed is None:
            found = await self.codes.find(code.upper())
            raise self._refusal(_cause(found, subtotal, currency, now) or "exhausted")
        await self._refuse_frequent(redeemed, email)
        return redeemed

    async def preview(self, code: str, *, subtotal: int, currency: str, email: str | None) -> DiscountCode:
        """The code if it would apply now; nothing is counted. Refuses as `redeem` does."""
        found = await self.codes.find(code.upper())
        cause = _cause(found, subtotal, currency, await self.session.now())
        if found is None or cause is not None:
            raise self._refusal(cause or "unknown")
        await self._refuse_frequent(found, email)
        return found

    async def keep(self, order_id: UUID, code: DiscountCode, *, email: str | None, amount: int) -> None:
        """Write down which code an existing order redeemed, and what it took off."""
        await self.codes.keep(order_id, code.id, email=email, amount=amount)

    async def readdress(self, order_id: UUID, email: str | None) -> None:
        """Let an order's code count for its new buyer; the buyer's limit was judged when it was redeemed."""
        await self.codes.readdress(order_id, email)

    async def give_up(self, order_id: UUID, successor: str | None) -> None:
        """Give back what an order redeemed, since it is priced anew, perhaps with another code.

        Both codes are locked first, in the order of their ids, so that two orders may exchange theirs.
        """
        await self.codes.lock(order_id, successor.upper() if successor else None)
        await self.release(order_id)

    async def release(self, order_id: UUID) -> None:
        """Give back what an order redeemed, if it did."""
        await self.codes.release(order_id, await self.session.now())

    async def _refuse_frequent(self, code: DiscountCode, email: str | None) -> None:
        if code.max_per_customer is None or email is None:
            return
        if await self.codes.live_redemptions(code.id, email) >= code.max_per_customer:
            raise self._refusal("customer_limit")

    def _refusal(self, cause: str) -> Invalid:
        """One answer for all causes; only people who may write orders are told which it was."""
        may_know = self.principal.kind == "user" and self.principal.may(Permission.orders_write)
        errors = [FieldError("/discount_code", cause, CAUSES[cause])] if may_know else []
        return Invalid(
            "discount_not_applicable", "This discount code does not apply to this order.", errors=errors
        )


def as_discount(code: DiscountCode | None) -> Discount | None:
    """A code as pricing knows it."""
    if code is None:
        return None
    return Discount(code.code, code.kind, code.value)  # type: ignore[arg-type]  # the CHECK knows the three kinds


def _cause(code: DiscountCode | None, subtotal: int, currency: str, now: datetime) -> str | None:
    """Why a code does not apply, but for the buyer's own limit; None when it does."""
    if code is None:
        return "unknown"
    reasons = (
        ("inactive", not code.is_active),
        ("not_started", code.starts_at is not None and code.starts_at > now),
        ("ended", code.ends_at is not None and code.ends_at <= now),
        ("exhausted", code.max_redemptions is not None and code.redeemed >= code.max_redemptions),
        ("wrong_currency", code.currency is not None and code.currency != currency),
        ("minimum_not_reached", code.min_subtotal > subtotal),
    )
    return next((cause for cause, applies in reasons if applies), None)
