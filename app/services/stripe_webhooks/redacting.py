"""Owns what is taken out of deliveries before they are kept: numbers that could be those of cards."""

import re
from collections.abc import Iterator
from typing import Any

REDACTED = "[redacted]"
SHORTEST, LONGEST = 13, 19
"""How many digits a card number has (ISO/IEC 7812)."""

# An id of ours may look like groups of digits; it is passed over as a whole.
CANDIDATE = re.compile(
    r"(?P<id>\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b)|[0-9]+(?:[ .\-\u00a0][0-9]+)*"
)
GROUP = re.compile("[0-9]+")


def without_card_numbers(value: Any) -> Any:
    """JSON values without card numbers, in members' names too; a number as a text or as a number.

    A card number has 13 to 19 digits that pass Luhn's check, in one piece or in groups (`4242 4242 …`).
    """
    if isinstance(value, dict):
        return {_of_text(name): without_card_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_card_numbers(item) for item in value]
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, float) and value.is_integer():
        return REDACTED if _is_card(str(abs(int(value)))) else value
    return REDACTED if isinstance(value, int) and _is_card(str(abs(value))) else value


def _of_text(text: str) -> str:
    return CANDIDATE.sub(_of_candidate, text)


def _of_candidate(found: re.Match[str]) -> str:
    """Digits, perhaps in groups: whatever neighbouring groups make a card number is replaced."""
    text = found.group()
    if found["id"] is not None or len(text) < SHORTEST:
        return text
    pieces: list[str] = []
    end = 0
    for first, last in _cards(text):
        pieces += [text[end:first], REDACTED]
        end = last
    return "".join([*pieces, text[end:]])


def _cards(text: str) -> Iterator[tuple[int, int]]:
    """Where card numbers begin and end among groups of digits; none overlaps another."""
    groups = list(GROUP.finditer(text))
    position = 0
    while position < len(groups):
        digits = ""
        following = position
        for last in range(position, len(groups)):
            digits += groups[last].group()
            if len(digits) > LONGEST:
                break
            if _is_card(digits):
                following = last + 1
        if following > position:
            yield groups[position].start(), groups[following - 1].end()
        position = max(following, position + 1)


def _is_card(digits: str) -> bool:
    """Whether digits are as many as a card number has, and pass Luhn's check."""
    if not SHORTEST <= len(digits) <= LONGEST:
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * 2 if place % 2 else int(digit)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0
