"""Owns the payer's tax number at Stripe, where it is an object of its own besides the customer."""

import re
from contextlib import suppress
from typing import Any

from app.clients.stripe import StripeClient, StripeMissing, StripeRefused
from app.services.stripe_webhooks.refusals import TAX_NUMBER

ABOUT_THE_NUMBER = frozenset({"type", "value"})
"""The parameters of a tax number: what is refused of them is what the payer has given."""


async def write_tax_id(client: StripeClient, customer: str, wanted: dict[str, str] | None, key: str) -> None:
    """Let `wanted` (`type`, `value`) be the customer's one tax number, None for none; it may be done twice.

    The former one goes last, so that a number which Stripe refuses (`tax_id_invalid`) leaves it in place.
    """
    kept, others = await _sorted_out(client, customer, wanted)
    if wanted is not None and not kept:
        try:
            await client.call("customers.tax_ids.create", customer, params=wanted, key=f"{key}:tax_id")
        except StripeRefused as error:
            if error.param in ABOUT_THE_NUMBER:
                error.code = TAX_NUMBER
            raise
    for identifier in others:
        with suppress(StripeMissing):
            await client.call("customers.tax_ids.delete", customer, identifier)


async def has_tax_id(client: StripeClient, customer: str, wanted: dict[str, str] | None) -> bool:
    """Whether that is the customer's one tax number already."""
    kept, others = await _sorted_out(client, customer, wanted)
    return not others and (wanted is None or bool(kept))


async def _sorted_out(
    client: StripeClient, customer: str, wanted: dict[str, str] | None
) -> tuple[list[str], list[str]]:
    """The ids of the customer's tax numbers: the one that is wanted, and all others."""
    kept: list[str] = []
    others: list[str] = []
    async for found in client.pages("customers.tax_ids.list", customer, params={"limit": 100}):
        is_wanted = wanted is not None and not kept and _plain(found) == _plain(wanted)
        (kept if is_wanted else others).append(found["id"])
    return kept, others


def _plain(tax_id: dict[str, Any]) -> tuple[str, str]:
    """A number without what may be written into it for the eye."""
    return str(tax_id["type"]), re.sub(r"[\s./-]", "", str(tax_id["value"])).upper()
