"""A basket: its products read and checked, its place of taxation, and the price that follows from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.core.access import CurrentPrincipal
from app.core.config import get_settings
from app.core.database import Owner
from app.core.errors import AppError, Conflict, FieldError, Invalid, NotFound
from app.core.money import AmountOutOfRange, Discount, PriceLine, Pricing, Shipping, price_order
from app.models.orders import OrderSettings, ShippingRate
from app.repositories.orders.basket import BasketProduct, BasketRows, read_basket
from app.schemas.orders import Address, OrderLine
from app.schemas.product_options import load_options
from app.services.orders.faults import fault, refuse_currency
from app.services.orders.settings import OrderSettingsService
from app.services.products.customization import CheckedCustomization, check_customization


@dataclass(frozen=True, slots=True)
class BasketLine:
    """One line whose product exists and whose customisation is valid."""

    product: BasketProduct
    quantity: int
    customization: CheckedCustomization

    @property
    def is_personalised(self) -> bool:
        """Whether the line is made for this buyer, which ends the right of withdrawal."""
        return self.customization.is_bespoke


@dataclass(frozen=True, slots=True)
class Place:
    """Where an order is taxed; without a country the organisation's default rate holds."""

    country: str | None
    region: str


@dataclass(frozen=True, slots=True)
class Basket:
    """Checked lines of one currency with everything that prices them."""

    lines: Sequence[BasketLine]
    currency: str
    settings: OrderSettings
    place: Place
    tax_rates: Mapping[tuple[str, str], int]
    shipping_rate: ShippingRate | None

    @property
    def quantities(self) -> dict[UUID, int]:
        """Pieces by product, all lines together."""
        merged: dict[UUID, int] = {}
        for line in self.lines:
            merged[line.product.id] = merged.get(line.product.id, 0) + line.quantity
        return merged

    @property
    def wanted(self) -> list[tuple[BasketProduct, int]]:
        """Its products, each with the pieces of all lines together."""
        products = {line.product.id: line.product for line in self.lines}
        return [(products[product_id], quantity) for product_id, quantity in self.quantities.items()]

    @property
    def withdrawal_right(self) -> str:
        """`standard`, `partial` or `excluded_personalised`: none, some or all lines are personalised."""
        personalised = [line.is_personalised for line in self.lines]
        if all(personalised):
            return "excluded_personalised"
        return "partial" if any(personalised) else "standard"

    def tax_rate(self, category: str) -> int:
        """Basis points: the region's rate, else the country's, else the organisation's default."""
        for region in dict.fromkeys((self.place.region, "")):
            if (rate := self.tax_rates.get((region, category))) is not None:
                return rate
        return self.settings.default_tax_rate_bps

    def price(self, prices: Mapping[UUID, int], discount: Discount | None = None) -> Pricing:
        """The whole price; `prices` are those seen under the products' locks, by product.

        422 `amount_out_of_range`.
        """
        try:
            return price_order(
                [self._price_line(line, prices) for line in self.lines],
                currency=self.currency,
                prices_include_tax=self.settings.prices_include_tax,
                discount=discount,
                shipping=self._shipping(),
            )
        except AmountOutOfRange:
            raise Invalid("amount_out_of_range", "An amount of this order is too large.") from None

    def _price_line(self, line: BasketLine, prices: Mapping[UUID, int]) -> PriceLine:
        base_price = prices.get(line.product.id, line.product.price)
        return PriceLine(
            unit_price=base_price + line.customization.unit_delta,
            quantity=line.quantity,
            rate_bps=self.tax_rate(line.product.tax_category),
            base_price=base_price,
            option_deltas=tuple(line.customization.option_deltas),
        )

    def _shipping(self) -> Shipping | None:
        rate = self.shipping_rate
        if rate is None:
            return None
        return Shipping(
            rate.code, rate.amount, self.tax_rate(self.settings.shipping_tax_category), rate.free_from
        )


