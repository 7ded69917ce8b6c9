"""The free JSON object that callers attach to a product or an order: what it may hold, and how much."""

import json
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

MAX_BYTES = 16_384
"""What the database holds of one object, as text."""

MAX_DEPTH = 8
MAX_NUMBER = 9_007_199_254_740_991
"""The largest integer that every reader of JSON holds exactly."""


def _check(metadata: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [metadata]
    for _ in range(MAX_DEPTH):
        level = [inner for value in level for inner in _members(value)]
        for value in level:
            _check_number(value)
    if level:
        raise PydanticCustomError("too_deep", f"at most {MAX_DEPTH} levels are allowed")
    if len(json.dumps(metadata, ensure_ascii=False).encode()) > MAX_BYTES:
        raise PydanticCustomError("too_large", f"at most {MAX_BYTES} bytes are allowed")
    return metadata


def _members(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _check_number(value: object) -> None:
    # The comparison is false for NaN too, which is no JSON and which Python reads all the same.
    if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
        raise PydanticCustomError("number_out_of_range", "a number is too large")


Metadata = Annotated[
    dict[str, Any],
    AfterValidator(_check),
    Field(
        description=f"An object of your own: at most {MAX_BYTES} bytes and {MAX_DEPTH} levels.",
        examples=[{"collection": "winter"}],
    ),
]
"""A bounded JSON object."""
