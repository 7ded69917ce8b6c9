"""Owns how events tell of changed fields: by values, or where those are personal by their names alone."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

VALUES = "values"
"""The member of an event's private part with the values of personal fields."""


def told(
    changes: Mapping[str, Sequence[Any]], *, personal: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the payload and the private part of an event say of `{field: [before, after]}`.

    Values of personal fields (names, free text, addresses) stand in the private part only, where the audit
    log seals them under a person's key; the payload has null in their place (the audit page, section 3).
    """
    public = {name: None if name in personal else pair for name, pair in changes.items()}
    hidden = {name: pair for name, pair in changes.items() if name in personal}
    return public, {VALUES: hidden} if hidden else {}
