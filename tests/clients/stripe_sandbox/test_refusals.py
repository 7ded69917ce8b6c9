"""Whatever a form says, the sandbox answers as Stripe would, and a refusal leaves everything as it was."""

import json
import random
from urllib.parse import urlencode

import pytest
from pydantic_core import to_json

from app.clients.stripe.sandbox.completing import complete
from app.clients.stripe.sandbox.operations import dispatch
from app.clients.stripe.sandbox.routing import ROUTES
from app.clients.stripe.sandbox.server import Request
from app.clients.stripe.sandbox.state import State
from tests.support.stripe_sandbox import StripeSandbox

KEY = {"authorization": "Bearer sk_test_x"}
VALUES = [
    "",
    "x",
    "-1",
    "0",
    "1",
    "99999999999999999",
    "1e9",
    "true",
    "now",
    "eur",
    "é" * 6000,
    "pm_card_visa",
    "\0",
]
SHAPES = ["{}", "{}[]", "{}[0]", "{}[a]", "{}[0][a]", "{}[0][price]", "{}[0][quantity]", "{}[a][b]", "{}[7]"]

PLAYED = """
GET /v1/account | POST /v1/customers | GET /v1/customers | GET /v1/customers/x | POST /v1/customers/x
DELETE /v1/customers/x | POST /v1/products | GET /v1/products | GET /v1/products/x | POST /v1/products/x
POST /v1/prices | GET /v1/prices | GET /v1/prices/x | POST /v1/prices/x
POST /v1/checkout/sessions | GET /v1/checkout/sessions | GET /v1/checkout/sessions/x
GET /v1/checkout/sessions/x/line_items | POST /v1/checkout/sessions/x/expire
POST /v1/payment_intents | GET /v1/payment_intents | GET /v1/payment_intents/x
POST /v1/payment_intents/x/confirm | POST /v1/payment_intents/x/capture | POST /v1/payment_intents/x/cancel
GET /v1/charges | GET /v1/charges/x | POST /v1/refunds | GET /v1/refunds | GET /v1/refunds/x
POST /v1/refunds/x/cancel | GET /v1/disputes/x | POST /v1/disputes/x/close
POST /v1/setup_intents | GET /v1/setup_intents/x | POST /v1/setup_intents/x/confirm
POST /v1/payment_methods | GET /v1/payment_methods | GET /v1/payment_methods/x
POST /v1/payment_methods/x/attach | POST /v1/payment_methods/x/detach
POST /v1/subscriptions | GET /v1/subscriptions | GET /v1/subscriptions/x | POST /v1/subscriptions/x
DELETE /v1/subscriptions/x | POST /v1/subscription_schedules | GET /v1/subscription_schedules/x
POST /v1/subscription_schedules/x | POST /v1/subscription_schedules/x/release
POST /v1/subscription_schedules/x/cancel | GET /v1/invoices | GET /v1/invoices/x
POST /v1/invoices/create_preview | POST /v1/invoices/x/pay | POST /v1/invoices/x/void
GET /v1/invoice_payments | POST /v1/credit_notes | GET /v1/credit_notes | GET /v1/credit_notes/x
POST /v1/billing_portal/configurations | GET /v1/billing_portal/configurations
POST /v1/billing_portal/sessions | POST /v1/promotion_codes | GET /v1/promotion_codes
POST /v1/coupons | GET /v1/coupons | POST /v1/webhook_endpoints | GET /v1/webhook_endpoints
DELETE /v1/webhook_endpoints/x | GET /v1/events | GET /v1/events/x | GET /v1/balance_transactions/x
POST /v1/customers/x/tax_ids | GET /v1/customers/x/tax_ids | GET /v1/customers/x/tax_ids/x
DELETE /v1/customers/x/tax_ids/x
"""


@pytest.mark.parametrize(
    "operation", [word.strip() for word in PLAYED.replace("\n", "|").split("|") if word.strip()]
)
def test_operation_when_it_is_looked_for(operation: str) -> None:
    method, path = operation.split()
    assert any(route.method == method and route.pattern.fullmatch(path) for route in ROUTES)


GOOD = {
    "currency": "eur",
    "amount": "500",
    "unit_amount": "500",
    "mode": "payment",
    "name": "Bag",
    "url": "https://x.example",
    "success_url": "https://x.example",
    "confirm": "true",
    "payment_method": "pm_card_visa",
    "customer": "@customer",
    "product": "@product",
    "invoice": "@invoice",
    "payment_intent": "@payment_intent",
    "subscription": "@subscription",
    "from_subscription": "@subscription",
    "items[0][price]": "@price",
    "line_items[0][price_data][currency]": "eur",
    "line_items[0][price_data][unit_amount]": "500",
    "line_items[0][price_data][product]": "@product",
    "promotion[coupon]": "@coupon",
    "promotion[type]": "coupon",
    "subscription_details[items][0][price]": "@price",
}
"""Good values by name, so that more is read than the first parameter that is missing; `@` is an object."""


