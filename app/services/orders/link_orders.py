"""Orders from payment links: a session of a link that a buyer has completed becomes one order."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.clients.stripe import StripeClient
from app.core.card_numbers import without_card_numbers
from app.core.database import ScopedSession
from app.core.errors import Conflict
from app.core.events import emit
from app.core.ids import uuid7
from app.core.mail_addresses import MailAddress, parse_address
from app.models.orders import Order, OrderItem, OrderSettings
from app.repositories.orders.basket import BasketProduct, read_basket
from app.repositories.orders.orders import terms_vector
from app.repositories.orders.placing import PlacingRepository
from app.repositories.orders.settings import OrderSettingsRepository
from app.services.billing.usage import count
from app.services.orders.applying import PaymentApplier
from app.services.orders.events import OrderPlaced, order_event
from app.services.orders.lines import AMOUNTS, SNAPSHOT, order_terms
from app.services.orders.link_sales import LinkSale, SoldLine, read_sale
from app.services.orders.numbers import order_series
from app.services.products.holding import ReservedProduct
from app.services.stripe_webhooks.binding import bind
from app.services.stripe_webhooks.intake import clean
from app.services.stripe_webhooks.link_sessions import is_of_link, link_order_id

LONGEST_NOTES = 2000
MOST_METADATA = 16_000
"""Bytes of JSON that an order's metadata may have, with room for how PostgreSQL writes it."""

OURS = frozenset({"organization_id", "order_id", "command_id"})
"""Metadata of the link by which its orders are found; the rest is the shop's."""


async def link_facts(client: StripeClient, found: dict[str, Any]) -> dict[str, Any]:
    """What else an order of a link is made from: lines with products and taxes, the payment, its refunds."""
    if not is_of_link(found):
        return {}
    lines = client.pages(
        "checkout.sessions.line_items.list",
        found["id"],
        params={"limit": 100, "expand": ["data.price.product", "data.taxes"]},
    )
    facts: dict[str, Any] = {"link_lines": [clean(line) async for line in lines]}
    intent = found.get("payment_intent")
    if isinstance(intent, dict):
        params = {"expand": ["latest_charge.balance_transaction"]}
        paid = await client.call("payment_intents.retrieve", intent["id"], params=params)
        refunds = client.pages("refunds.list", params={"payment_intent": intent["id"], "limit": 100})
        facts["payment_intent"] = {**paid, "refunds": [refund async for refund in refunds]}
    return facts


class LinkOrders:
    """Makes orders of sessions. The caller holds the lock on the session's id and has told who acts."""

    def __init__(self, session: ScopedSession, applier: PaymentApplier) -> None:
        self.session = session
        self.applier = applier
        self.organization_id = applier.organization_id
        self.placing = PlacingRepository(session, applier.organization_id)

    async def take(self, found: Mapping[str, Any]) -> Order:
        """The order of a completed session, locked; it is placed now unless it was before.

        EventDead when its lines or its currency are none that an order can have.
        """
        order = await self.applier.orders.locked(str(link_order_id(found)))
        return order if order is not None else await self._place(found)

    async def _place(self, found: Mapping[str, Any]) -> Order:
        """Place the order. It holds its stock, or is one that has expired when there is too little.

        Products, the plan's quota and the counter of numbers are locked in this order, as by everybody who
        places orders.
        """
        sale = read_sale(found, found["link_lines"])
        order_id = link_order_id(found)
        products, settings = await self._read(sale)
        wanted = _quantities(sale, products)
        reserved = await self._reserve(order_id, wanted)
        await count(self.session, self.organization_id, "orders", 1, order_id, may_refuse=False)
        now = await self.session.now()
        number = await self.placing.next_number(order_series(settings, now))
        order = Order(
            organization_id=self.organization_id,
            id=order_id,
            order_number=number,
            channel="payment_link",
            status="pending" if reserved is not None else "expired",
            payment_status="unpaid",
            payment_method="checkout",
            placed_at=now,
            stripe_checkout_session_id=found["id"],
            **_amounts(sale),
            **_buyer(found),
        )
        lines = [(_of(products, line).get("sku"), line.name) for line in sale.lines]
        columns = {name: getattr(order, name) for name in TERMS}
        order.search = terms_vector(order_terms(self.organization_id, (number,), columns, lines))
        self.session.add(order)
        await self.session.flush()
        self.session.add_all([self._item(order_id, line, products) for line in sale.lines])
        await self.session.flush()
        await self._keep(order_id, wanted, reserved)
        await bind(self.session, found["id"], "checkout.session", self.organization_id, order_id)
        await self._tell(order_id)
        return order

    async def _read(self, sale: LinkSale) -> tuple[dict[UUID, BasketProduct], OrderSettings]:
        """The organisation's own products among those that are named, locked, and its settings."""
        rows = await read_basket(
            self.session,
            self.organization_id,
            sale.product_ids,
            country=None,
            region=None,
            shipping_code=None,
            lock=True,
        )
        settings = rows.settings or await OrderSettingsRepository(self.session).of(self.organization_id)
        # Without settings the series is that of their defaults; they are made when somebody asks for them.
        return rows.products, settings or OrderSettings(number_prefix="ORD", time_zone="Europe/Paris")

    async def _reserve(
        self, order_id: UUID, wanted: Mapping[UUID, int]
    ) -> dict[UUID, ReservedProduct] | None:
        """Hold the pieces of counted products, all or none; None when there are too few of one."""
        savepoint = await self.session.begin_nested()
        try:
            reserved = await self.applier.stock.reserve(order_id, wanted)
        except Conflict:
            await savepoint.rollback()
            return None
        await savepoint.commit()
        return reserved

    async def _keep(
        self, order_id: UUID, wanted: Mapping[UUID, int], reserved: dict[UUID, ReservedProduct] | None
    ) -> None:
        """Write what the order holds, or what it would have held."""
        if reserved is None:
            await self.applier.stock.note_missed(order_id, wanted)
        else:
            await self.applier.stock.keep(reserved)

    def _item(self, order_id: UUID, line: SoldLine, products: Mapping[UUID, BasketProduct]) -> OrderItem:
        price, product = line.price, _of(products, line)
        return OrderItem(
            organization_id=self.organization_id,
            id=uuid7(),
            order_id=order_id,
            position=price.position,
            product_id=product.get("id"),
            sku=product.get("sku"),
            name=line.name,
            product_snapshot={
                **({"id": str(product["id"])} if product else {}),
                **{name: product.get(name) for name in SNAPSHOT},
                "name": line.name,
                "price": price.base_price,
                "options": [],
            },
            unit_price=price.unit_price,
            quantity=price.quantity,
            discount_amount=price.discount_amount,
            tax_rate_bps=price.tax_rate_bps,
            tax_amount=price.tax_amount,
            total_amount=price.total_amount,
        )

    async def _tell(self, order_id: UUID) -> None:
        view = await self.applier.orders.view(order_id)
        if view is None:
            raise LookupError("an order was placed and cannot be read")
        event = order_event(OrderPlaced, view.order, view.items)
        await emit(self.session, event, organization_id=self.organization_id)


