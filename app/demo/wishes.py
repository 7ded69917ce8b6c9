"""What buyers choose when a product can be made personal: a valid customisation for any set of options."""

from collections.abc import Sequence
from random import Random
from typing import Any

from app.demo.options import Option

INITIALS = ("A", "AM", "CL", "ÉD", "HB", "JLR", "M", "NV", "RSB", "ZL")
SENTENCES = ("Toujours", "À toi", "12.06.2026", "Pour Jeanne", "Carpe diem", "Paris, le 3 mai", "Merci")
WISHES = (
    "Joyeux anniversaire, Maman !",
    "Thank you for ten wonderful years.",
    "Félicitations ! À très vite, Léon & Nina",
    "Zum Abschied, mit Dank von uns allen.",
)


def wishes(options: Sequence[Option], random: Random) -> dict[str, Any]:
    """A customisation with every required field and most of the others."""
    chosen: dict[str, Any] = {}
    for option in options:
        condition = option.get("visible_if")
        if condition is not None and chosen.get(condition["code"]) not in condition["in"]:
            continue
        if option.get("required") or random.random() < 0.6:
            chosen[option["code"]] = _wish(option, random)
    return chosen


def _wish(option: Option, random: Random) -> Any:
    match option["type"]:
        case "text":
            return _text(option, random)
        case "choice":
            return random.choice(option["values"])["code"]
        case "color":
            return random.choice(option["palette"])["code"]
        case _:
            return random.randrange(option["min"], option["max"] + 1, option.get("step", 1))


def _text(option: Option, random: Random) -> dict[str, str]:
    texts = {"latin_upper": INITIALS, "latin": SENTENCES}.get(option.get("charset", "any"), WISHES)
    text = random.choice(texts)
    fonts = option.get("fonts")
    return {"text": text, "font": random.choice(fonts)["code"]} if fonts else {"text": text}
