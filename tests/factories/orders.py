"""Orders for tests: rows in any state, and orders placed over HTTP; the rows are committed."""

import secrets
from datetime import datetime, timedelta
from typing import Any

from httpx import AsyncClient
from sqlalchemy import select

from app.core import clock
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.core.mail_addresses import parse_address
from app.core.money import PriceLine, Pricing, price_order
from app.core.search_terms import search_terms
from app.models.orders import Order, OrderItem, OrderPayment, Refund
from app.models.products import Product
from app.repositories.orders.orders import terms_vector
from tests.factories.products import Owner, make_product

ADDRESS = {
    "name": "Anna Martin",
    "line1": "12 rue des Lilas",
    "postal_code": "75011",
    "city": "Paris",
    "country": "FR",
}

CUSTOMER = {"email": "Anna@Example.test", "name": "Anna Martin", "phone": "+33 6 12 34 56 78"}

PAID = {"confirmed", "processing", "shipped", "delivered", "returned"}
MOMENTS = {"shipped": 1, "delivered": 2, "returned": 2}


async def make_order(
    db: SystemSession,
    *,
    owner: Owner,
    status: str = "pending",
    items: int = 1,
    email: str = "anna@example.test",
    **columns: Any,
) -> Order:
    """An order of the owner's organisation in this state, with so many lines of products that aren't counted.

    A paid state brings its payment; `columns` override anything.
    """
    products = [
        await make_product(db, owner=owner, price=1000 + n, track_inventory=False) for n in range(items)
    ]
    pricing = _priced(products)
    order = Order(**{**_columns(owner, status, pricing, email), **columns})
    order.search = terms_vector(
        search_terms(
            owner.organization_id, order.order_number, email, *(product.name for product in products)
        )
    )
    db.add(order)
    await db.flush()
    db.add_all(
        OrderItem(
            organization_id=owner.organization_id,
            id=uuid7(),
            order_id=order.id,
            position=line.position,
            product_id=product.id,
            name=product.name,
            product_snapshot={"name": product.name, "price": product.price},
            unit_price=line.unit_price,
            quantity=1,
            tax_rate_bps=line.tax_rate_bps,
            tax_amount=line.tax_amount,
            total_amount=line.total_amount,
            fulfilled_quantity=1 if status in MOMENTS else 0,
        )
        for line, product in zip(pricing.lines, products, strict=True)
    )
    if order.amount_paid:
        db.add(
            OrderPayment(
                organization_id=owner.organization_id,
                id=uuid7(),
                order_id=order.id,
                method="bank_transfer",
                amount=order.amount_paid,
                currency=order.currency,
                status="applied",
                received_at=order.paid_at,
            )
        )
    await db.commit()
    return order


async def make_refund(db: SystemSession, *, order: Order, amount: int = 100, **columns: Any) -> Refund:
    """A refund by amount that succeeded, with a payment in cash for it where the order has none.

    The sums on order and payment are left as they are.
    """
    payment_id = await db.scalar(select(OrderPayment.id).where(OrderPayment.order_id == order.id).limit(1))
    if payment_id is None:
        payment_id = (await make_payment(db, order=order)).id
    values = {"reason": "goodwill", "status": "succeeded", "actor_type": "user", **columns}
    refund = Refund(
        organization_id=order.organization_id,
        id=uuid7(),
        order_id=order.id,
        payment_id=payment_id,
        amount=amount,
        currency=order.currency,
        **values,
    )
    db.add(refund)
    await db.commit()
    return refund


async def make_payment(db: SystemSession, *, order: Order, **columns: Any) -> OrderPayment:
    """A payment of the whole order in cash that was applied to it; `columns` override anything."""
    values = {"method": "cash", "amount": order.total_amount, "currency": order.currency, **columns}
    payment = OrderPayment(
        organization_id=order.organization_id,
        id=uuid7(),
        order_id=order.id,
        **{"status": "applied", **values},
    )
    db.add(payment)
    await db.commit()
    return payment


async def place_order(
    client: AsyncClient, persona: Any, product: Product, quantity: int = 1, **body: Any
) -> dict[str, Any]:
    """An order placed over HTTP, to be paid by hand unless `body` says otherwise; the answer's JSON."""
    answer = await client.post(
        "/api/orders", headers=persona.headers, json=order_body((product, quantity), **body)
    )
    assert answer.status_code == 201, answer.text
    placed: dict[str, Any] = answer.json()
    return placed


def order_body(*lines: tuple[Product, int], **members: Any) -> dict[str, Any]:
    """The body of an order of these products and quantities."""
    return {
        "items": [{"product_id": str(product.id), "quantity": quantity} for product, quantity in lines],
        "customer": CUSTOMER,
        "shipping_address": ADDRESS,
        "payment_method": "manual",
        **members,
    }


def _priced(products: list[Product]) -> Pricing:
    lines = [PriceLine(unit_price=product.price, quantity=1, rate_bps=2000) for product in products]
    return price_order(lines, currency="EUR", prices_include_tax=True)


def _columns(owner: Owner, status: str, pricing: Pricing, email: str) -> dict[str, Any]:
    now = clock.now()
    address = parse_address(email)
    columns: dict[str, Any] = {
        "organization_id": owner.organization_id,
        "id": uuid7(),
        "user_id": owner.user_id,
        "status": status,
        "currency": "EUR",
        "prices_include_tax": True,
        "subtotal": pricing.subtotal,
        "tax_amount": pricing.tax_amount,
        "total_amount": pricing.total_amount,
        "pricing": pricing.as_dict(),
        "payment_method": "manual",
        "customer_email": address.address,
        "customer_email_canonical": address.canonical,
    }
    if status != "draft":
        columns["order_number"] = f"TST-{now.year}-{secrets.randbelow(10**9):09d}"
        columns["placed_at"] = now
    if status in PAID:
        columns |= {"payment_status": "paid", "amount_paid": pricing.total_amount, "paid_at": now}
    return columns | _moments(status, now)


def _moments(status: str, now: datetime) -> dict[str, datetime]:
    steps = MOMENTS.get(status, 0)
    moments = {"shipped_at": now + timedelta(hours=1), "delivered_at": now + timedelta(days=1)}
    moments["completed_at"] = moments["delivered_at"]
    taken = list(moments)[: {0: 0, 1: 1, 2: 3}[steps]]
    if status == "cancelled":
        return {"cancelled_at": now}
    return {name: moments[name] for name in taken}
