"""What the demo brand's products let a buyer choose; each set is the `options` of a product."""

from collections.abc import Mapping
from typing import Any

Option = dict[str, Any]


def _color(code: str, label: str, hex_value: str, price_delta: int = 0) -> Option:
    return {"code": code, "label": label, "hex": hex_value, "price_delta": price_delta}


def _value(code: str, label: str, price_delta: int = 0) -> Option:
    return {"code": code, "label": label, "price_delta": price_delta}


FONTS = [{"code": "didot", "label": "Didot"}, {"code": "garamond", "label": "Garamond"}]

INITIALS: Option = {
    "type": "text",
    "code": "initials",
    "label": "Initials",
    "help": "Up to three letters, hot-stamped by hand.",
    "charset": "latin_upper",
    "min_length": 1,
    "max_length": 3,
    "price_delta": 3500,
    "fonts": FONTS,
}
FOIL: Option = {
    "type": "choice",
    "code": "foil",
    "label": "Foil",
    "values": [_value("gold", "Gold"), _value("silver", "Silver"), _value("blind", "Blind, without foil")],
}
LEATHER: Option = {
    "type": "color",
    "code": "leather",
    "label": "Leather",
    "required": True,
    "palette": [
        _color("noir", "Noir", "#17141A"),
        _color("cognac", "Cognac", "#9A5B2F"),
        _color("ivoire", "Ivoire", "#F2EBDD"),
        _color("aurore", "Rose Aurore", "#E3A79A", 12000),
    ],
}
HARDWARE: Option = {
    "type": "choice",
    "code": "hardware",
    "label": "Hardware",
    "values": [_value("palladium", "Palladium"), _value("gold", "Yellow gold plated", 9000)],
}
ENGRAVING: Option = {
    "type": "text",
    "code": "engraving",
    "label": "Engraving",
    "help": "Inside, up to 24 characters.",
    "charset": "latin",
    "max_length": 24,
    "price_delta": 4500,
    "fonts": FONTS,
}
METAL: Option = {
    "type": "choice",
    "code": "metal",
    "label": "Metal",
    "required": True,
    "values": [
        _value("silver", "Sterling silver"),
        _value("vermeil", "Vermeil", 8000),
        _value("yellow_gold", "18 ct yellow gold", 98000),
        _value("rose_gold", "18 ct rose gold", 98000),
    ],
}
RING_SIZE: Option = {
    "type": "number",
    "code": "size",
    "label": "Ring size",
    "required": True,
    "is_bespoke": False,
    "min": 46,
    "max": 62,
    "step": 1,
    "unit": "EU",
}
STRAP_LENGTH: Option = {
    "type": "number",
    "code": "strap_length",
    "label": "Strap length",
    "min": 1100,
    "max": 1400,
    "step": 50,
    "unit": "mm",
}
DIAL: Option = {
    "type": "color",
    "code": "dial",
    "label": "Dial",
    "required": True,
    "palette": [
        _color("opaline", "Opaline", "#EFEBE2"),
        _color("nuit", "Bleu nuit", "#1B2440"),
        _color("aurore", "Rose Aurore", "#E3A79A", 15000),
    ],
}
SILK: Option = {
    "type": "color",
    "code": "colourway",
    "label": "Colourway",
    "required": True,
    "palette": [
        _color("aube", "Aube", "#F3C9B5"),
        _color("midi", "Midi", "#F0B429"),
        _color("minuit", "Minuit", "#22254B"),
    ],
}
MONOGRAM: Option = {
    "type": "choice",
    "code": "monogram",
    "label": "Monogram",
    "values": [_value("none", "None"), _value("hand", "Embroidered by hand", 6000)],
}
MONOGRAM_TEXT: Option = {
    "type": "text",
    "code": "monogram_text",
    "label": "Letters of the monogram",
    "charset": "latin_upper",
    "min_length": 1,
    "max_length": 4,
    "required": True,
    "visible_if": {"code": "monogram", "in": ["hand"]},
}
DEDICATION: Option = {
    "type": "text",
    "code": "dedication",
    "label": "Dedication",
    "help": "Printed on a card in the box.",
    "charset": "any",
    "max_length": 120,
    "is_bespoke": False,
}
GIFT_BOX: Option = {
    "type": "choice",
    "code": "gift_box",
    "label": "Gift box",
    "values": [_value("paper", "Paper"), _value("lacquer", "Lacquered wood", 7500)],
}
CANDLE_COUNT: Option = {
    "type": "number",
    "code": "wicks",
    "label": "Wicks",
    "is_bespoke": False,
    "min": 1,
    "max": 3,
    "price_delta": 1500,
}

OPTION_SETS: Mapping[str, list[Option]] = {
    "plain": [],
    "gift": [GIFT_BOX, DEDICATION],
    "bag": [LEATHER, HARDWARE, STRAP_LENGTH, INITIALS, FOIL],
    "small_leather": [LEATHER, INITIALS, FOIL],
    "ring": [METAL, RING_SIZE, ENGRAVING],
    "jewel": [METAL, ENGRAVING, GIFT_BOX],
    "watch": [DIAL, ENGRAVING],
    "silk": [SILK, MONOGRAM, MONOGRAM_TEXT],
    "linen": [MONOGRAM, MONOGRAM_TEXT, GIFT_BOX],
    "candle": [CANDLE_COUNT, DEDICATION],
    "paper": [INITIALS, FOIL, DEDICATION],
}
"""Every set by its name; together they use text, choice, color and number fields."""
