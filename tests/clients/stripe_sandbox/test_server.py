"""The sandbox's wire format: keys, pages, expansions and refusals as Stripe has them."""

import asyncio
import json
from pathlib import Path

import pytest

from app.clients.stripe import StripeMissing, StripeRefused, sandbox_client
from app.clients.stripe.sandbox.sandbox import Sandbox
from app.clients.stripe.sandbox.server import Request
from app.clients.stripe.sandbox.store import FileStore
from tests.support.stripe_sandbox import StripeSandbox

KEY = {"authorization": "Bearer sk_test_x"}


async def test_key_when_it_is_used_again(stripe_sandbox: StripeSandbox) -> None:
    client = stripe_sandbox.client
    first = await client.call("customers.create", params={"email": "a@b.example"}, key="k1")
    assert await client.call("customers.create", params={"email": "a@b.example"}, key="k1") == first
    with pytest.raises(StripeRefused) as refusal:
        await client.call("customers.create", params={"email": "c@d.example"}, key="k1")
    assert refusal.value.code == "idempotency_error"
    again = Request("POST", "/v1/customers", "email=a%40b.example", {**KEY, "idempotency-key": "k1"})
    assert (await stripe_sandbox.sandbox.request(again)).headers["idempotent-replayed"] == "true"
    assert len((await stripe_sandbox.call("customers.list"))["data"]) == 1


async def test_pages_when_there_are_several(stripe_sandbox: StripeSandbox) -> None:
    made = [(await stripe_sandbox.call("customers.create", name=str(n)))["id"] for n in range(7)]
    found = [item["id"] async for item in stripe_sandbox.client.pages("customers.list", params={"limit": 3})]
    assert found == made[::-1]
    before = await stripe_sandbox.call("customers.list", limit=2, ending_before=made[2])
    assert [item["id"] for item in before["data"]] == [made[4], made[3]]
    assert before["has_more"] is True


async def test_requests_when_the_address_is_unknown(stripe_sandbox: StripeSandbox) -> None:
    with pytest.raises(StripeRefused, match="Unrecognized request URL"):
        await stripe_sandbox.call("payouts.list")


@pytest.mark.parametrize(
    "form",
    [
        "email[a][b]=1&email=2",
        "=x",
        "a" * 300 + "[b]=1",
        "[[]]=1",
        "metadata[a][b]=1",
        "metadata=x",
        "balance=1e9",
        "email=" + "x" * 600,
        "x" + "[y]" * 40 + "=1",
        "%00=%ff&email=%ed%a0%80",
        "expand[]=nothing",
        "expand=customer",
    ],
)
async def test_forms_when_they_make_no_sense(stripe_sandbox: StripeSandbox, form: str) -> None:
    answer = await stripe_sandbox.sandbox.request(Request("POST", "/v1/customers", form, KEY))
    assert answer.status == 400
    assert json.loads(answer.body)["error"]["type"] == "invalid_request_error"
    assert await stripe_sandbox.events() == []


async def test_requests_when_there_is_no_key(stripe_sandbox: StripeSandbox) -> None:
    assert (await stripe_sandbox.sandbox.request(Request("GET", "/v1/account"))).status == 401


async def test_objects_when_they_are_missing(stripe_sandbox: StripeSandbox) -> None:
    with pytest.raises(StripeMissing) as refusal:
        await stripe_sandbox.call("customers.retrieve", "cus_sbxNobody")
    assert (refusal.value.status, refusal.value.param) == (404, "id")


async def test_document_when_processes_share_it(tmp_path: Path) -> None:
    """Two sandboxes over one file see each other's objects, and no change is lost."""
    path = tmp_path / "deep" / "stripe-sandbox.json"
    sandboxes = [Sandbox(FileStore(path), "http://x") for _ in range(2)]
    secrets = [await sandbox.webhook_secret() for sandbox in sandboxes]
    assert secrets[0] == secrets[1]
    clients = [sandbox_client(sandbox) for sandbox in sandboxes]
    await asyncio.gather(
        *(client.call("customers.create", params={"name": "x"}) for client in clients for _ in range(10))
    )
    found = await clients[0].call("customers.list", params={"limit": 100})
    assert len(found["data"]) == 20
    assert path.stat().st_mode & 0o077 == 0
    assert sorted(item.name for item in path.parent.iterdir()) == [
        "stripe-sandbox.json",
        "stripe-sandbox.lock",
    ]
