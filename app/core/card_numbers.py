"""Card numbers in texts: taken out of what others send, and refused in what people write."""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

REDACTED = "[redacted]"
SHORTEST, LONGEST = 13, 19
"""How many digits a card number has (ISO/IEC 7812)."""

SHORTEST_GROUP = 3
"""As in 4-4-4-4-3: how few digits of a card number people write together."""

# An id of ours may look like groups of digits; it is passed over as a whole.
CANDIDATE = re.compile(
    r"(?P<id>\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b)|[0-9]+(?:[ .\-\u00a0][0-9]+)*"
)
GROUP = re.compile("[0-9]+")

ISSUED = re.compile(
    r"4[0-9]{15}(?:[0-9]{3})?|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"
    r"|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|35[0-9]{14}|6(?:011|4[4-9][0-9]|5[0-9]{2})[0-9]{12}"
    r"|62[0-9]{14,17}"
)
"""How the numbers of the large networks begin, and how long they are."""


def holds_card_number(text: str) -> bool:
    """Whether a card number stands in a text that people write.

    Only numbers as the large networks issue them count, since whoever writes is refused: one in ten of other
    long numbers passes Luhn's check too.
    """
    return any(
        ISSUED.fullmatch(digits) and _is_card(digits)
        for found in CANDIDATE.finditer(text)
        if found["id"] is None and len(found.group()) >= SHORTEST
        for digits in _runs(GROUP.findall(found.group()))
    )


def _runs(groups: Sequence[str]) -> Iterator[str]:
    """Neighbouring groups of digits put together, as far as a card number goes."""
    for first in range(len(groups)):
        digits = ""
        for group in groups[first:]:
            digits += group
            if len(group) < SHORTEST_GROUP or len(digits) > LONGEST:
                break
            yield digits


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
    spans = [found.span() for found in GROUP.finditer(text)]
    sums = _Sums("".join(text[first:last] for first, last in spans))
    ends = [*accumulate((last - first for first, last in spans), initial=0)]
    position = 0
    while position < len(spans):
        following = position
        for last in range(position + 1, len(ends)):
            if ends[last] - ends[position] > LONGEST:
                break
            if sums.are_of_card(ends[position], ends[last]):
                following = last
        if following > position:
            yield spans[position][0], spans[following - 1][1]
        position = max(following, position + 1)


class _Sums:
    """Luhn's sum of any run of digits, by one subtraction: texts may have very many runs."""

    def __init__(self, digits: str) -> None:
        # Every second digit is doubled, counted from the last one, which is at an even or an odd place.
        self.sums: tuple[list[int], list[int]] = ([0], [0])
        for place, character in enumerate(digits):
            digit = int(character)
            doubled = digit * 2 - 9 if digit > 4 else digit * 2
            for parity, sums in enumerate(self.sums):
                sums.append(sums[-1] + (digit if place % 2 == parity else doubled))

    def are_of_card(self, first: int, end: int) -> bool:
        """Whether these digits are as many as a card number has, and pass Luhn's check."""
        sums = self.sums[(end - 1) % 2]
        return SHORTEST <= end - first <= LONGEST and (sums[end] - sums[first]) % 10 == 0


def _is_card(digits: str) -> bool:
    return SHORTEST <= len(digits) <= LONGEST and _Sums(digits).are_of_card(0, len(digits))
