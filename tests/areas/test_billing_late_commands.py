"""Commands whose answer was lost and that are sent again when Stripe has forgotten their keys: one effect."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select, text, update

from app.clients.stripe import StripeUnavailable
from app.core.database import Database, SystemSession
from app.models.billing import BillingCheckout, PaymentMethod, Plan
from app.models.stripe_webhooks import StripeCommand
from app.services.billing.paying.cancelling import may_purge
from app.services.stripe_webhooks import commands
from app.services.stripe_webhooks.areas import load_areas
from app.services.stripe_webhooks.executing import execute
from tests.support.billing import Shop
from tests.support.personas import Persona
from tests.support.stripe_sandbox import StripeSandbox

BILLING = "/api/billing"


class Desk(Shop):
    """A shop and its one payer, whose calls to Stripe can lose their answers."""

    payer: Persona

    async def ask(self, method: str, path: str, body: Any = None) -> Response:
        return await self.client.request(method, f"{BILLING}{path}", json=body, headers=self.payer.headers)

    async def lose_answer(self, operation: str, act: Callable[[], Awaitable[Any]]) -> None:
        """Act, send what waits, and lose what Stripe answers to one operation; then it answers no more."""
        answer = self.stripe.client.call
        lost: list[str] = []

        async def call(asked: str, *ids: str, **options: Any) -> dict[str, Any]:
            made = {} if lost else await answer(asked, *ids, **options)
            if lost or asked == operation:
                lost.append(asked)
                raise StripeUnavailable("the answer is lost")
            return made

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.stripe.client, "call", call)
            await act()
            await self.send()
        assert lost[:1] == [operation]

    async def let_a_day_pass(self, kind: str) -> None:
        """Let the key of the one open command be forgotten; the command was sent before."""
        await self.stripe.sandbox.change(lambda state: state.document["idempotency"].clear())
        async with self.database.transaction() as session:
            found = await session.scalars(
                select(StripeCommand.kind).where(StripeCommand.status.in_(("pending", "sent")))
            )
            assert found.all() == [kind]
            await session.execute(
                update(StripeCommand)
                .values(first_sent_at=text("now() - interval '24 hours'"), lease_until=None)
                .where(StripeCommand.status == "sent")
            )

    async def finish(self, kind: str) -> None:
        """Send the command again, and let everything that follows happen."""
        async with self.database.system() as session:
            row = (
                await session.scalars(
                    select(StripeCommand).where(StripeCommand.kind == kind, StripeCommand.status == "sent")
                )
            ).one()
        done = await execute(self.database, row.organization_id, row.id)
        assert done is not None
        assert (done.status, done.error) == ("succeeded", None)
        await self.settle()

    async def events(self, *types: str) -> int:
        return len(await self.stripe.events(*types, pending=False))

    async def count(self, operation: str, **params: Any) -> int:
        return len([item async for item in self.stripe.client.pages(operation, params=params)])

    async def the_subscription(self) -> dict[str, Any]:
        (found,) = (await self.stripe.call("subscriptions.list", status="all"))["data"]
        return dict(found)

    async def method(self, card: str = "tok_mastercard") -> str:
        """One more card of the payer; its id with us."""
        made = await self.stripe.call("payment_methods.create", type="card", card={"token": card})
        answer = await self.ask("POST", "/payment-methods", {"payment_method_id": made["id"]})
        assert answer.status_code == 201, answer.text
        await self.settle()
        return str(answer.json()["id"])


@pytest.fixture
async def desk(
    client: AsyncClient, database: Database, stripe_sandbox: StripeSandbox, alice: Persona
) -> Desk:
    made = Desk(client, database, stripe_sandbox)
    made.payer = alice
    await made.open()
    return made


TESTED: set[str] = set()


Test = TypeVar("Test", bound=Callable[..., Any])


def of(*kinds: str) -> Callable[[Test], Test]:
    """Mark a test as that of these kinds."""
    TESTED.update(kinds)
    return lambda test: test


@of("checkout_session.create_subscription")
@pytest.mark.parametrize("lost", ["customers.create", "checkout.sessions.create"])
async def test_checkout_when_it_is_late(desk: Desk, db: SystemSession, lost: str) -> None:
    kind = "checkout_session.create_subscription"
    await desk.lose_answer(lost, lambda: desk.checkout(desk.payer))
    await desk.let_a_day_pass(kind)
    await desk.finish(kind)
    assert (await desk.count("customers.list"), await desk.count("checkout.sessions.list")) == (1, 1)
    (page,) = (await desk.stripe.call("checkout.sessions.list"))["data"]
    row = (await db.scalars(select(BillingCheckout))).one()
    assert (row.status, row.stripe_session_id, row.url) == ("open", page["id"], page["url"])


@of("checkout_session.create_subscription")
async def test_checkout_when_its_page_is_over(desk: Desk, db: SystemSession) -> None:
    await desk.lose_answer("checkout.sessions.create", lambda: desk.checkout(desk.payer))
    (page,) = (await desk.stripe.call("checkout.sessions.list"))["data"]
    await desk.stripe.call("checkout.sessions.expire", page["id"])
    await desk.let_a_day_pass("checkout_session.create_subscription")
    await desk.finish("checkout_session.create_subscription")
    assert await db.scalar(select(BillingCheckout.status)) == "expired"
    assert (await desk.checkout(desk.payer)).status_code == 201


@of("billing_checkout.expire")
async def test_expiry_when_it_is_late(desk: Desk) -> None:
    await desk.checkout(desk.payer)
    await desk.lose_answer("checkout.sessions.expire", lambda: desk.checkout(desk.payer, "business"))
    await desk.let_a_day_pass("billing_checkout.expire")
    await desk.finish("billing_checkout.expire")
    assert await desk.events("checkout.session.expired") == 1


@of("setup_intent.create")
@pytest.mark.parametrize("lost", ["customers.create", "setup_intents.create"])
async def test_setup_when_it_is_late(desk: Desk, lost: str) -> None:
    await desk.lose_answer(lost, lambda: desk.ask("POST", "/payment-methods"))
    await desk.let_a_day_pass("setup_intent.create")
    await desk.finish("setup_intent.create")
    assert (await desk.count("customers.list"), await desk.count("setup_intents.list")) == (1, 1)


@of("portal_session.create")
async def test_portal_when_it_is_late(desk: Desk) -> None:
    await desk.lose_answer(
        "billing_portal.sessions.create", lambda: desk.ask("POST", "/portal", {"return_path": "/billing"})
    )
    await desk.let_a_day_pass("portal_session.create")
    await desk.finish("portal_session.create")
    assert await desk.count("customers.list") == 1


@of("payment_method.attach")
async def test_attaching_when_it_is_late(desk: Desk, db: SystemSession) -> None:
    made = await desk.stripe.call("payment_methods.create", type="card", card={"token": "tok_visa"})
    body = {"payment_method_id": made["id"]}
    await desk.lose_answer("payment_methods.attach", lambda: desk.ask("POST", "/payment-methods", body))
    await desk.let_a_day_pass("payment_method.attach")
    await desk.finish("payment_method.attach")
    assert await desk.events("payment_method.attached") == 1
    assert (await db.scalars(select(PaymentMethod.stripe_payment_method_id))).all() == [made["id"]]


@of("payment_method.detach", "customer.set_default_payment_method")
async def test_detaching_when_it_is_late(desk: Desk) -> None:
    await desk.method("tok_visa")
    second = await desk.method()
    await desk.lose_answer("payment_methods.detach", lambda: desk.ask("DELETE", f"/payment-methods/{second}"))
    await desk.let_a_day_pass("payment_method.detach")
    await desk.finish("payment_method.detach")
    assert await desk.events("payment_method.detached") == 1


@of("customer.set_default_payment_method")
async def test_default_when_it_is_late(desk: Desk) -> None:
    await desk.method("tok_visa")
    second = await desk.method()
    kind = "customer.set_default_payment_method"
    await desk.lose_answer(
        "customers.update", lambda: desk.ask("PATCH", f"/payment-methods/{second}", {"is_default": True})
    )
    before = await desk.events("customer.updated")
    await desk.let_a_day_pass(kind)
    await desk.finish(kind)
    assert await desk.events("customer.updated") == before
    shown = (await desk.ask("GET", "/payment-methods")).json()["items"]
    assert [item["id"] for item in shown if item["is_default"]] == [second]


@of("customer.update")
async def test_details_when_they_are_late(desk: Desk) -> None:
    await desk.checkout(desk.payer)
    await desk.settle()
    await desk.lose_answer("customers.update", lambda: desk.ask("PUT", "/details", {"name": "Maison Alice"}))
    before = await desk.events("customer.updated")
    await desk.let_a_day_pass("customer.update")
    await desk.finish("customer.update")
    assert await desk.events("customer.updated") == before
    assert (await desk.ask("GET", "/details")).json()["is_synced"]


async def test_tax_number_when_it_is_late(desk: Desk) -> None:
    await desk.checkout(desk.payer)
    await desk.settle()
    (customer,) = (await desk.stripe.call("customers.list"))["data"]
    for number in ("FR40303265045", "DE136695976"):
        body = {"tax_id_type": "eu_vat", "tax_id": number}
        # The answer that is lost is that of the number, so that what is to be removed is not.
        await desk.lose_answer("customers.tax_ids.create", partial(desk.ask, "PUT", "/details", body))
        await desk.let_a_day_pass("customer.update")
        await desk.finish("customer.update")
        found = (await desk.stripe.call("customers.tax_ids.list", customer["id"]))["data"]
        assert [item["value"] for item in found] == [number]
    assert await desk.events("customer.tax_id.created") == 2
    assert (await desk.ask("GET", "/details")).json()["is_synced"]


@of("customer.delete")
async def test_deletion_when_it_is_late(desk: Desk) -> None:
    await desk.checkout(desk.payer)
    await desk.settle()

    async def purge() -> None:
        async with desk.database.transaction() as session:
            assert not await may_purge(session, desk.payer.organization_id)

    await desk.lose_answer("customers.delete", purge)
    await desk.let_a_day_pass("customer.delete")
    await desk.finish("customer.delete")
    assert await desk.events("customer.deleted") == 1
    async with desk.database.transaction() as session:
        assert await may_purge(session, desk.payer.organization_id)


async def change(desk: Desk, plan: str, interval: str = "month") -> Response:
    body = {"plan": plan, "interval": interval}
    preview = await desk.ask("POST", "/subscription/preview", body)
    token = preview.json().get("preview_token")
    return await desk.ask("PUT", "/subscription", {**body, "preview_token": token})


@of("subscription.update")
async def test_upgrade_when_it_is_late(desk: Desk) -> None:
    await desk.buy(desk.payer)
    await desk.lose_answer("subscriptions.update", lambda: change(desk, "business"))
    invoices = await desk.count("invoices.list")
    await desk.let_a_day_pass("subscription.update")
    await desk.finish("subscription.update")
    assert await desk.count("invoices.list") == invoices == 2
    assert (await desk.subscription(desk.payer)).plan_code == "business"


@of("schedule.create", "schedule.release")
@pytest.mark.parametrize("lost", ["subscription_schedules.create", "subscription_schedules.update"])
async def test_downgrade_when_it_is_late(desk: Desk, lost: str) -> None:
    await desk.buy(desk.payer, "business")
    await desk.lose_answer(lost, lambda: change(desk, "premium"))
    await desk.let_a_day_pass("schedule.create")
    await desk.finish("schedule.create")
    assert await desk.events("subscription_schedule.created") == 1
    assert (await desk.ask("GET", "/subscription")).json()["pending_change"]["plan"] == "premium"
    await desk.lose_answer(
        "subscription_schedules.release", lambda: desk.ask("DELETE", "/subscription/pending-change")
    )
    await desk.let_a_day_pass("schedule.release")
    await desk.finish("schedule.release")
    assert await desk.events("subscription_schedule.released") == 1
    assert (await desk.ask("GET", "/subscription")).json()["pending_change"] is None


@of("subscription.cancel_at_period_end", "subscription.resume")
async def test_cancellation_when_it_is_late_and_so_is_its_end(desk: Desk) -> None:
    await desk.buy(desk.payer)
    for path, kind, ends in (
        ("/subscription/cancel", "subscription.cancel_at_period_end", True),
        ("/subscription/resume", "subscription.resume", False),
    ):
        body = {"at": "period_end"} if ends else None
        await desk.lose_answer("subscriptions.update", partial(desk.ask, "POST", path, body))
        before = await desk.events("customer.subscription.updated")
        await desk.let_a_day_pass(kind)
        await desk.finish(kind)
        assert await desk.events("customer.subscription.updated") == before
        assert (await desk.the_subscription())["cancel_at_period_end"] is ends
        assert (await desk.subscription(desk.payer)).cancel_at_period_end is ends


@of("subscription.cancel")
async def test_end_when_it_is_late(desk: Desk) -> None:
    await desk.buy(desk.payer)
    await desk.lose_answer(
        "subscriptions.cancel", lambda: desk.ask("POST", "/subscription/cancel", {"at": "now"})
    )
    await desk.let_a_day_pass("subscription.cancel")
    await desk.finish("subscription.cancel")
    assert await desk.events("customer.subscription.deleted") == 1
    assert (await desk.subscription(desk.payer)).status == "canceled"


@of("subscription.end_trial")
async def test_end_of_a_trial_when_it_is_late(desk: Desk, db: SystemSession) -> None:
    await db.execute(update(Plan).where(Plan.code == "premium").values(trial_days=14))
    await db.commit()
    row = await desk.buy(desk.payer)

    async def end() -> None:
        async with desk.database.transaction() as session:
            await commands.queue_command(
                session,
                desk.payer.organization_id,
                "subscription.end_trial",
                subject_type="subscription",
                subject_id=row.id,
                params={"subscription": row.stripe_subscription_id},
            )

    await desk.lose_answer("subscriptions.update", end)
    invoices = await desk.count("invoices.list")
    await desk.let_a_day_pass("subscription.end_trial")
    await desk.finish("subscription.end_trial")
    assert await desk.count("invoices.list") == invoices
    assert (await desk.subscription(desk.payer)).status == "active"


@of("subscription.cancel_duplicate")
@pytest.mark.parametrize("lost", ["subscriptions.cancel", "refunds.create"])
async def test_second_subscription_when_its_refund_is_late(desk: Desk, lost: str) -> None:
    first = (await desk.checkout(desk.payer)).json()["session_id"]
    second = (await desk.checkout(desk.payer, "business")).json()["session_id"]
    await desk.pay(first)
    await desk.settle()
    # Both pages were paid at the same moment, before either could be closed.
    await desk.stripe.sandbox.change(lambda state: state.objects[second].update(status="open"))
    await desk.pay(second)

    async def hear() -> None:
        await desk.stripe.deliver(desk.client)
        await desk.process()

    kind = "subscription.cancel_duplicate"
    await desk.lose_answer(lost, hear)
    await desk.let_a_day_pass(kind)
    await desk.finish(kind)
    assert await desk.count("refunds.list") == 1
    assert await desk.events("customer.subscription.deleted") == 1
    assert await desk.count("subscriptions.list") == 1


def test_kinds_when_they_are_compared_with_what_is_tested() -> None:
    load_areas()
    kinds = {kind for kind, call in commands._COMMANDS.items() if ".billing." in type(call).__module__}
    assert kinds == TESTED
