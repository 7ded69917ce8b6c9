"""Whatever happens to a payment, in whatever order, the sandbox's sums stay those of Stripe."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from app.clients.stripe import StripeError, sandbox_client
from app.clients.stripe.sandbox.disputes import close_dispute, open_dispute
from app.clients.stripe.sandbox.errors import SandboxError
from app.clients.stripe.sandbox.refunds import fail_refund
from app.clients.stripe.sandbox.sandbox import Sandbox
from app.clients.stripe.sandbox.state import State
from app.clients.stripe.sandbox.store import MemoryStore
from tests.support.stripe_sandbox import StripeSandbox

AMOUNT = 10_000
ACTS = st.one_of(
    st.tuples(st.just("refund"), st.integers(-1, AMOUNT + 1)),
    st.tuples(st.just("capture"), st.integers(-1, AMOUNT + 1)),
    st.tuples(st.sampled_from(["cancel", "fail", "dispute", "win", "lose"]), st.just(0)),
)


async def act(sandbox: StripeSandbox, intent: str, name: str, amount: int) -> None:
    """Do one thing to a payment; whether it is possible is the sandbox's to say."""
    match name:
        case "refund":
            await sandbox.call("refunds.create", payment_intent=intent, amount=amount)
        case "capture":
            await sandbox.call("payment_intents.capture", intent, amount_to_capture=amount)
        case "cancel":
            await sandbox.call("payment_intents.cancel", intent)
        case _:
            await sandbox.sandbox.change(lambda state: happen(state, name))


def happen(state: State, name: str) -> None:
    """What others do: the bank and the buyer."""
    if name == "fail":
        fail_refund(state, next((item["id"] for item in state.all("refund")), "re_none"))
    elif name == "dispute":
        open_dispute(state, next((item["id"] for item in state.all("charge")), "ch_none"))
    else:
        identifier = next((item["id"] for item in state.all("dispute")), "du_none")
        close_dispute(state, identifier, "won" if name == "win" else "lost")


def check(state: State) -> None:
    for charge in state.all("charge"):
        refunds = [item for item in state.all("refund") if item["charge"] == charge["id"]]
        given_back = sum(item["amount"] for item in refunds if item["status"] == "succeeded")
        assert 0 <= charge["amount_captured"] <= charge["amount"]
        assert 0 <= charge["amount_refunded"] <= charge["amount"]
        assert charge["refunded"] is (charge["amount_refunded"] == charge["amount"])
        if charge["captured"]:
            uncaptured = charge["amount"] - charge["amount_captured"]
            assert charge["amount_refunded"] == given_back + uncaptured
        moved = sum(item["amount"] for item in state.all("balance_transaction"))
        lost = sum(
            item["amount"] for item in state.all("dispute") if item["status"] in {"lost", "needs_response"}
        )
        assert moved == charge["amount_captured"] - given_back - lost
    for intent in state.all("payment_intent"):
        assert intent["amount_received"] in (0, *(c["amount_captured"] for c in state.all("charge")))
        assert (intent["status"] == "requires_capture") is (intent["amount_capturable"] > 0)


async def story(method: str, acts: list[tuple[str, int]]) -> None:
    sandbox = Sandbox(MemoryStore(), "http://x")
    stripe = StripeSandbox(sandbox, sandbox_client(sandbox))
    intent = await stripe.call(
        "payment_intents.create",
        amount=AMOUNT,
        currency="eur",
        confirm=True,
        payment_method="pm_card_visa",
        capture_method=method,
    )
    for name, amount in acts:
        try:
            await act(stripe, intent["id"], name, amount)
        except (StripeError, SandboxError):
            continue
        finally:
            await sandbox.change(check)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["automatic", "manual"]), st.lists(ACTS, max_size=8))
def test_sums_when_anything_happens(method: str, acts: list[tuple[str, int]]) -> None:
    asyncio.run(story(method, acts))
