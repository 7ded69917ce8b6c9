"""The personalisation options of a product: what a brand may ask a buyer, and what each answer costs."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from app.schemas.base import Input, Line, Untagged

MAX_FIELDS = 30
MAX_PRICE = 999_999_999_999
"""In minor units. Times the largest quantity of a line, it still fits into a `bigint`."""

MAX_NUMBER = 1_000_000_000
MAX_IMAGE_BYTES = 10_485_760
MAX_STORED_BYTES = 65_536
"""What the database holds for the options of one product, as the text of its jsonb."""

FieldCode = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$", max_length=40, examples=["engraving"])]
ValueCode = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$", max_length=40, examples=["gold"])
]
Label = Annotated[Line, Field(min_length=1, max_length=120)]
PriceDelta = Annotated[
    int, Field(ge=-MAX_PRICE, le=MAX_PRICE, description="Minor units added to the price; negative lowers it.")
]
Number = Annotated[int, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Millimetres = Annotated[int, Field(ge=1, le=10_000)]


class OptionInput(Input):
    """Base of everything inside `options`: no unknown members, and no value is coerced."""

    model_config = ConfigDict(strict=True, serialize_by_alias=True)


class VisibleIf(OptionInput):
    """Shows a field only when an earlier choice or color field has one of these values."""

    code: FieldCode
    in_: list[ValueCode] = Field(alias="in", min_length=1, max_length=50)


class Font(OptionInput):
    """A font that the buyer may choose for a text."""

    code: ValueCode
    label: Label


class ChoiceValue(OptionInput):
    """One value of a choice, with what it adds to the price and, optionally, the id of a picture."""

    code: ValueCode
    label: Label
    price_delta: PriceDelta = 0
    # A UUID arrives as text, both in a body and from the stored JSON.
    image_id: UUID | None = Field(default=None, strict=False)


class PaletteColor(OptionInput):
    """One colour of a palette, with what it adds to the price."""

    code: ValueCode
    label: Label
    hex: Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$", max_length=7, examples=["#1A2B3C"])]
    price_delta: PriceDelta = 0


class FieldBase(OptionInput):
    """What every field has; `price_delta` is due once when the buyer gives the field."""

    code: FieldCode
    label: Label
    help: Annotated[Line, Field(max_length=300)] | None = None
    required: bool = False
    price_delta: PriceDelta = 0
    visible_if: VisibleIf | None = None


class TextField(FieldBase):
    """A text to engrave or print; lengths count what a reader sees as one character."""

    type: Literal["text"]
    is_bespoke: bool = True
    min_length: Annotated[int, Field(ge=0, le=200)] = 0
    max_length: Annotated[int, Field(ge=1, le=200)] = 200
    charset: Literal["latin", "latin_upper", "digits", "any"] = "any"
    fonts: list[Font] = Field(default_factory=list, max_length=20)

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min_length > self.max_length:
            raise PydanticCustomError("bounds_reversed", "min_length is above max_length")
        _refuse_double(font.code for font in self.fonts)
        return self


class ChoiceField(FieldBase):
    """One of the brand's own values."""

    type: Literal["choice"]
    is_bespoke: bool = False
    values: list[ChoiceValue] = Field(min_length=1, max_length=50)

    @model_validator(mode="after")
    def _codes(self) -> Self:
        _refuse_double(value.code for value in self.values)
        return self


class ColorField(FieldBase):
    """One of the brand's own colours."""

    type: Literal["color"]
    is_bespoke: bool = False
    palette: list[PaletteColor] = Field(min_length=1, max_length=50)

    @model_validator(mode="after")
    def _codes(self) -> Self:
        _refuse_double(color.code for color in self.palette)
        return self


class NumberField(FieldBase):
    """A whole number of `unit`, counted from `min` in steps."""

    type: Literal["number"]
    is_bespoke: bool = True
    min: Number
    max: Number
    step: Annotated[int, Field(ge=1, le=MAX_NUMBER)] = 1
    unit: Annotated[Line, Field(max_length=20)] | None = None

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min > self.max:
            raise PydanticCustomError("bounds_reversed", "min is above max")
        return self


class ImageField(FieldBase):
    """A picture of the buyer's; `dpi_min` above 0 checks its resolution against the printed size."""

    type: Literal["image"]
    is_bespoke: bool = True
    max_bytes: Annotated[int, Field(ge=1, le=MAX_IMAGE_BYTES)] = MAX_IMAGE_BYTES
    print_width_mm: Millimetres | None = None
    print_height_mm: Millimetres | None = None
    dpi_min: Annotated[int, Field(ge=0, le=600)] = 0

    @model_validator(mode="after")
    def _print_size(self) -> Self:
        if self.dpi_min and (self.print_width_mm is None or self.print_height_mm is None):
            raise PydanticCustomError(
                "print_size_missing", "dpi_min needs print_width_mm and print_height_mm"
            )
        return self


OptionField = Annotated[
    TextField | ChoiceField | ColorField | NumberField | ImageField, Field(discriminator="type"), Untagged
]
"""One field of a product's options, told apart by `type`."""


def chosen_deltas(field: OptionField) -> dict[str, int]:
    """What each value of a choice or color field adds to the price, by code; empty for other types."""
    if isinstance(field, ChoiceField):
        return {value.code: value.price_delta for value in field.values}
    if isinstance(field, ColorField):
        return {color.code: color.price_delta for color in field.palette}
    return {}


def _refuse_double(codes: Iterator[str]) -> None:
    seen: set[str] = set()
    for code in codes:
        if code in seen:
            raise PydanticCustomError("code_not_unique", "two entries have the same code")
        seen.add(code)


def _check_options(options: list[OptionField]) -> list[OptionField]:
    """The rules between fields: unique codes, conditions on earlier fields' values, and the stored size."""
    _refuse_double(field.code for field in options)
    selectable: dict[str, set[str]] = {}
    for index, field in enumerate(options):
        condition = field.visible_if
        if condition is not None and not set(condition.in_) <= selectable.get(condition.code, set()):
            raise PydanticCustomError(
                "visible_if_invalid",
                "field {index}: visible_if names values of an earlier choice or color field only",
                {"index": index},
            )
        if codes := chosen_deltas(field):
            selectable[field.code] = set(codes)
    if len(json.dumps(dump_options(options), ensure_ascii=False).encode()) > MAX_STORED_BYTES:
        raise PydanticCustomError("options_too_large", "the options are too large to be stored")
    return options


ProductOptions = Annotated[list[OptionField], Field(max_length=MAX_FIELDS), AfterValidator(_check_options)]
"""The complete list of a product's fields, in display order."""

_STORED: TypeAdapter[list[OptionField]] = TypeAdapter(list[OptionField])


def dump_options(options: list[OptionField]) -> list[dict[str, Any]]:
    """The options as they are stored and answered: plain JSON values."""
    return [field.model_dump(mode="json") for field in options]


def load_options(stored: list[dict[str, Any]]) -> list[OptionField]:
    """The options of a stored product; the rules between fields were checked when it was saved."""
    return _STORED.validate_python(stored)
