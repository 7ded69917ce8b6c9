"""Checking a buyer's personalisation of a product: what is valid, what it costs, whether it is bespoke."""

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, assert_never
from uuid import UUID

import regex

from app.core.money import OptionDelta
from app.schemas.product_options import (
    ChoiceField,
    ColorField,
    ImageField,
    NumberField,
    OptionField,
    TextField,
    chosen_deltas,
)

IMAGE_BUCKET = "design-assets"

MAX_CODE_POINTS_PER_CHARACTER = 10
"""Marks may be stacked on one visible character without end; no written language needs more than this."""

_OUTER_SPACES = regex.compile(r"^\p{Zs}+|\p{Zs}+$")
_REFUSED = regex.compile(r"[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}]")
_GRAPHEME = regex.compile(r"\X")
_UUID = regex.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
# The blocks of combining diacritics; other scripts' vowel signs are no part of a Latin letter.
_LATIN_MARKS = r"[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff]*+"
_LATIN_SIGNS = r"[0-9 .,'’&\-/]"  # noqa: RUF001 - the typographic apostrophe is meant.
_CHARSETS = {
    "digits": regex.compile(r"[0-9]*+"),
    "latin": regex.compile(
        rf"(?:[\p{{Script=Latin}}&&\p{{L}}]{_LATIN_MARKS}|{_LATIN_SIGNS})*+", regex.VERSION1
    ),
    "latin_upper": regex.compile(
        rf"(?:[[\p{{Script=Latin}}&&\p{{L}}]--\p{{Lowercase}}]{_LATIN_MARKS}|{_LATIN_SIGNS})*+",
        regex.VERSION1,
    ),
    "any": regex.compile(r"(?s:.)*+"),
}


@dataclass(frozen=True, slots=True)
class ImageFile:
    """What must be known of a stored file to accept it as a picture; sizes in pixels, None when unknown."""

    bucket: str
    size_bytes: int
    width: int | None
    height: int | None


class CustomizationError(NamedTuple):
    """One thing wrong: the JSON pointer's part below `/customization/`, the stable code, and a sentence."""

    code_path: str
    error_code: str
    detail: str


@dataclass(frozen=True, slots=True)
class CheckedCustomization:
    """The result of a check; everything but `errors` counts only when `errors` is empty.

    `values` is the normalised customisation, `sha256` its hash, `unit_delta` the sum of `option_deltas` in
    minor units, and `is_bespoke` says whether a given field makes the product a personal one.
    """

    values: dict[str, object]
    option_deltas: list[OptionDelta]
    unit_delta: int
    is_bespoke: bool
    sha256: str
    errors: list[CustomizationError]


@dataclass(slots=True)
class _Answer:
    """The normalised value of one field, or what is wrong with it; None without problems means not given."""

    value: object = None
    delta: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)


def check_customization(
    options: Sequence[OptionField],
    values: Mapping[str, object],
    files: Mapping[UUID, ImageFile] | None = None,
) -> CheckedCustomization:
    """Check a customisation against a product's options; every error is collected, none is raised.

    `files` holds the organisation's own files among `image_file_ids`; any other id is `file_not_found`. A
    field whose visibility hangs on a value that is itself wrong is neither demanded nor refused, so that one
    mistake is reported once.
    """
    known = {option.code for option in options}
    errors = [
        CustomizationError(_pointer_part(code), "unknown_option", "The product has no such option.")
        for code in values
        if code not in known
    ]
    normalised: dict[str, object] = {}
    deltas: list[OptionDelta] = []
    uncertain: set[str] = set()
    is_bespoke = False
    for option in options:
        visible = _is_visible(option, normalised, uncertain)
        answer = _answer(option, values, visible, files or {})
        errors += [CustomizationError(option.code, code, detail) for code, detail in answer.problems]
        if answer.value is not None:
            normalised[option.code] = answer.value
            is_bespoke = is_bespoke or option.is_bespoke
            if answer.delta:
                deltas.append(OptionDelta(option.code, answer.delta))
        elif answer.problems or visible is None:
            uncertain.add(option.code)
    return CheckedCustomization(
        values=normalised,
        option_deltas=deltas,
        unit_delta=sum(delta.delta for delta in deltas),
        is_bespoke=is_bespoke,
        sha256=customization_sha256(normalised),
        errors=errors,
    )


def image_file_ids(options: Sequence[OptionField], values: Mapping[str, object]) -> set[UUID]:
    """The file ids that a customisation names, to be looked up together before the check."""
    given = (values.get(option.code) for option in options if isinstance(option, ImageField))
    return {file_id for value in given if (file_id := _file_id(value)) is not None}


