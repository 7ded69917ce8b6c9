"""What orders let Stripe do: open and close checkouts, capture, cancel and refund."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from app.clients.stripe import StripeClient, StripeError, StripeMissing, StripeRefused
from app.core import clock
from app.core.database import SystemSession
from app.repositories.orders.refunds import RefundRepository
from app.services.orders.applying import PaymentApplier
from app.services.orders.checkout_state import close_checkout, keep_checkout
from app.services.orders.provider import CANCEL_INTENT, CAPTURE, CLOSE_CHECKOUT, OPEN_CHECKOUT, REFUND
from app.services.orders.provider_refunds import RefundImporter
from app.services.stripe_webhooks.binding import bind
from app.services.stripe_webhooks.commands import StripeCall, StripeCommandRow, marked, stripe_command
from app.services.stripe_webhooks.refusals import is_over_refunded

SHORTEST_SESSION = timedelta(minutes=30)
"""Stripe opens no session that would be over sooner."""

WITH_INTENT = {"expand": ["payment_intent"]}


@stripe_command(OPEN_CHECKOUT)
class OpenCheckout(StripeCall):
    """A page on which an order is paid. `params` are those of the session."""

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        """Open the session, unless so much time has gone by that Stripe would refuse it."""
        if params["expires_at"] < (clock.now() + SHORTEST_SESSION).timestamp():
            raise StripeRefused("the session's time has passed", code="session_window_passed")
        intent = params["payment_intent_data"]
        sent = {
            **params,
            "metadata": marked(params["metadata"], key),
            "payment_intent_data": {**intent, "metadata": marked(intent["metadata"], key)},
        }
        return await client.call("checkout.sessions.create", params=sent, key=key)

    async def succeeded(
        self, session: SystemSession, command: StripeCommandRow, result: dict[str, Any]
    ) -> None:
        """Keep the page on the order; where it does not fit the order any more, close it again."""
        await bind(session, result["id"], "checkout.session", command.organization_id, command.subject_id)
        applier = PaymentApplier(session, command.organization_id, str(command.id))
        await keep_checkout(applier, command, result)

    async def find(self, _client: StripeClient, _command: StripeCommandRow) -> dict[str, Any] | None:
        """After a day there is no such page: it would be over, and one was opened in its place."""
        return None


@stripe_command(CLOSE_CHECKOUT)
class CloseCheckout(StripeCall):
    """Closes a page; one that is not open any more is fetched, since somebody may have paid there."""

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        """The session as it is afterwards; one of another Stripe than today's counts as over."""
        return await end_session(client, params["session"], key)

    async def succeeded(
        self, session: SystemSession, command: StripeCommandRow, result: dict[str, Any]
    ) -> None:
        """Apply what was paid on the page after all."""
        applier = PaymentApplier(session, command.organization_id, str(command.id))
        order = await applier.take(command.subject_id)
        await close_checkout(applier, order, result)
        if isinstance(intent := result.get("payment_intent"), dict):
            await applier.apply_payment(order, intent)

    async def find(self, _client: StripeClient, _command: StripeCommandRow) -> dict[str, Any] | None:
        """Closing twice does no harm."""
        return None


async def end_session(client: StripeClient, session_id: str, key: str | None = None) -> dict[str, Any]:
    """Expire a session at Stripe, or fetch it with its payment when it is not open any more.

    One that Stripe does not know cannot be paid: it is over.
    """
    over = {"id": session_id, "object": "checkout.session", "status": "expired", "payment_intent": None}
    if not client.owns(session_id):
        return over
    try:
        return await client.call("checkout.sessions.expire", session_id, params=WITH_INTENT, key=key)
    except StripeMissing:
        return over
    except StripeRefused:
        return await client.call("checkout.sessions.retrieve", session_id, params=WITH_INTENT)


class IntentCall(StripeCall):
    """A change of a PaymentIntent, whose new state is applied to its order."""

    async def succeeded(
        self, session: SystemSession, command: StripeCommandRow, result: dict[str, Any]
    ) -> None:
        """Apply what the intent says now."""
        applier = PaymentApplier(session, command.organization_id, str(command.id))
        order_id = await applier.payments.order_of_intent(command.organization_id, result["id"])
        if order_id is not None:
            await applier.apply_payment(await applier.take(order_id), result)

    def resync(self, command: StripeCommandRow, _error: StripeError) -> tuple[str, dict[str, Any]] | None:
        """What the intent is instead."""
        return "payment_intent.succeeded", {"id": command.params["payment_intent"]}

    async def find(self, client: StripeClient, command: StripeCommandRow) -> dict[str, Any] | None:
        """The intent, if it has come to the state that was wanted."""
        found = await client.call("payment_intents.retrieve", command.params["payment_intent"])
        return found if found["status"] in {"succeeded", "canceled"} else None


@stripe_command(CAPTURE)
class Capture(IntentCall):
    """Takes the whole of what was authorised."""

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        """The captured intent."""
        return await client.call("payment_intents.capture", params["payment_intent"], key=key)


@stripe_command(CANCEL_INTENT)
class CancelIntent(IntentCall):
    """Lets go of what was authorised; an intent that has ended otherwise is fetched and applied."""

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        """The intent as it is afterwards."""
        try:
            return await client.call("payment_intents.cancel", params["payment_intent"], key=key)
        except StripeRefused:
            return await client.call("payment_intents.retrieve", params["payment_intent"])


@stripe_command(REFUND)
class CreateRefund(StripeCall):
    """Gives money of a payment back."""

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        """The refund."""
        sent = {**params, "metadata": marked(params["metadata"], key)}
        return await client.call("refunds.create", params=sent, key=key)

    async def succeeded(
        self, session: SystemSession, command: StripeCommandRow, result: dict[str, Any]
    ) -> None:
        """Bring the refund to what Stripe says of it."""
        applier = PaymentApplier(session, command.organization_id, str(command.id))
        order = await applier.take(_order_of(command))
        intent_id = str(command.params["payment_intent"])
        payment = await applier.payments.of_intent(order.organization_id, intent_id)
        if payment is not None:
            events = await RefundImporter(session, order, payment).take([result])
            await applier.put_back(order, events or None)

    async def refused(self, session: SystemSession, command: StripeCommandRow, error: StripeError) -> None:
        """Give the amount and the lines back, and tell that it failed."""
        applier = PaymentApplier(session, command.organization_id, str(command.id))
        order = await applier.take(_order_of(command))
        refunds = RefundRepository(session, command.organization_id)
        refund = await refunds.find(order.id, command.subject_id)
        payment = await applier.payments.of_intent(order.organization_id, command.params["payment_intent"])
        if refund is not None and payment is not None:
            importer = RefundImporter(session, order, payment)
            events = await importer.move(refund, "failed", error.code or type(error).__name__)
            await applier.put_back(order, events or None)

    def resync(self, command: StripeCommandRow, error: StripeError) -> tuple[str, dict[str, Any]] | None:
        """Where too much was asked for, refunds exist of which we do not know."""
        if not is_over_refunded(error):
            return None
        return "charge.refunded", {"payment_intent": command.params["payment_intent"]}

    async def find(self, client: StripeClient, command: StripeCommandRow) -> dict[str, Any] | None:
        """The refund that names this command."""
        params = {"payment_intent": command.params["payment_intent"], "limit": 100}
        async for refund in client.pages("refunds.list", params=params):
            if (refund.get("metadata") or {}).get("command_id") == str(command.id):
                return refund
        return None


def _order_of(command: StripeCommandRow) -> UUID:
    """The order that a refund is one of."""
    return UUID(command.params["metadata"]["order_id"])
