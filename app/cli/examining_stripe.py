"""What `doctor` looks at about Stripe: who is asked, whether it answers, and what the sandbox has left."""

import asyncio

from app.cli.finding import Finding
from app.clients.stripe import SANDBOX_MARK, StripeError, StripeMisconfigured, close_client, stripe_client
from app.core.config import LIVE_KEYS, Settings
from app.core.database import SystemSession
from app.repositories.stripe_webhooks.sandbox_ids import SandboxIdRepository

SECONDS = 8.0
EXAMPLES = 3
"""Ids of each kind that are shown."""

END_THEM = (
    "An organisation cannot subscribe while such a subscription lives here. Send POST"
    " /api/billing/reconciliation/run, then POST /api/billing/reconciliation/{difference_id}/repair for each"
    " `status_drift`: it ends what Stripe does not know."
)
HARMLESS = (
    "They count as absent: customers and methods are made anew, prices are found by their keys. Invoices and"
    " payments stay as records of the sandbox; use a new database if they disturb."
)


async def stripe(settings: Settings) -> Finding:
    """Who is asked, and whether Stripe accepts the key."""
    if settings.stripe_secret_key is None:
        if settings.has_stripe_sandbox:
            return Finding("stripe", "off", "no key; the sandbox plays it (/sandbox/stripe/)")
        return Finding(
            "stripe", "warn", "no key: paying answers 503", "Set STRIPE_SECRET_KEY to take payments."
        )
    mode = "live" if settings.stripe_secret_key.startswith(LIVE_KEYS) else "test"
    try:
        async with asyncio.timeout(SECONDS):
            await stripe_client().call("prices.list", params={"limit": 1})
    except StripeMisconfigured:
        advice = "Correct STRIPE_SECRET_KEY; a restricted key has to be allowed to read prices."
        return Finding("stripe", "fail", f"Stripe does not accept the {mode} key", advice)
    except (StripeError, TimeoutError) as error:
        advice = "Let this machine reach api.stripe.com; commands wait until then."
        return Finding("stripe", "fail", f"does not answer: {type(error).__name__}", advice)
    finally:
        await close_client()
    if not settings.webhook_secrets():
        advice = "Let an endpoint at Stripe send to /api/stripe/webhook and set STRIPE_WEBHOOK_SECRETS."
        return Finding("stripe", "fail", f"answers ({mode}), but every webhook of it is refused", advice)
    return Finding("stripe", "ok", f"answers ({mode} mode)")


async def left_by_sandbox(session: SystemSession, settings: Settings) -> Finding | None:
    """Rows with ids of the sandbox, in a database that is used with a real key; None without a key."""
    if settings.stripe_secret_key is None:
        return None
    rows = SandboxIdRepository(session)
    found = await rows.found(SANDBOX_MARK, EXAMPLES)
    if not found:
        return Finding("sandbox ids", "ok", "nothing is left of the sandbox")
    told = [f"{kind.rows} {name} ({', '.join(kind.examples)})" for name, kind in found.items()]
    text = f"left of the sandbox: {'; '.join(told)}"
    living = await rows.living(SANDBOX_MARK)
    return Finding("sandbox ids", "fail" if living else "warn", text, END_THEM if living else HARMLESS)
