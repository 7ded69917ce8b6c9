"""Disputes: a buyer takes the money back through the bank, and somebody wins."""

from app.clients.stripe.sandbox.charges import DISPUTE_FEE, move_balance
from app.clients.stripe.sandbox.errors import invalid
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.reading import listable, retrievable
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.state import DAY, Object, State, shown

OUTCOMES = ("won", "lost", "warning_closed")
OPEN = ("needs_response", "under_review", "warning_needs_response", "warning_under_review")


def open_dispute(
    state: State, charge_id: str, *, reason: str = "fraudulent", is_warning: bool = False
) -> Object:
    """A buyer disputes a charge; with a warning (an inquiry) no money moves."""
    charge = state.get("charge", charge_id, "charge")
    if charge["disputed"] or charge["status"] != "succeeded":
        raise invalid("This charge cannot be disputed.", param="charge")
    amount = charge["amount"] - charge["amount_refunded"]
    dispute = state.create(
        "dispute",
        "du",
        amount=amount,
        balance_transactions=[],
        charge=charge["id"],
        currency=charge["currency"],
        enhanced_eligibility_types=[],
        evidence={"enhanced_evidence": {}},
        evidence_details={
            "due_by": state.now + 14 * DAY,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "manual",
        },
        is_charge_refundable=is_warning,
        payment_intent=charge["payment_intent"],
        reason=reason,
        status="warning_needs_response" if is_warning else "needs_response",
    )
    charge["disputed"] = True
    state.emit("charge.dispute.created", dispute)
    if not is_warning:
        _move(state, dispute, -amount, DISPUTE_FEE, "Chargeback withdrawal")
        state.emit("charge.dispute.funds_withdrawn", dispute)
    state.emit("charge.updated", charge, {"disputed": False})
    return dispute


def _move(state: State, dispute: Object, amount: int, fee: int, text: str) -> None:
    movement = move_balance(state, "adjustment", dispute, amount, fee, text)
    dispute["balance_transactions"] = [*dispute["balance_transactions"], shown(movement)]


def close_dispute(state: State, identifier: str, outcome: str) -> Object:
    """Decide a dispute; won gives the amount back."""
    dispute = state.get("dispute", identifier)
    if dispute["status"] not in OPEN:
        raise invalid("This dispute is already closed.", code="dispute_already_closed")
    if outcome not in OUTCOMES or (outcome == "warning_closed") != dispute["status"].startswith("warning_"):
        raise invalid(f"A dispute with the status {dispute['status']} cannot be {outcome}.", param="outcome")
    dispute.update(status=outcome, is_charge_refundable=outcome != "lost")
    state.emit("charge.dispute.closed", dispute)
    if outcome == "won":
        _move(state, dispute, dispute["amount"], 0, "Chargeback reversal")
        state.emit("charge.dispute.funds_reinstated", dispute)
    return dispute


@route("POST", "/v1/disputes/{id}/close", "DisputeCloseParams")
def accept(state: State, _: Params, identifier: str) -> Object:
    """Give a dispute up: it is lost."""
    dispute = state.get("dispute", identifier)
    is_warning = dispute["status"].startswith("warning_")
    return close_dispute(state, identifier, "warning_closed" if is_warning else "lost")


@route("POST", "/v1/disputes/{id}", "DisputeUpdateParams")
def submit_evidence(state: State, params: Params, identifier: str) -> Object:
    """Answer a dispute; it is then under review."""
    dispute = state.get("dispute", identifier)
    if dispute["status"] not in OPEN:
        raise invalid("This dispute is already closed.", code="dispute_already_closed")
    changes: Object = {"metadata": params.metadata(dispute["metadata"])}
    if "evidence" in params:
        given = params.hash("evidence")
        named = {name: given.text(name, most=150_000) for name in given.values}
        changes["evidence"] = {**dispute["evidence"], **named}
        changes["evidence_details"] = {
            **dispute["evidence_details"],
            "has_evidence": True,
            "submission_count": dispute["evidence_details"]["submission_count"] + 1,
        }
        if params.boolean("submit", default=True):
            changes["status"] = dispute["status"].replace("needs_response", "under_review")
    return state.update(dispute, "charge.dispute.updated", **changes)


retrievable("dispute", "/v1/disputes", "DisputeRetrieveParams")
listable("dispute", "/v1/disputes", "DisputeListParams", charge="charge", payment_intent="payment_intent")
