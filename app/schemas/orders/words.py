"""The closed lists of words in orders, and the bounded JSON that callers may leave on them."""

import json
import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from app.core.card_numbers import holds_card_number
from app.schemas.base import StrictInt

OrderStatus = Literal[
    "draft",
    "pending",
    "confirmed",
    "processing",
    "shipped",
    "delivered",
    "cancelled",
    "expired",
    "returned",
]
PaymentStatus = Literal[
    "unpaid",
    "pending",
    "authorized",
    "paid",
    "failed",
    "partially_refunded",
    "refunded",
    "disputed",
    "charged_back",
]
HoldReason = Literal[
    "oversold",
    "amount_mismatch",
    "currency_mismatch",
    "dispute",
    "payment_lapsed",
    "refund_failed",
    "manual",
]

MAX_JSON_BYTES = 16_384
"""What the database holds of an order's metadata, as the text of its jsonb."""

MAX_JSON_DEPTH = 8


def british(value: object) -> object:
    """`canceled`, as the payment provider spells it, is `cancelled` here."""
    return "cancelled" if value == "canceled" else value


def _bounded(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what could not be stored: too deep, too large, or numbers that JSON does not have."""
    pending: list[tuple[Any, int]] = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if depth > MAX_JSON_DEPTH:
            raise PydanticCustomError("too_deep", "the object is nested too deeply")
        if isinstance(item, float) and not math.isfinite(item):
            raise PydanticCustomError("not_finite", "a number is not finite")
        if isinstance(item, dict):
            pending.extend((child, depth + 1) for child in item.values())
        elif isinstance(item, list):
            pending.extend((child, depth + 1) for child in item)
    if len(json.dumps(value, ensure_ascii=False).encode()) > MAX_JSON_BYTES:
        raise PydanticCustomError("too_large", "the object is larger than 16384 bytes")
    return value


SmallJson = Annotated[dict[str, Any], AfterValidator(_bounded)]
"""A JSON object of at most 16 KiB and eight levels."""


def _refuse_card_number(value: str) -> str:
    if holds_card_number(value):
        raise PydanticCustomError(
            "raw_payment_data_refused", "cards are entered at the payment provider; leave their numbers out"
        )
    return value


NoCardNumber = AfterValidator(_refuse_card_number)
"""Beside the type of a text that people write: the number of a card is refused in it, and kept nowhere."""

StatusFilter = Annotated[OrderStatus, BeforeValidator(british)]

Version = Annotated[StrictInt, Field(ge=1, le=2_147_483_647, description="The `version` that was read.")]

_COUNTRY_CODES = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT
BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH
ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT
HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS
LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI
NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG
SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG
UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""

COUNTRIES = frozenset(_COUNTRY_CODES.split())
"""ISO 3166-1 alpha-2."""


def _known_country(value: str) -> str:
    if value not in COUNTRIES:
        raise PydanticCustomError("country_unknown", "this is no country code of ISO 3166-1")
    return value


Country = Annotated[
    str,
    Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2.", examples=["FR"]),
    AfterValidator(_known_country),
]
