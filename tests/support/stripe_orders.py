"""Orders that are paid through the sandbox: what the buyer does on the page, and what is told of it."""

from typing import Any

from httpx import AsyncClient

from app.clients.stripe.sandbox.controls import run_control
from app.core.database import Database
from app.models.products import Product
from tests.factories.orders import order_body
from tests.support.events import handle_events
from tests.support.personas import Persona
from tests.support.stripe_sandbox import StripeSandbox

PATHS = {"success_path": "/thanks", "cancel_path": "/basket"}


async def place(
    client: AsyncClient, persona: Persona, product: Product, quantity: int = 1, **body: Any
) -> dict[str, Any]:
    """An order whose page is open; the answer's JSON."""
    sent = {"payment_method": "checkout", "checkout": PATHS, **body}
    answer = await client.post(
        "/api/orders", headers=persona.headers, json=order_body((product, quantity), **sent)
    )
    assert answer.status_code == 201, answer.text
    placed: dict[str, Any] = answer.json()
    assert placed["checkout_error"] is None, placed["checkout_error"]
    return placed


async def control(stripe: StripeSandbox, path: str, **body: Any) -> dict[str, Any]:
    """A control of the sandbox: `await control(stripe, "disputes", charge="ch_…")`."""
    status, answer = await stripe.sandbox.change(lambda state: run_control(state, path, body))
    assert status in {200, 402}, answer
    return answer


async def pay(stripe: StripeSandbox, order: dict[str, Any], outcome: str = "card") -> dict[str, Any]:
    """Do on the page of an order what a buyer would do."""
    session_id = order["stripe_checkout_session_id"]
    return await control(stripe, f"sessions/{session_id}/complete", outcome=outcome)


async def settle(client: AsyncClient, stripe: StripeSandbox, database: Database, **how: Any) -> None:
    """Deliver what Stripe has to tell and run every job, until nothing is left to do."""
    for _ in range(10):
        answers = await stripe.deliver(client, **how)
        assert all(answer.status_code == 200 for answer in answers)
        await handle_events(database)
        if not await stripe.events():
            return
    raise AssertionError("Stripe always has more to tell")


async def read(client: AsyncClient, persona: Persona, order: dict[str, Any]) -> dict[str, Any]:
    """The order as it stands."""
    answer = await client.get(f"/api/orders/{order['id']}", headers=persona.headers)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def act(
    client: AsyncClient, persona: Persona, order: dict[str, Any], name: str, expect: int = 200, **body: Any
) -> dict[str, Any]:
    """An act on an order; the answer's JSON."""
    path = f"/api/orders/{order['id']}/{name}"
    answer = await client.post(path, headers=persona.headers, json=body)
    assert answer.status_code == expect, answer.text
    told: dict[str, Any] = answer.json()
    return told


def states(order: dict[str, Any]) -> tuple[str, str, str | None]:
    """Where the goods are, where the money is, and what stops them."""
    return order["status"], order["payment_status"], order["hold_reason"]


async def pay_other(
    stripe: StripeSandbox, order: dict[str, Any], amount: int, currency: str = "eur", **more: Any
) -> dict[str, Any]:
    """A payment that names an order, but was not made on its page."""
    return await stripe.call(
        "payment_intents.create",
        amount=amount,
        currency=currency,
        confirm=True,
        metadata={"organization_id": str(order["organization"]), "order_id": order["id"]},
        **{"payment_method": "pm_card_visa", **more},
    )
