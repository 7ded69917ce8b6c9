"""Refusals of a body that several services of orders share."""

from collections.abc import Sequence

from app.core.currencies import is_supported
from app.core.errors import FieldError, Invalid


def fault(pointer: str, code: str, detail: str) -> Invalid:
    """422 with one fault, whose code is that of the answer too."""
    return Invalid(code, detail, errors=[FieldError(pointer, code, detail)])


def refuse_faults(faults: Sequence[FieldError]) -> None:
    """Raise 422 `validation_error` when there are any: the fields are fine, but they do not fit together."""
    if faults:
        raise Invalid("validation_error", "Some of what was sent is not valid; see `errors`.", errors=faults)


def refuse_currency(currency: str | None, pointer: str = "/currency") -> None:
    """Raise 422 `currency_not_supported` for a currency outside the closed list."""
    if currency is not None and not is_supported(currency):
        raise fault(pointer, "currency_not_supported", "Prices cannot be in this currency.")
