"""What `doctor` says of Stripe, and what a worker has compared when it starts."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select, text

from app.cli import examining_stripe
from app.clients.stripe import StripeMisconfigured, StripeUnavailable, use_client
from app.core.config import Settings, get_settings
from app.core.database import Database, SystemSession
from app.jobs.starting import AT_START, ask_at_start
from app.models.stripe_webhooks import StripeDifference
from app.services.stripe_webhooks.reconciling import reconcile, repair_difference
from tests.factories.billing import make_checkout, make_payment_method
from tests.support.billing import Shop
from tests.support.personas import Persona
from tests.support.stripe_sandbox import StripeSandbox


def settings(**changes: Any) -> Settings:
    return get_settings().model_copy(update=changes)


class Answering:
    """Stripe as `doctor` meets it; it says what it was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[str] = []

    async def call(self, operation: str, **_: Any) -> dict[str, Any]:
        self.asked.append(operation)
        if self.error is not None:
            raise self.error
        return {}

    async def close(self) -> None:
        self.asked.append("close")


@pytest.fixture
async def before() -> AsyncIterator[None]:
    known = use_client(None)
    yield
    use_client(known)


@pytest.mark.parametrize(
    ("error", "state", "words"),
    [
        (None, "ok", "answers (test mode)"),
        (StripeMisconfigured("AuthenticationError"), "fail", "does not accept the test key"),
        (StripeUnavailable("no answer"), "fail", "does not answer"),
    ],
)
@pytest.mark.usefixtures("before")
async def test_key_when_stripe_is_asked(error: Exception | None, state: str, words: str) -> None:
    stripe = Answering(error)
    use_client(stripe)  # type: ignore[arg-type]  # it answers what is asked of it here
    asked = settings(stripe_secret_key="sk_test_1", stripe_webhook_secret="whsec_1")
    found = await examining_stripe.stripe(asked)
    assert (found.state, words in found.text, bool(found.advice)) == (state, True, state == "fail")
    assert stripe.asked == ["prices.list", "close"]


@pytest.mark.usefixtures("before")
async def test_secret_when_there_is_none_for_webhooks() -> None:
    use_client(Answering())  # type: ignore[arg-type]  # as above
    found = await examining_stripe.stripe(settings(stripe_secret_key="sk_live_1"))
    assert (found.state, "every webhook" in found.text) == ("fail", True)


async def test_key_when_there_is_none() -> None:
    assert (await examining_stripe.stripe(settings())).state == "off"
    production = settings(environment="production")
    assert (await examining_stripe.stripe(production)).state == "warn"


async def test_ids_when_the_sandbox_has_left_some(
    database: Database, db: SystemSession, alice: Persona, client: Any, stripe_sandbox: StripeSandbox
) -> None:
    real = settings(stripe_secret_key="sk_test_1")
    assert await examining_stripe.left_by_sandbox(db, settings()) is None
    clean = await examining_stripe.left_by_sandbox(db, real)
    assert clean is not None
    assert clean.state == "ok"
    method = await make_payment_method(db, owner=alice)
    await make_checkout(db, owner=alice)
    found = await examining_stripe.left_by_sandbox(db, real)
    assert found is not None
    assert (found.state, found.advice) == ("warn", examining_stripe.HARMLESS)
    assert f"1 payment methods ({method.stripe_payment_method_id})" in found.text
    assert "1 checkouts (cs_test_sbx" in found.text
    shop = Shop(client, database, stripe_sandbox)
    await shop.open()
    await shop.buy(alice)
    found = await examining_stripe.left_by_sandbox(db, real)
    assert found is not None
    assert (found.state, found.advice) == ("fail", examining_stripe.END_THEM)
    assert "1 subscriptions (sub_sbx" in found.text


async def test_prices_when_workers_start_are_compared_once(database: Database, db: SystemSession) -> None:
    for _ in range(3):
        await ask_at_start(database)
    found = await db.scalars(text("SELECT task_name FROM procrastinate_jobs"))
    assert tuple(found) == AT_START


async def test_subscription_when_stripe_never_knew_it_is_ended_by_a_repair(
    database: Database, db: SystemSession, alice: Persona, client: Any, stripe_sandbox: StripeSandbox
) -> None:
    shop = Shop(client, database, stripe_sandbox)
    await shop.open()
    bought = await shop.buy(alice)
    # Another Stripe than that which made it, as after a real key was set.
    await stripe_sandbox.sandbox.change(lambda state: state.objects.pop(bought.stripe_subscription_id))
    await reconcile(database)
    statement = select(StripeDifference).where(StripeDifference.stripe_id == bought.stripe_subscription_id)
    found = (await db.scalars(statement)).one()
    assert (found.kind, found.status) == ("status_drift", "open")
    await repair_difference(database, found.id, "tests")
    assert (await shop.subscription(alice)).status == "canceled"
    await db.refresh(found)
    assert found.status == "repaired"
    assert (await shop.checkout(alice)).status_code == 201
