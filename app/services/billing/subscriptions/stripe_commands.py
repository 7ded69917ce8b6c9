"""Owns the calls by which subscriptions change at Stripe, and how their answers are applied."""

from abc import abstractmethod
from dataclasses import asdict
from typing import Any

from app.clients.stripe import StripeClient, StripeError, StripeMissing, StripeRefused
from app.core import clock
from app.core.database import SystemSession
from app.core.events import emit
from app.repositories.billing.subscriptions import SubscriptionRepository
from app.services.billing import ledger
from app.services.billing.subscriptions.calls import RepeatableCall
from app.services.billing.subscriptions.events import DuplicateRefunded
from app.services.billing.subscriptions.fetching import (
    SCHEDULE,
    SUBSCRIPTION,
    fetch_subscription,
    id_of,
    moment,
)
from app.services.billing.subscriptions.invoices import intent_of
from app.services.billing.subscriptions.mirror import CANCEL_DUPLICATE, apply_subscription, coming_phase
from app.services.billing.subscriptions.telling import facts_of
from app.services.stripe_webhooks.commands import StripeCall, StripeCommandRow, stripe_command
from app.services.stripe_webhooks.refusals import OUT_OF_SYNC

ENDED = frozenset({"canceled", "incomplete_expired"})


class SubscriptionCall(StripeCall):
    """A change of a subscription; whatever Stripe made of it is fetched and applied."""

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        """Change it, then fetch what it is. What Stripe refuses is not in the state that we know of."""
        try:
            await self.change(client, params, key)
        except StripeRefused as error:
            error.code = OUT_OF_SYNC
            raise
        return {
            "id": params["subscription"],
            SUBSCRIPTION: await fetch_subscription(client, params["subscription"]),
        }

    @abstractmethod
    async def change(self, client: StripeClient, params: dict[str, Any], key: str) -> None:
        """The call itself."""

    @abstractmethod
    def is_done(self, found: dict[str, Any], params: dict[str, Any]) -> bool:
        """Whether a subscription, as it was fetched, is as the call was to leave it."""

    async def find(self, client: StripeClient, command: StripeCommandRow) -> dict[str, Any] | None:
        """The subscription when it is as it was to become, since a change names no command."""
        found = await fetch_subscription(client, params_of(command, "subscription"))
        return {"id": found["id"], SUBSCRIPTION: found} if self.is_done(found, command.params) else None

    async def succeeded(
        self, session: SystemSession, command: StripeCommandRow, result: dict[str, Any]
    ) -> None:
        """The mirror is what was fetched; the time is that of the first call, so that it is never too new."""
        fetched_at = command.first_sent_at or command.created_at
        await apply_subscription(session, command.organization_id, result[SUBSCRIPTION], fetched_at)

    def resync(
        self,
        command: StripeCommandRow,
        error: StripeError,  # noqa: ARG002 - whatever it says
    ) -> tuple[str, dict[str, Any]] | None:
        """Stripe refused because of a state that we do not know."""
        hint = {"id": command.params["subscription"], "object": "subscription"}
        return "customer.subscription.updated", hint


@stripe_command("subscription.update")
class Upgrade(SubscriptionCall):
    """Change the price now; what is left of the old one is taken off."""

    async def change(self, client: StripeClient, params: dict[str, Any], key: str) -> None:
        await release_schedule(client, params.get("schedule"))
        await client.call(
            "subscriptions.update",
            params["subscription"],
            params={
                "items": [{"id": params["item"], "price": params["price"]}],
                "proration_behavior": "always_invoice",
                "proration_date": params["proration_date"],
                "payment_behavior": "pending_if_incomplete",
            },
            key=key,
        )

    def is_done(self, found: dict[str, Any], params: dict[str, Any]) -> bool:
        """It has the price, or gets it once its invoice is paid."""
        waiting = (found.get("pending_update") or {}).get("subscription_items") or []
        return params["price"] in {id_of(item["price"]) for item in (*found["items"]["data"], *waiting)}


