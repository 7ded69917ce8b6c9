"""Quoting: what a basket would cost and whether it can be had, without any effect."""

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.schemas.orders import Availability, OrderCreate, QuoteRead
from app.services.orders.basket import Basket, BasketService
from app.services.orders.lines import customer_columns
from app.services.orders.sales import SaleService


class QuotingService:
    """Prices baskets that nobody has ordered."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.baskets = BasketService(session, principal)
        self.sales = SaleService(session, principal)

    async def quote(self, body: OrderCreate) -> QuoteRead:
        """The price of a basket now; refuses as placing it would, but for stock and `expected_total`."""
        basket = await self.baskets.read(
            body.items,
            addresses=(body.shipping_address, body.billing_address),
            shipping_code=body.shipping_code,
            currency=body.currency,
        )
        email = customer_columns(body.customer)["customer_email_canonical"]
        sale = await self.sales.estimate(basket, discount_code=body.discount_code, email=email)
        return QuoteRead(
            pricing=sale.pricing.as_dict(),
            availability=_availability(basket),
            withdrawal_right=basket.withdrawal_right,
        )


def _availability(basket: Basket) -> list[Availability]:
    """Each product once, with the pieces that all its lines ask for."""
    products = {line.product.id: line.product for line in basket.lines}
    answers = []
    for product_id, requested in basket.quantities.items():
        product = products[product_id]
        available = product.available
        enough = available is None or product.allow_backorder or available >= requested
        answers.append(
            Availability(product_id=product_id, requested=requested, available=available, is_available=enough)
        )
    return answers