class BasketService:
    """Reads baskets."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        if principal.organization_id is None:
            raise NotFound()
        self.session = session
        self.organization_id: UUID = principal.organization_id
        self.settings = OrderSettingsService(session, principal)

    async def read(
        self,
        lines: Sequence[OrderLine],
        *,
        addresses: Sequence[Address | Mapping[str, Any] | None],
        shipping_code: str | None,
        currency: str | None,
        lock: bool = False,
    ) -> Basket:
        """Read and check a basket with one statement; of `addresses`, shipping comes before billing.

        `lock`: its stock is held next, and the products are locked for that.

        Refusals name every line that is at fault. 404 `product_not_found`, `design_not_found`,
        `file_not_found`; 409 `product_not_orderable`; 422 of customisations, `mixed_currencies`,
        `currency_not_supported`, `shipping_not_available`, `too_many_lines`.
        """
        if len(lines) > (most := get_settings().order_lines_max):
            raise fault("/items", "too_many_lines", f"An order has at most {most} lines.")
        refuse_currency(currency)
        place = _place(addresses)
        rows = await read_basket(
            self.session,
            self.organization_id,
            {line.product_id for line in lines},
            country=place.country,
            region=place.region,
            shipping_code=shipping_code,
            lock=lock,
        )
        checked = _checked_lines(lines, rows)
        currency = _one_currency(checked, currency)
        settings = rows.settings or await self.settings.make()
        if place.country is None:
            place = _place([settings.seller])
        if shipping_code is not None:
            _refuse_shipping(rows.shipping, currency, place.country)
        return Basket(
            lines=checked,
            currency=currency,
            settings=settings,
            place=place,
            tax_rates={(region, category): rate for region, category, rate in rows.tax_rates},
            shipping_rate=rows.shipping,
        )


def _place(addresses: Sequence[Address | Mapping[str, Any] | None]) -> Place:
    """The country and region of the first address there is."""
    for address in addresses:
        if isinstance(address, Address):
            return Place(address.country, address.region or "")
        if address and address.get("country"):
            return Place(str(address["country"]), str(address.get("region") or ""))
    return Place(None, "")


def _checked_lines(lines: Sequence[OrderLine], rows: BasketRows) -> list[BasketLine]:
    unknown = [n for n, line in enumerate(lines) if line.product_id not in rows.products]
    if unknown:
        raise NotFound(
            "product_not_found",
            "There are no such products; see `errors`.",
            errors=[_line_fault(n, "product_id", "product_not_found", "Unknown product.") for n in unknown],
        )
    idle = [n for n, line in enumerate(lines) if rows.products[line.product_id].status != "active"]
    if idle:
        raise Conflict(
            "product_not_orderable",
            "Some products are not for sale; leave them out.",
            errors=[_line_fault(n, "product_id", "product_not_orderable", "Not for sale.") for n in idle],
        )
    designed = [n for n, line in enumerate(lines) if (line.design_id or line.design_version) is not None]
    if designed:
        raise NotFound(
            "design_not_found",
            "There are no such designs; see `errors`.",
            errors=[_line_fault(n, "design_id", "design_not_found", "Unknown design.") for n in designed],
        )
    options = {product.id: load_options(product.options) for product in rows.products.values()}
    checked = []
    faults: list[FieldError] = []
    for n, line in enumerate(lines):
        customization = check_customization(options[line.product_id], line.customization)
        faults += [
            _line_fault(n, f"customization/{error.code_path}", error.error_code, error.detail)
            for error in customization.errors
        ]
        checked.append(BasketLine(rows.products[line.product_id], line.quantity, customization))
    if faults:
        raise _customization_refusal(faults)
    return checked


def _customization_refusal(faults: list[FieldError]) -> AppError:
    """404 when nothing but files is unknown, else 422; the code is that of the first fault."""
    detail = "Some customisations are not valid; see `errors`."
    if all(found.code == "file_not_found" for found in faults):
        return NotFound("file_not_found", detail, errors=faults)
    first = next(found.code for found in faults if found.code != "file_not_found")
    return Invalid(first, detail, errors=faults)


def _one_currency(lines: Sequence[BasketLine], asked: str | None) -> str:
    """The currency of all lines; 422 `mixed_currencies` when there are several, or another was asked for."""
    currency = asked or lines[0].product.currency
    others = [n for n, line in enumerate(lines) if line.product.currency != currency]
    if others:
        raise Invalid(
            "mixed_currencies",
            "An order has one currency; order these products separately.",
            errors=[_line_fault(n, "product_id", "mixed_currencies", "Another currency.") for n in others],
        )
    return currency


def _refuse_shipping(rate: ShippingRate | None, currency: str, country: str | None) -> None:
    if rate is None or not rate.is_active or rate.currency != currency or country not in rate.countries:
        raise fault(
            "/shipping_code", "shipping_not_available", "This way of shipping does not serve this order."
        )


def _line_fault(position: int, member: str, code: str, detail: str) -> FieldError:
    return FieldError(f"/items/{position}/{member}", code, detail)
