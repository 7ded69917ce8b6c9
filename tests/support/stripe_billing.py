"""Customers, prices and subscriptions in the sandbox of Stripe, as the tests of billing need them."""

from functools import partial
from typing import Any

from app.clients.stripe.sandbox.clock import advance
from app.clients.stripe.sandbox.state import Object
from tests.support.stripe_sandbox import StripeSandbox

PREMIUM, BUSINESS = 4700, 14_900
YEARLY = 47_000


async def a_price(sandbox: StripeSandbox, amount: int = PREMIUM, interval: str = "month", **more: Any) -> str:
    """The id of a recurring price of a new product."""
    product = await sandbox.call("products.create", name=f"Plan of {amount}")
    recurring = {"interval": interval, **more.pop("recurring", {})}
    price = await sandbox.call(
        "prices.create",
        product=product["id"],
        currency="eur",
        unit_amount=amount,
        recurring=recurring,
        **more,
    )
    return str(price["id"])


async def a_customer(sandbox: StripeSandbox, method: str | None = "pm_card_visa") -> str:
    """The id of a customer, whose default for invoices is the method."""
    customer = await sandbox.call("customers.create", email="owner@maison.example", name="Maison")
    if method is not None:
        await use_method(sandbox, customer["id"], method)
    return str(customer["id"])


async def use_method(sandbox: StripeSandbox, customer: str, method: str) -> str:
    """Attach a method, and let invoices be paid with it."""
    attached = await sandbox.call("payment_methods.attach", method, customer=customer)
    settings = {"default_payment_method": attached["id"]}
    await sandbox.call("customers.update", customer, invoice_settings=settings)
    return str(attached["id"])


async def subscribe(
    sandbox: StripeSandbox, price: str | None = None, *, method: str | None = "pm_card_visa", **more: Any
) -> dict[str, Any]:
    """A subscription of a new customer."""
    customer = more.pop("customer", None) or await a_customer(sandbox, method)
    items = [{"price": price or await a_price(sandbox)}]
    return await sandbox.call("subscriptions.create", customer=customer, items=items, **more)


async def pass_time(sandbox: StripeSandbox, period: str) -> None:
    """Move the clock, and let everything happen that is due."""
    await sandbox.sandbox.change(partial(advance, period=period))


async def retrieve(sandbox: StripeSandbox, subscription: dict[str, Any], *expand: str) -> dict[str, Any]:
    """The subscription as it is now."""
    return await sandbox.call("subscriptions.retrieve", subscription["id"], expand=list(expand))


async def invoices_of(sandbox: StripeSandbox, subscription: dict[str, Any]) -> list[dict[str, Any]]:
    """The invoices of a subscription, oldest first, with their payments."""
    found = sandbox.client.pages(
        "invoices.list", params={"subscription": subscription["id"], "expand": ["data.payments"]}
    )
    return [invoice async for invoice in found][::-1]


async def event_types(sandbox: StripeSandbox, *prefixes: str) -> list[str]:
    """The types of all events so far, oldest first, that begin with one of the prefixes."""
    events: list[Object] = await sandbox.events(pending=False)
    return [event["type"] for event in events if event["type"].startswith(prefixes or ("",))]
