"""Buying a plan: one page, one subscription, whatever the order and number of deliveries."""

import pytest
from httpx import AsyncClient

from app.core.database import Database
from tests.support.billing import Shop
from tests.support.personas import Persona
from tests.support.stripe_sandbox import StripeSandbox

pytestmark = pytest.mark.commits


@pytest.fixture
async def shop(client: AsyncClient, database: Database, stripe_sandbox: StripeSandbox) -> Shop:
    made = Shop(client, database, stripe_sandbox)
    await made.open()
    return made


async def test_plan_when_it_is_bought(shop: Shop, alice: Persona) -> None:
    subscription = await shop.buy(alice)
    assert (subscription.plan_code, subscription.status) == ("premium", "active")
    shown = (await shop.client.get("/api/billing/subscription", headers=alice.headers)).json()
    assert (shown["plan"], shown["status"], shown["access"]) == ("premium", "active", "full")
    assert (shown["amount"], shown["currency"], shown["interval"]) == (4700, "EUR", "month")