def customization_sha256(values: Mapping[str, object]) -> str:
    """SHA-256 in hex of a normalised customisation as UTF-8 JSON with sorted keys and no spaces."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def minimum_price(price: int, options: Sequence[OptionField]) -> int:
    """The smallest unit price, in minor units, that any valid customisation of the product can reach.

    A product whose smallest price is negative must not be saved. Conditions name one earlier field each, so
    the fields form trees, and walking them from the last field to the first knows each branch's cost.
    """
    cheapest: dict[str, int] = {}
    branches: dict[str, list[OptionField]] = {}
    for option in reversed(options):
        followers = branches.get(option.code, [])
        by_value = chosen_deltas(option)
        given = option.price_delta
        if by_value:
            given += min(
                delta + sum(cheapest[other.code] for other in followers if _shown_by(other, code))
                for code, delta in by_value.items()
            )
        cheapest[option.code] = given if option.required else min(given, 0)
        if option.visible_if is not None:
            branches.setdefault(option.visible_if.code, []).append(option)
    return price + sum(cheapest[option.code] for option in options if option.visible_if is None)


def _shown_by(option: OptionField, value: object) -> bool:
    return option.visible_if is not None and value in option.visible_if.in_


def _is_visible(option: OptionField, normalised: Mapping[str, object], uncertain: set[str]) -> bool | None:
    """Whether the values so far show the field; None when the deciding value is itself wrong."""
    if option.visible_if is None:
        return True
    if option.visible_if.code in uncertain:
        return None
    return _shown_by(option, normalised.get(option.visible_if.code))


def _answer(
    option: OptionField, values: Mapping[str, object], visible: bool | None, files: Mapping[UUID, ImageFile]
) -> _Answer:
    is_given = option.code in values
    if is_given and visible is False:
        return _problem("option_not_applicable", "The option does not apply to the other values.")
    if is_given:
        answer = _check_value(option, values[option.code], files)
        if answer.value is not None or answer.problems:
            answer.delta += option.price_delta
            return answer
    if visible and option.required:
        return _problem("option_required", "The option is required.")
    return _Answer()


def _check_value(option: OptionField, given: object, files: Mapping[UUID, ImageFile]) -> _Answer:
    match option:
        case TextField():
            return _check_text(option, given)
        case ChoiceField() | ColorField():
            deltas = chosen_deltas(option)
            if not isinstance(given, str) or given not in deltas:
                return _problem("option_invalid", "The value is the code of one of the option's values.")
            return _Answer(given, deltas[given])
        case NumberField():
            return _check_number(option, given)
        case ImageField():
            return _check_image(option, given, files)
        case _:
            assert_never(option)


def _check_number(option: NumberField, given: object) -> _Answer:
    # A boolean is an int to Python, and never a number here.
    if type(given) is not int or not option.min <= given <= option.max or (given - option.min) % option.step:
        detail = f"An integer from {option.min} to {option.max} in steps of {option.step} is due."
        return _problem("option_invalid", detail)
    return _Answer(given)


def _check_text(option: TextField, given: object) -> _Answer:
    """Normalise and check a text; an empty one, where that is allowed, counts as not given."""
    members = {"text", "font"} if option.fonts else {"text"}
    if not isinstance(given, dict) or given.keys() != members or not isinstance(given["text"], str):
        return _problem("option_invalid", f"An object with exactly these members is due: {sorted(members)}.")
    if option.fonts and given["font"] not in [font.code for font in option.fonts]:
        return _problem("option_invalid", "The font is the code of one of the option's fonts.")
    text = _OUTER_SPACES.sub("", unicodedata.normalize("NFC", given["text"]))
    if _REFUSED.search(text):
        return _problem("character_refused", "Control, invisible and unassigned characters are refused.")
    answer = _Answer()
    # The first comparison is cheap and keeps endless texts from being cut into characters.
    is_long = len(text) > option.max_length * MAX_CODE_POINTS_PER_CHARACTER
    length = 0 if is_long else len(_GRAPHEME.findall(text))
    if is_long or length > option.max_length:
        answer.problems.append(("text_too_long", f"At most {option.max_length} characters are allowed."))
    elif length < option.min_length:
        answer.problems.append(("text_too_short", f"At least {option.min_length} characters are due."))
    if not _CHARSETS[option.charset].fullmatch(text):
        answer.problems.append(("character_not_allowed", f"The character set is {option.charset}."))
    if text and not answer.problems:
        answer.value = {**given, "text": text}
    return answer


def _check_image(option: ImageField, given: object, files: Mapping[UUID, ImageFile]) -> _Answer:
    file_id = _file_id(given)
    if file_id is None:
        return _problem("option_invalid", "The value is the id of an uploaded file.")
    file = files.get(file_id)
    if file is None:
        return _problem("file_not_found", "There is no such file.")
    if file.bucket != IMAGE_BUCKET:
        return _problem("file_wrong_kind", "The file was not uploaded as a picture for a design.")
    answer = _Answer(str(file_id))
    if file.size_bytes > option.max_bytes:
        answer.problems.append(("image_too_large", f"At most {option.max_bytes} bytes are allowed."))
    if _is_coarse(file.width, option.print_width_mm, option.dpi_min) or _is_coarse(
        file.height, option.print_height_mm, option.dpi_min
    ):
        detail = f"The picture has fewer than {option.dpi_min} dots per inch at its printed size."
        answer.problems.append(("image_resolution_too_low", detail))
    if answer.problems:
        answer.value = None
    return answer


def _is_coarse(pixels: int | None, millimetres: int | None, dpi: int) -> bool:
    """Whether pixels < millimetres / 25.4 x dpi, in integers; an unknown size cannot reach a resolution."""
    return bool(dpi and millimetres) and (pixels or 0) * 254 < (millimetres or 0) * dpi * 10


def _file_id(value: object) -> UUID | None:
    return UUID(value) if isinstance(value, str) and _UUID.fullmatch(value) else None


def _pointer_part(key: str) -> str:
    """A key as one part of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _problem(code: str, detail: str) -> _Answer:
    return _Answer(problems=[(code, detail)])
