"""Charges and the movements of the balance that they cause."""

from app.clients.stripe.sandbox.reading import listable, retrievable
from app.clients.stripe.sandbox.state import DAY, Object, State, new_id
from app.clients.stripe.sandbox.views import includable, listed
from app.core.money import half_up

FEE_BPS = 150
FEE_FIXED = 25
"""What the sandbox takes of a charge: 1.5 % and 25 minor units, a little like Stripe."""

DISPUTE_FEE = 1500
REPORTED = {
    "charge": "charge",
    "payment": "charge",
    "refund": "refund",
    "refund_failure": "refund_failure",
    "adjustment": "dispute",
}


def move_balance(state: State, kind: str, source: Object, amount: int, fee: int, text: str) -> Object:
    """Note that the balance moved by `amount` minus `fee` because of `source`."""
    movement = state.create(
        "balance_transaction",
        "txn",
        amount=amount,
        available_on=state.now + 7 * DAY,
        balance_type="payments",
        currency=source["currency"],
        description=text,
        exchange_rate=None,
        fee=fee,
        fee_details=[
            {
                "amount": fee,
                "application": None,
                "currency": source["currency"],
                "description": "Stripe processing fees",
                "type": "stripe_fee",
            }
        ]
        if fee
        else [],
        net=amount - fee,
        reporting_category=REPORTED[kind],
        source=source["id"],
        status="pending",
        type=kind,
    )
    del movement["livemode"], movement["metadata"]
    return movement


def fee_of(amount: int) -> int:
    """Stripe's part of a charge; never more than the charge itself."""
    return min(amount, half_up(amount * FEE_BPS, 10_000) + FEE_FIXED)


def new_charge(state: State, intent: Object, method: Object, status: str) -> Object:
    """The charge of one attempt to pay an intent; it becomes the intent's latest."""
    is_card = method["type"] == "card"
    charge = state.create(
        "charge",
        "ch" if is_card else "py",
        amount=intent["amount"],
        amount_captured=0,
        amount_refunded=0,
        application=None,
        application_fee=None,
        application_fee_amount=None,
        balance_transaction=None,
        billing_details=method["billing_details"],
        calculated_statement_descriptor="LUNEO",
        captured=False,
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        disputed=False,
        failure_balance_transaction=None,
        failure_code=None,
        failure_message=None,
        fraud_details={},
        metadata=dict(intent["metadata"]),
        on_behalf_of=None,
        outcome={
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "risk_score": 12,
            "seller_message": "Payment complete.",
            "type": "authorized",
        },
        paid=status != "failed",
        payment_intent=intent["id"],
        payment_method=method["id"],
        payment_method_details=_method_details(method),
        receipt_email=intent["receipt_email"],
        receipt_number=None,
        receipt_url=f"{state.base_url}/receipts",
        refunded=False,
        review=None,
        shipping=intent["shipping"],
        source=None,
        source_transfer=None,
        statement_descriptor=None,
        statement_descriptor_suffix=None,
        status=status,
        transfer_data=None,
        transfer_group=None,
    )
    intent["latest_charge"] = charge["id"]
    return charge


def _method_details(method: Object) -> Object:
    """How the charge was paid."""
    given = method[method["type"]]
    match method["type"]:
        case "card":
            kept = ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4")
            more: Object = {"installments": None, "mandate": None, "network": given["brand"]}
            details: Object = {
                **{name: given[name] for name in kept},
                **more,
                "three_d_secure": None,
                "wallet": None,
            }
        case "sepa_debit":
            names = ("bank_code", "branch_code", "country", "fingerprint", "last4")
            details = {**{name: given[name] for name in names}, "mandate": None}
        case _:
            details = {
                "payer_email": given["payer_email"],
                "payer_id": given["payer_id"],
                "payer_name": None,
                "seller_protection": None,
                "transaction_id": new_id("paypal")[11:28],
                "country": given["country"],
            }
    return {"type": method["type"], method["type"]: details}


def fail_charge(charge: Object, code: str, decline_code: str | None, message: str) -> None:
    """Note why a charge failed."""
    charge.update(
        status="failed",
        paid=False,
        failure_code=code,
        failure_message=message,
        outcome={
            **charge["outcome"],
            "network_status": "declined_by_network",
            "reason": decline_code or code,
            "seller_message": "The bank did not return any further details with this decline.",
            "type": "issuer_declined",
        },
    )


def settle_charge(state: State, charge: Object, amount: int) -> None:
    """Capture a charge: the balance takes the amount, and Stripe its fee."""
    kind = "charge" if charge["id"].startswith("ch") else "payment"
    charge.update(status="succeeded", paid=True, captured=True, amount_captured=amount)
    if amount < charge["amount"]:
        # What was authorised and is not captured counts as given back.
        charge["amount_refunded"] = charge["amount"] - amount
    movement = move_balance(state, kind, charge, amount, fee_of(amount), charge["description"] or "Payment")
    charge["balance_transaction"] = movement["id"]


@includable("charge", "refunds")
def refunds_of(state: State, charge: Object) -> Object:
    """The refunds of a charge, newest first; the ten newest only, as at Stripe."""
    found = list(state.all("refund", where=lambda item: item["charge"] == charge["id"]))
    return listed(f"/v1/charges/{charge['id']}/refunds", found[:10], has_more=len(found) > 10)


retrievable("charge", "/v1/charges", "ChargeRetrieveParams")
listable("charge", "/v1/charges", "ChargeListParams", customer="customer", payment_intent="payment_intent")
retrievable("balance_transaction", "/v1/balance_transactions", "BalanceTransactionRetrieveParams")
listable(
    "balance_transaction",
    "/v1/balance_transactions",
    "BalanceTransactionListParams",
    source="source",
    type="type",
)