async def some_of_everything(sandbox: StripeSandbox) -> dict[str, list[str]]:
    """A document with objects of most kinds; answers their ids by kind."""
    customer = await sandbox.call("customers.create", email="a@b.example")
    price = {"currency": "eur", "unit_amount": 2900, "product_data": {"name": "Pro"}}
    line = {"price_data": {**price, "recurring": {"interval": "month"}}}
    session = await sandbox.call(
        "checkout.sessions.create",
        mode="subscription",
        customer=customer["id"],
        line_items=[line],
        success_url="https://x.example",
    )
    await sandbox.sandbox.change(lambda state: complete(state, session["id"], "card"))
    await sandbox.call("payment_intents.create", amount=500, currency="eur", customer=customer["id"])
    await sandbox.call("setup_intents.create", customer=customer["id"])
    await sandbox.call("coupons.create", percent_off=10, duration="once")
    found: dict[str, list[str]] = {}
    for identifier, item in (await sandbox.sandbox.change(lambda state: dict(state.objects))).items():
        found.setdefault(item["object"], []).append(identifier)
    return found


@pytest.mark.parametrize("number", range(len(ROUTES)))
async def test_form_when_it_is_made_of_anything(stripe_sandbox: StripeSandbox, number: int) -> None:
    route = ROUTES[number]
    ids = await some_of_everything(stripe_sandbox)
    known = [identifier for group in ids.values() for identifier in group[-2:]]
    chance = random.Random(number)
    names = sorted(route.parameters)
    for _ in range(12):
        path = route.pattern.pattern
        while "(" in path:
            start, end = path.index("("), path.index(")") + 1
            path = path[:start] + chance.choice(known) + path[end:]
        pairs = [
            (
                chance.choice(SHAPES).format(chance.choice(names)),
                chance.choice([*VALUES, chance.choice(known)]),
            )
            for _ in range(chance.randint(0, 4))
        ]
        good = [
            (name, ids[value[1:]][0] if value.startswith("@") else value)
            for name, value in GOOD.items()
            if name.partition("[")[0] in route.parameters
        ]
        pairs += [pair for pair in good if chance.random() < 0.7]
        before = await stripe_sandbox.sandbox.change(lambda state: to_json(state.objects))
        answer = await stripe_sandbox.sandbox.request(Request(route.method, path, urlencode(pairs), KEY))
        assert answer.status in {200, 400, 402, 404}, (path, pairs, answer)
        assert json.loads(answer.body)
        if answer.status in {400, 404}:
            after = await stripe_sandbox.sandbox.change(lambda state: to_json(state.objects))
            assert after == before, (path, pairs, answer)


async def test_refusal_when_something_was_begun(stripe_sandbox: StripeSandbox) -> None:
    """A product that was made for a price that is then refused is not left behind."""
    form = "product_data[name]=Bag&currency=eur"
    answer = await stripe_sandbox.sandbox.request(Request("POST", "/v1/prices", form, KEY))
    assert answer.status == 400
    assert await stripe_sandbox.sandbox.change(lambda state: len(state.objects)) == 0


@pytest.mark.parametrize(
    "more",
    [
        {"unit_amount_decimal": "1.5"},
        {"unit_amount_decimal": "nan"},
        {"unit_amount_decimal": "1e400"},
        {"unit_amount": "100000000"},
        {"unit_amount": "-1"},
        {"unit_amount": "1", "currency": "zzz"},
        {"unit_amount": "1", "recurring[interval]": "month", "recurring[interval_count]": "37"},
        {"unit_amount": "1", "recurring[interval]": "fortnight"},
    ],
)
async def test_price_when_it_is_no_price(stripe_sandbox: StripeSandbox, more: dict[str, str]) -> None:
    form = urlencode({"product_data[name]": "Bag", "currency": "eur", **more})
    answer = await stripe_sandbox.sandbox.request(Request("POST", "/v1/prices", form, KEY))
    assert answer.status == 400, answer


def test_dispatch_when_nothing_fits() -> None:
    state = State({}, "http://x")
    with pytest.raises(Exception, match="Unrecognized request URL"):
        dispatch(state, "PUT", "/v1/customers", {})
