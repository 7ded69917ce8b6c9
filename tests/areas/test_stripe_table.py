"""Every type of events that the service promises to heed has an effect, and no other has."""

import pytest

from app.clients.stripe import API_VERSION
from app.services.stripe_webhooks.effects import effects_of, handled_types
from app.services.stripe_webhooks.fetching import FETCHED

PROMISED = """
checkout.session.completed checkout.session.async_payment_succeeded checkout.session.async_payment_failed
checkout.session.expired
payment_intent.succeeded payment_intent.amount_capturable_updated payment_intent.processing
payment_intent.requires_action payment_intent.payment_failed payment_intent.canceled
charge.refunded refund.created refund.updated refund.failed charge.refund.updated
charge.updated
charge.dispute.created charge.dispute.updated charge.dispute.closed charge.dispute.funds_withdrawn
charge.dispute.funds_reinstated
customer.subscription.created customer.subscription.updated customer.subscription.deleted
customer.subscription.paused customer.subscription.resumed customer.subscription.pending_update_applied
customer.subscription.pending_update_expired
customer.subscription.trial_will_end invoice.upcoming
subscription_schedule.updated subscription_schedule.released subscription_schedule.completed
subscription_schedule.canceled
invoice.created invoice.finalized invoice.updated invoice.sent invoice.overdue invoice.will_be_due
invoice.voided invoice.marked_uncollectible
invoice.paid invoice.payment_succeeded
invoice.payment_failed invoice.payment_action_required invoice.finalization_failed
invoice.deleted
invoice_payment.paid
payment_method.attached payment_method.updated payment_method.automatically_updated payment_method.detached
setup_intent.succeeded setup_intent.setup_failed
customer.updated customer.deleted
credit_note.created credit_note.updated credit_note.voided
price.created price.updated price.deleted product.created product.updated product.deleted
"""

TABLE = PROMISED.split()

MONEY_BACK = [name for name in TABLE if name.startswith(("charge.refund", "refund.", "charge.dispute."))]


def test_types_when_compared_with_the_table() -> None:
    assert len(TABLE) == len(set(TABLE))
    assert handled_types() == set(TABLE)
    assert set(FETCHED) == set(TABLE)
    assert API_VERSION == "2026-10-28.endive"


@pytest.mark.parametrize("kind", MONEY_BACK)
def test_money_back_when_it_is_of_an_order_or_of_a_subscription(kind: str) -> None:
    areas = {found.effect.__module__.split(".")[2] for found in effects_of(kind)}
    assert areas == {"billing", "orders"}
