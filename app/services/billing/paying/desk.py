"""Owns what every service of billing asks first: whose it is, and where a payer comes back to."""

from typing import Any
from uuid import UUID

from app.core.access import Principal
from app.core.config import get_settings
from app.core.errors import Conflict, FieldError, Invalid

RAW_KEYS = frozenset({"number", "iban", "cvc", "cvv", "card", "account_number"})
"""Names under which somebody would send what belongs to the payment provider alone."""


def organization_of(principal: Principal) -> UUID:
    """The organisation that the caller's permission is in."""
    assert principal.organization_id is not None  # noqa: S101 - the marker asks for a permission
    return principal.organization_id


def return_urls(**paths: str) -> dict[str, str]:
    """The addresses in the application that these paths stand for. 422 `return_path_invalid`."""
    faults = [
        FieldError(f"/{name}", "return_path_invalid", "A path begins with one slash.")
        for name, path in paths.items()
        if path[0] != "/" or path[1:2] == "/" or "\\" in path or not path.isprintable()
    ]
    if faults:
        raise Invalid("return_path_invalid", "Return paths stay within the application.", errors=faults)
    return {name: f"{get_settings().app_url}{path}" for name, path in paths.items()}


def refuse_raw_payment_data(body: Any) -> None:
    """422 `raw_payment_data_refused` for a body with a card number or the like, however deep it stands."""
    waiting = [body]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if not RAW_KEYS.isdisjoint(item):
                raise Invalid(
                    "raw_payment_data_refused",
                    "Cards and accounts are entered at the payment provider; never send their numbers here.",
                )
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def no_subscription() -> Conflict:
    """409 where there is nothing that could be changed."""
    return Conflict("no_subscription", "There is no subscription; choose a plan with a checkout.")
