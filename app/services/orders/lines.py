"""What a priced basket writes: the rows of its lines, the amounts of its order, the words that find it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from app.core.ids import uuid7
from app.core.mail_addresses import parse_address
from app.core.money import Pricing
from app.core.search_terms import search_terms
from app.models.orders import OrderItem
from app.schemas.orders import Address, Customer
from app.services.orders.basket import Basket, BasketLine

SNAPSHOT = (
    "name",
    "slug",
    "sku",
    "category",
    "currency",
    "tax_category",
    "weight_g",
    "lead_time_days",
    "version",
)
"""What a line keeps of its product besides the price and the options that were answered."""

AMOUNTS = (
    "subtotal",
    "discount_amount",
    "shipping_amount",
    "shipping_tax_amount",
    "tax_amount",
    "total_amount",
)


def item_rows(order_id: UUID, basket: Basket, pricing: Pricing) -> list[dict[str, Any]]:
    """The rows of `order_items`, all columns but the owner, in position order."""
    rows = []
    for line, priced in zip(basket.lines, pricing.lines, strict=True):
        product = line.product
        rows.append(
            {
                "id": uuid7(),
                "order_id": order_id,
                "position": priced.position,
                "product_id": product.id,
                "design_id": None,
                "design_version": None,
                "sku": product.sku,
                "name": product.name,
                "product_snapshot": _snapshot(line, priced.base_price),
                "customization": line.customization.values,
                "customization_sha256": line.customization.sha256,
                "is_personalised": line.is_personalised,
                "unit_price": priced.unit_price,
                "quantity": priced.quantity,
                "discount_amount": priced.discount_amount,
                "tax_rate_bps": priced.tax_rate_bps,
                "tax_amount": priced.tax_amount,
                "total_amount": priced.total_amount,
                "refunded_quantity": 0,
                "refunded_amount": 0,
                "returned_quantity": 0,
                "restocked_quantity": 0,
                "fulfilled_quantity": 0,
            }
        )
    return rows


def _snapshot(line: BasketLine, base_price: int) -> dict[str, Any]:
    """The product as it is bought, with the definitions of those options that the buyer answered."""
    product = line.product
    answered = line.customization.values
    return {
        "id": str(product.id),
        **{name: getattr(product, name) for name in SNAPSHOT},
        "price": base_price,
        "options": [option for option in product.options if option["code"] in answered],
    }


def product_ids(items: Iterable[OrderItem]) -> set[UUID]:
    """The products of stored lines, each once."""
    return {item.product_id for item in items if item.product_id is not None}


def price_columns(basket: Basket, pricing: Pricing) -> dict[str, Any]:
    """The columns of an order that pricing decides."""
    return {
        "currency": pricing.currency,
        "prices_include_tax": pricing.prices_include_tax,
        **{name: getattr(pricing, name) for name in AMOUNTS},
        "pricing": pricing.as_dict(),
        "discount_code": pricing.discount.code if pricing.discount else None,
        "withdrawal_right": basket.withdrawal_right,
    }


def customer_columns(customer: Customer) -> dict[str, Any]:
    """The columns of an order that say who buys."""
    address = parse_address(customer.email) if customer.email else None
    return {
        "customer_email": address.address if address else None,
        "customer_email_canonical": address.canonical if address else None,
        "customer_name": customer.name,
        "customer_phone": customer.phone,
    }


def address_column(address: Address | None) -> dict[str, Any] | None:
    """An address as it is stored."""
    return None if address is None else address.model_dump(mode="json")


def term_scope(organization_id: UUID) -> str:
    """What stands before every search term of an organisation."""
    return search_terms(organization_id, "0")[0].removesuffix("0")


def order_terms(
    organization_id: UUID,
    number: Sequence[str],
    columns: Mapping[str, Any],
    lines: Sequence[tuple[str | None, str]],
) -> list[str]:
    """The words that find an order: number, e-mail address, names, phone digits, then SKUs and item names.

    `columns` holds the buyer and the addresses, `lines` the SKU and the name of each.
    """
    addresses = [columns.get(name) or {} for name in ("shipping_address", "billing_address")]
    return search_terms(
        organization_id,
        *number,
        columns.get("customer_email"),
        columns.get("customer_name"),
        *(address.get("name") for address in addresses),
        re.sub(r"[^0-9]", "", columns.get("customer_phone") or ""),
        *(text for line in lines for text in line),
    )