@stripe_command("subscription.cancel_at_period_end")
class CancelAtPeriodEnd(SubscriptionCall):
    """Let it end with what is paid for."""

    async def change(self, client: StripeClient, params: dict[str, Any], key: str) -> None:
        await release_schedule(client, params.get("schedule"))
        changes = {"cancel_at_period_end": True, "cancellation_details": params["details"]}
        await client.call("subscriptions.update", params["subscription"], params=changes, key=key)

    def is_done(self, found: dict[str, Any], params: dict[str, Any]) -> bool:  # noqa: ARG002 - any call's
        """It ends with its period, or has ended."""
        return bool(found["cancel_at_period_end"]) or found["status"] in ENDED


@stripe_command("subscription.cancel")
class CancelNow(SubscriptionCall):
    """End it at once; nothing is given back."""

    async def change(self, client: StripeClient, params: dict[str, Any], key: str) -> None:
        await end_subscription(client, params["subscription"], key, details=params.get("details"))

    def is_done(self, found: dict[str, Any], params: dict[str, Any]) -> bool:  # noqa: ARG002 - any call's
        """It has ended."""
        return found["status"] in ENDED


@stripe_command("subscription.resume")
class Resume(SubscriptionCall):
    """Let it go on after all."""

    async def change(self, client: StripeClient, params: dict[str, Any], key: str) -> None:
        changes = {"cancel_at_period_end": False}
        await client.call("subscriptions.update", params["subscription"], params=changes, key=key)

    def is_done(self, found: dict[str, Any], params: dict[str, Any]) -> bool:  # noqa: ARG002 - any call's
        """It goes on, or there is nothing left to go on with."""
        return not found["cancel_at_period_end"] or found["status"] in ENDED


@stripe_command("subscription.end_trial")
class EndTrial(SubscriptionCall):
    """End the trial now."""

    async def change(self, client: StripeClient, params: dict[str, Any], key: str) -> None:
        changes = {"trial_end": "now"}
        await client.call("subscriptions.update", params["subscription"], params=changes, key=key)

    def is_done(self, found: dict[str, Any], params: dict[str, Any]) -> bool:  # noqa: ARG002 - any call's
        """The trial is over. Ending it again would begin another period, and ask for it."""
        return bool(found["status"] != "trialing")


@stripe_command("schedule.create")
class Downgrade(SubscriptionCall):
    """Change the price when the period ends: a schedule of two phases."""

    async def change(self, client: StripeClient, params: dict[str, Any], key: str) -> None:
        # The one that it has now: that of an earlier attempt, or another than we know of. Never a second one.
        schedule = await _schedule_of(client, params["subscription"])
        if schedule is None:
            made = await client.call(
                "subscription_schedules.create",
                params={"from_subscription": params["subscription"]},
                key=f"{key}:create",
            )
        else:
            made = await client.call("subscription_schedules.retrieve", schedule)
        current = made["current_phase"]
        phases = [
            {
                "items": [{"price": params["current_price"], "quantity": 1}],
                "start_date": current["start_date"],
                "end_date": current["end_date"],
                "proration_behavior": "none",
            },
            {"items": [{"price": params["price"], "quantity": 1}], "proration_behavior": "none"},
        ]
        await client.call(
            "subscription_schedules.update",
            made["id"],
            params={"end_behavior": "release", "phases": phases},
            key=f"{key}:phases",
        )

    def is_done(self, found: dict[str, Any], params: dict[str, Any]) -> bool:
        """The phase to come has the price."""
        phase = coming_phase(found.get(SCHEDULE))
        return phase is not None and id_of(phase["items"][0]["price"]) == params["price"]


@stripe_command("schedule.release")
class ReleaseSchedule(SubscriptionCall):
    """Take the change back that was to come."""

    async def change(self, client: StripeClient, params: dict[str, Any], key: str) -> None:  # noqa: ARG002 - all commands have this signature
        await release_schedule(client, params["schedule"])

    def is_done(self, found: dict[str, Any], params: dict[str, Any]) -> bool:
        """It has no schedule, or another one."""
        return bool(id_of(found.get("schedule")) != params["schedule"])


