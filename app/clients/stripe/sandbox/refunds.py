"""Refunds: never more than is left of a charge; they may fail later."""

from app.clients.stripe.sandbox.charges import move_balance
from app.clients.stripe.sandbox.errors import invalid, required
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.reading import listable, retrievable
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.state import Object, State

REASONS = ("duplicate", "fraudulent", "requested_by_customer")


@route("POST", "/v1/refunds", "RefundCreateParams")
def create_refund(state: State, params: Params) -> Object:
    """Give back an amount of a charge, or what is left of it."""
    charge = _charge(state, params)
    left = charge["amount"] - charge["amount_refunded"]
    if left <= 0:
        raise invalid(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if charge["disputed"] and _is_lost(state, charge):
        raise invalid("This charge has been charged back.", code="charge_disputed")
    amount = params.number("amount", left)
    if amount < 1:
        raise invalid("Invalid positive integer", code="parameter_invalid_integer", param="amount")
    if amount > left:
        raise invalid(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", param="amount"
        )
    reason = params.choice("reason", REASONS[2], REASONS) if "reason" in params else None
    return give_back(state, charge, amount, reason, params.metadata())


def _charge(state: State, params: Params) -> Object:
    """The charge to give back from; an intent means its latest."""
    if named := params.text("charge"):
        charge = state.get("charge", named, "charge")
    elif named := params.text("payment_intent"):
        intent = state.get("payment_intent", named, "payment_intent")
        found = state.find("charge", intent["latest_charge"])
        if found is None:
            raise invalid(
                f"This PaymentIntent ({named}) does not have a successful charge to refund.",
                param="payment_intent",
            )
        charge = found
    else:
        raise required("payment_intent")
    if charge["status"] != "succeeded" or not charge["captured"]:
        raise invalid(
            f"Charge {charge['id']} has no captured amount to refund.", code="charge_not_refundable"
        )
    return charge


def _is_lost(state: State, charge: Object) -> bool:
    return any(
        dispute["status"] == "lost"
        for dispute in state.all("dispute", where=lambda item: item["charge"] == charge["id"])
    )


def give_back(
    state: State, charge: Object, amount: int, reason: str | None, metadata: dict[str, str]
) -> Object:
    """Make the refund and tell of it; a direct debit is given back some days later."""
    is_card = charge["payment_method_details"]["type"] == "card"
    refund = state.create(
        "refund",
        "re" if is_card else "pyr",
        amount=amount,
        balance_transaction=None,
        charge=charge["id"],
        currency=charge["currency"],
        destination_details={
            "type": "card",
            "card": {
                "reference_status": "pending",
                "reference_type": "acquirer_reference_number",
                "type": "refund",
            },
        }
        if is_card
        else None,
        metadata=metadata,
        payment_intent=charge["payment_intent"],
        reason=reason,
        receipt_number=None,
        source_transfer_reversal=None,
        status="succeeded",
        transfer_reversal=None,
    )
    del refund["livemode"]
    refund["balance_transaction"] = move_balance(state, "refund", refund, -amount, 0, "Refund")["id"]
    previous = {"amount_refunded": charge["amount_refunded"], "refunded": charge["refunded"]}
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    state.emit("refund.created", refund)
    state.emit("charge.refunded", charge, previous)
    return refund


@route("POST", "/v1/refunds/{id}", "RefundUpdateParams")
def update_refund(state: State, params: Params, identifier: str) -> Object:
    """Change the metadata of a refund."""
    refund = state.get("refund", identifier)
    return state.update(refund, "refund.updated", metadata=params.metadata(refund["metadata"]))


@route("POST", "/v1/refunds/{id}/cancel", "RefundCancelParams")
def cancel_refund(state: State, _: Params, identifier: str) -> Object:
    """Stop a refund that waits for the buyer; others cannot be stopped."""
    refund = state.get("refund", identifier)
    if refund["status"] != "requires_action":
        raise invalid("This refund can no longer be canceled.", code="refund_not_cancelable")
    _take_back(state, refund, status="canceled")
    state.emit("refund.updated", refund)
    return refund


def fail_refund(state: State, identifier: str) -> Object:
    """Let a refund fail, as when the card is closed: the amount is the charge's again."""
    refund = state.get("refund", identifier)
    if refund["status"] not in {"succeeded", "pending"}:
        raise invalid("This refund has already ended.")
    movement = move_balance(state, "refund_failure", refund, refund["amount"], 0, "Refund failure")
    refund["failure_balance_transaction"] = movement["id"]
    refund["failure_reason"] = "expired_or_canceled_card"
    _take_back(state, refund, status="failed")
    state.emit("refund.failed", refund)
    state.emit("charge.refund.updated", refund)
    return refund


def _take_back(state: State, refund: Object, *, status: str) -> None:
    """Let a refund count no longer."""
    charge = state.get("charge", refund["charge"])
    charge["amount_refunded"] -= refund["amount"]
    charge["refunded"] = False
    refund["status"] = status


retrievable("refund", "/v1/refunds", "RefundRetrieveParams")
listable("refund", "/v1/refunds", "RefundListParams", charge="charge", payment_intent="payment_intent")