TERMS = ("customer_email", "customer_name", "customer_phone", "shipping_address", "billing_address")


def _of(products: Mapping[UUID, BasketProduct], line: SoldLine) -> dict[str, Any]:
    """The columns of the product that a line names; empty when the organisation has no such product."""
    found = products.get(line.product_id) if line.product_id else None
    return {} if found is None else found._asdict()


def _quantities(sale: LinkSale, products: Mapping[UUID, BasketProduct]) -> dict[UUID, int]:
    """Pieces of each counted product, all lines together."""
    merged: dict[UUID, int] = {}
    for line in sale.lines:
        product = products.get(line.product_id) if line.product_id else None
        if product is not None and product.track_inventory:
            merged[product.id] = merged.get(product.id, 0) + line.price.quantity
    return merged


def _amounts(sale: LinkSale) -> dict[str, Any]:
    pricing = sale.pricing
    return {
        "currency": pricing.currency,
        "prices_include_tax": pricing.prices_include_tax,
        **{name: getattr(pricing, name) for name in AMOUNTS},
        "pricing": pricing.as_dict(),
    }


def _buyer(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the session knows of its buyer, as far as an order has room for it."""
    told: dict[str, Any] = clean(dict(found))
    details = told.get("customer_details") or {}
    collected = (told.get("collected_information") or {}).get("shipping_details") or {}
    email = _email(details.get("email"))
    name = _short(details.get("name"), 200)
    return {
        "customer_email": email.address if email else None,
        "customer_email_canonical": email.canonical if email else None,
        "customer_name": name,
        "customer_phone": _short(details.get("phone"), 40),
        "billing_address": _address(details.get("address"), name),
        "shipping_address": _address(collected.get("address"), _short(collected.get("name"), 200)),
        "notes": _notes(told.get("custom_fields") or []),
        "metadata_": _metadata(told),
    }


def _email(text: object) -> MailAddress | None:
    try:
        return parse_address(str(text)) if text else None
    except ValueError:
        return None


def _short(text: object, longest: int) -> str | None:
    return str(text)[:longest] if text else None


def _address(found: Mapping[str, Any] | None, name: str | None) -> dict[str, Any] | None:
    """An address of Stripe's in our words; None where not even the country is known."""
    if not found or not found.get("country"):
        return None
    return {
        "name": name,
        "company": None,
        "line1": _short(found.get("line1"), 200),
        "line2": _short(found.get("line2"), 200),
        "postal_code": _short(found.get("postal_code"), 20),
        "city": _short(found.get("city"), 100),
        "region": _short(found.get("state"), 40),
        "country": str(found["country"])[:2].upper(),
    }


def _notes(fields: list[dict[str, Any]]) -> str | None:
    """What the buyer wrote into the page's own fields."""
    lines = []
    for field in fields:
        value = (field.get(str(field.get("type"))) or {}).get("value")
        if value:
            lines.append(f"{(field.get('label') or {}).get('custom') or field.get('key')}: {value}")
    return _short(without_card_numbers("\n".join(lines)), LONGEST_NOTES)


def _metadata(found: Mapping[str, Any]) -> dict[str, Any]:
    """The link's own metadata, the link, and the buyer's language where the page knows it."""
    locale = found.get("locale")
    known = {
        **({"payment_link": found["payment_link"]} if found.get("payment_link") else {}),
        **({"locale": locale} if locale and locale != "auto" else {}),
    }
    given = {name: value for name, value in (found.get("metadata") or {}).items() if name not in OURS}
    merged: dict[str, Any] = without_card_numbers({**given, **known})
    return merged if len(json.dumps(merged)) <= MOST_METADATA else known