@stripe_command(CANCEL_DUPLICATE)
class CancelDuplicate(RepeatableCall):
    """End a subscription that was bought twice, and give its payment back in full."""

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        """Unless the other has ended meanwhile: then this one is the organisation's."""
        kept = await fetch_subscription(client, params["kept"])
        if kept["status"] in ENDED:
            found = await fetch_subscription(client, params["subscription"])
            return {"id": params["subscription"], "kept": kept, SUBSCRIPTION: found}
        await end_subscription(client, params["subscription"], key)
        found = await fetch_subscription(client, params["subscription"])
        refund = await _refund(client, id_of(found.get("latest_invoice")), params["subscription"])
        return {"id": params["subscription"], SUBSCRIPTION: found, "refund": refund}

    async def succeeded(
        self, session: SystemSession, command: StripeCommandRow, result: dict[str, Any]
    ) -> None:
        """Both mirrors are what was fetched, and the money that went back is in the ledger once."""
        fetched_at = command.first_sent_at or command.created_at
        if (kept := result.get("kept")) is not None:
            await apply_subscription(session, command.organization_id, kept, fetched_at)
        await apply_subscription(session, command.organization_id, result[SUBSCRIPTION], fetched_at)
        refund = result.get("refund")
        if refund is None:
            return
        is_new = await ledger.record(
            session,
            command.organization_id,
            source="subscription",
            account="platform",
            entry_type="refund",
            amount=-refund["amount"],
            currency=refund["currency"].upper(),
            source_ref=refund["id"],
            recorded_at=moment(refund["created"]) or clock.now(),
            stripe_payment_intent_id=id_of(refund.get("payment_intent")),
        )
        row = await SubscriptionRepository(session).by_stripe_id(
            command.organization_id, params_of(command, "subscription")
        )
        if is_new and row is not None:
            facts = asdict(await facts_of(session, row))
            event = DuplicateRefunded(**facts, amount=refund["amount"], currency=refund["currency"].upper())
            await emit(session, event, organization_id=command.organization_id)


def params_of(command: StripeCommandRow, name: str) -> str:
    """A text among a command's parameters."""
    return str(command.params[name])


async def end_subscription(
    client: StripeClient, subscription_id: str, key: str, details: dict[str, Any] | None = None
) -> None:
    """Cancel at once; one that has ended stays as it is."""
    try:
        params = {"cancellation_details": details} if details else {}
        await client.call("subscriptions.cancel", subscription_id, params=params, key=key)
    except (StripeMissing, StripeRefused):
        found = await client.call("subscriptions.retrieve", subscription_id)
        if found["status"] not in ENDED:
            raise


async def _schedule_of(client: StripeClient, subscription_id: str) -> str | None:
    found = await client.call("subscriptions.retrieve", subscription_id)
    return id_of(found.get("schedule"))


async def release_schedule(client: StripeClient, schedule_id: str | None) -> None:
    """Let a subscription go on without its schedule; one that is over needs nothing."""
    if schedule_id is None:
        return
    try:
        await client.call("subscription_schedules.release", schedule_id)
    except StripeRefused:
        schedule = await client.call("subscription_schedules.retrieve", schedule_id)
        if schedule["status"] in {"active", "not_started"}:
            raise


async def _refund(
    client: StripeClient, invoice_id: str | None, subscription_id: str
) -> dict[str, Any] | None:
    """Give back what was paid for an invoice; the refund that there is, if there is one already."""
    if invoice_id is None:
        return None
    invoice = await client.call("invoices.retrieve", invoice_id, params={"expand": ["payments"]})
    intent = intent_of(invoice)
    if intent is None or invoice["status"] != "paid":
        return None
    async for refund in client.pages("refunds.list", params={"payment_intent": intent}):
        return refund
    return await client.call(
        "refunds.create",
        params={
            "payment_intent": intent,
            "reason": "duplicate",
            "metadata": {"subscription_id": subscription_id},
        },
        key=f"duplicate-{subscription_id}",
    )
