"""Checking personalisation: every kind of value, every refusal, the price, and the hash."""

import hashlib
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from app.core.money import OptionDelta
from app.schemas.product_options import OptionField, ProductOptions
from app.services.products.customization import (
    CheckedCustomization,
    ImageFile,
    check_customization,
    customization_sha256,
    image_file_ids,
    minimum_price,
)

OPTIONS: TypeAdapter[list[OptionField]] = TypeAdapter(ProductOptions)
FILE = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
SHARP = ImageFile("design-assets", 1000, 1181, 591)


def text(**more: Any) -> dict[str, Any]:
    return {"code": "name", "label": "Name", "type": "text", **more}


def choice(code: str = "size", **more: Any) -> dict[str, Any]:
    values = [{"code": "S", "label": "Small"}, {"code": "XL", "label": "Large", "price_delta": 300}]
    return {"code": code, "label": "Size", "type": "choice", "values": values, **more}


def color(**more: Any) -> dict[str, Any]:
    palette = [{"code": "gold", "label": "Gold", "hex": "#FFD700", "price_delta": -50}]
    return {"code": "metal", "label": "Metal", "type": "color", "palette": palette, **more}


def number(**more: Any) -> dict[str, Any]:
    return {"code": "length", "label": "Length", "type": "number", "min": 40, "max": 60, "step": 5, **more}


def image(**more: Any) -> dict[str, Any]:
    return {"code": "photo", "label": "Photo", "type": "image", **more}


def check(fields: list[dict[str, Any]], values: dict[str, object], **more: Any) -> CheckedCustomization:
    return check_customization(OPTIONS.validate_python(fields), values, **more)


def codes(checked: CheckedCustomization) -> list[tuple[str, str]]:
    return [(error.code_path, error.error_code) for error in checked.errors]


# What is accepted


def test_values_of_every_type_are_normalised_priced_and_hashed():
    fields = [
        text(price_delta=500, fonts=[{"code": "serif", "label": "Serif"}]),
        choice(price_delta=10),
        color(),
        number(),
        image(),
    ]
    checked = check(
        fields,
        {
            "photo": str(FILE).upper(),
            "length": 45,
            "metal": "gold",
            "size": "XL",
            "name": {"text": "  Zoe\u0308 ", "font": "serif"},
        },
        files={FILE: SHARP},
    )
    assert checked.errors == []
    assert checked.values == {
        "name": {"text": "Zoë", "font": "serif"},
        "size": "XL",
        "metal": "gold",
        "length": 45,
        "photo": str(FILE),
    }
    assert checked.option_deltas == [
        OptionDelta("name", 500),
        OptionDelta("size", 310),
        OptionDelta("metal", -50),
    ]
    assert checked.unit_delta == 760
    assert checked.is_bespoke
    written = (
        '{"length":45,"metal":"gold","name":{"font":"serif","text":"Zoë"},'
        '"photo":"01890a5d-ac96-774b-bcce-b302099a8057","size":"XL"}'
    )
    assert checked.sha256 == hashlib.sha256(written.encode()).hexdigest()


def test_nothing_given_is_valid_when_nothing_is_required():
    checked = check([text(price_delta=500), choice()], {})
    assert (checked.values, checked.unit_delta, checked.is_bespoke, checked.errors) == ({}, 0, False, [])
    assert checked.sha256 == hashlib.sha256(b"{}").hexdigest()


def test_choosing_preset_values_is_not_bespoke_unless_the_field_says_so():
    assert not check([choice(), color(), text()], {"size": "S", "metal": "gold"}).is_bespoke
    assert check([choice(is_bespoke=True)], {"size": "S"}).is_bespoke
    assert not check([number(is_bespoke=False)], {"length": 40}).is_bespoke


def test_hash_is_the_same_whatever_the_order_of_the_values():
    assert customization_sha256({"a": 1, "b": "é"}) == customization_sha256({"b": "é", "a": 1})
    assert customization_sha256({"a": 1}) != customization_sha256({"a": 2})


def test_empty_text_counts_as_not_given():
    checked = check([text(price_delta=500)], {"name": {"text": "   "}})
    assert (checked.values, checked.unit_delta, checked.is_bespoke, checked.errors) == ({}, 0, False, [])
    assert codes(check([text(required=True)], {"name": {"text": ""}})) == [("name", "option_required")]


# Rules between values


def test_every_error_is_collected_in_one_check():
    fields = [choice(required=True), text(max_length=3), number(), image()]
    values: dict[str, object] = {"a/b~c": 1, "name": {"text": "Anna"}, "length": 41, "photo": str(FILE)}
    assert codes(check(fields, values)) == [
        ("a~1b~0c", "unknown_option"),
        ("size", "option_required"),
        ("name", "text_too_long"),
        ("length", "option_invalid"),
        ("photo", "file_not_found"),
    ]


def test_hidden_field_is_refused_when_given_and_not_demanded_when_missing():
    fields = [choice(), text(required=True, visible_if={"code": "size", "in": ["XL"]})]
    name = {"text": "Anna"}
    assert codes(check(fields, {"size": "S", "name": name})) == [("name", "option_not_applicable")]
    assert codes(check(fields, {"name": name})) == [("name", "option_not_applicable")]
    assert codes(check(fields, {"size": "S"})) == []
    assert codes(check(fields, {"size": "XL"})) == [("name", "option_required")]
    assert codes(check(fields, {"size": "XL", "name": name})) == []


def test_field_behind_a_hidden_field_is_hidden():
    fields = [
        choice("first"),
        choice("second", visible_if={"code": "first", "in": ["XL"]}),
        text(required=True, visible_if={"code": "second", "in": ["S"]}),
    ]
    assert codes(check(fields, {"first": "S"})) == []
    assert codes(check(fields, {"first": "XL", "second": "S"})) == [("name", "option_required")]


def test_wrong_value_is_reported_once_when_other_fields_hang_on_it():
    fields = [
        choice("first"),
        choice("second", required=True, visible_if={"code": "first", "in": ["XL"]}),
        text(required=True, visible_if={"code": "second", "in": ["S"]}),
    ]
    assert codes(check(fields, {"first": "M"})) == [("first", "option_invalid")]
    values: dict[str, object] = {"first": "M", "name": {"text": "\t"}}
    assert codes(check(fields, values)) == [("first", "option_invalid"), ("name", "character_refused")]


# Values by type


@pytest.mark.parametrize("value", ["M", "s", 1, None, True, ["S"], {"code": "S"}])
def test_choice_is_refused_when_it_is_not_one_of_the_codes(value):
    assert codes(check([choice()], {"size": value})) == [("size", "option_invalid")]
    assert codes(check([color()], {"metal": value})) == [("metal", "option_invalid")]


@pytest.mark.parametrize("value", [39, 61, 41, 45.0, "45", True, None, 10**40])
def test_number_is_refused_when_it_is_no_step_within_the_bounds(value):
    assert codes(check([number()], {"length": value})) == [("length", "option_invalid")]


def test_number_counts_its_steps_from_a_negative_minimum():
    field = number(min=-7, max=7, step=5)
    assert [n for n in range(-9, 10) if not check([field], {"length": n}).errors] == [-7, -2, 3]


@pytest.mark.parametrize(
    "value",
    ["Anna", {}, {"text": 1}, {"text": None}, {"text": "A", "font": "serif"}, {"text": "A", "x": 1}, None],
)
def test_text_is_refused_when_its_shape_is_wrong(value):
    assert codes(check([text()], {"name": value})) == [("name", "option_invalid")]


@pytest.mark.parametrize(
    "value", [{"text": "A"}, {"text": "A", "font": "mono"}, {"text": "A", "font": ["serif"]}]
)
def test_font_is_due_when_the_field_has_fonts(value):
    field = text(fonts=[{"code": "serif", "label": "Serif"}])
    assert codes(check([field], {"name": value})) == [("name", "option_invalid")]


@pytest.mark.parametrize(
    "character",
    [
        "\n",
        "\t",
        "\u202e",
        "\u200b",
        "\u200d",
        "\u00ad",
        "\u2028",
        "\u2029",
        "\ue000",
        "\u0378",
        "\ud800",
        "\ufeff",
    ],
)
def test_text_is_refused_when_it_has_an_invisible_or_unassigned_character(character):
    for given_text in (f"a{character}b", f"ab{character}"):
        assert codes(check([text()], {"name": {"text": given_text}})) == [("name", "character_refused")]


def test_length_counts_what_a_reader_sees_as_one_character():
    field = text(min_length=2, max_length=3)
    for accepted in ("🇫🇷🇩🇪🇮🇹", "👍🏽❤️", "g\u0308g\u0308g\u0308", "नि नि", "  ab  "):
        assert codes(check([field], {"name": {"text": accepted}})) == []
    for long in ("🇫🇷🇩🇪🇮🇹🇪🇸", "g\u0308" * 4):
        assert codes(check([field], {"name": {"text": long}})) == [("name", "text_too_long")]
    for short in ("🇫🇷", "g\u0308", "a ", ""):
        assert codes(check([field], {"name": {"text": short}})) == [("name", "text_too_short")]


def test_text_is_too_long_when_marks_are_stacked_without_end():
    assert codes(check([text()], {"name": {"text": "a" + "\u0323" * 5000}})) == [("name", "text_too_long")]


@pytest.mark.parametrize(
    ("charset", "accepted", "refused"),
    [
        ("digits", "0123456789", ["1a", "1 2", "٣", "²", "-1"]),
        (
            "latin",
            "Zoë d'Œuvre & Ço., 7/8-’ẞ n\u0308",
            ["Анна", "a!", "a\u064e", "1\u0301", "🎁", "李", "a_b"],
        ),
        ("latin_upper", "ZOË D'ŒUVRE & ÇO., 7/8-’ẞ N\u0308", ["a", "ß", "ª", "Ω", "Zoë"]),
        ("any", "Анна 李 🎁 שלום", []),
    ],
)
def test_charset_decides_which_characters_are_allowed(charset, accepted, refused):
    field = text(charset=charset)
    assert codes(check([field], {"name": {"text": accepted}})) == []
    for given_text in refused:
        checked = check([field], {"name": {"text": given_text}})
        assert codes(checked) == [("name", "character_not_allowed")], given_text


def test_text_that_is_too_long_and_in_the_wrong_charset_has_both_errors():
    checked = check([text(max_length=2, charset="digits")], {"name": {"text": "abc"}})
    assert codes(checked) == [("name", "text_too_long"), ("name", "character_not_allowed")]


def test_details_never_repeat_what_was_given():
    values: dict[str, object] = {"name": {"text": "secret\u200b"}, "size": "secret", "secret": 1}
    checked = check([text(), choice()], values)
    assert len(checked.errors) == 3
    assert not any("secret" in error.detail for error in checked.errors)


# Images


@pytest.mark.parametrize("value", ["photo.png", 7, None, "{01890a5d-ac96-774b-bcce-b302099a8057}", FILE.hex])
def test_image_is_refused_when_it_is_no_file_id(value):
    assert codes(check([image()], {"photo": value}, files={FILE: SHARP})) == [("photo", "option_invalid")]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (ImageFile("design-assets", 1000, 1182, 591), []),
        (ImageFile("design-outputs", 1000, 1182, 591), ["file_wrong_kind"]),
        (ImageFile("design-assets", 1001, 1182, 591), ["image_too_large"]),
        (ImageFile("design-assets", 1000, 1181, 591), ["image_resolution_too_low"]),
        (ImageFile("design-assets", 1000, 1182, 590), ["image_resolution_too_low"]),
        (ImageFile("design-assets", 1000, None, None), ["image_resolution_too_low"]),
        (ImageFile("design-assets", 1001, 1181, 590), ["image_too_large", "image_resolution_too_low"]),
    ],
)
def test_image_is_checked_against_size_and_printed_resolution(file, expected):
    # At 300 dots per inch, 100 mm are 1181.1 pixels and 50 mm are 590.6.
    field = image(max_bytes=1000, print_width_mm=100, print_height_mm=50, dpi_min=300)
    checked = check([field], {"photo": str(FILE)}, files={FILE: file})
    assert [error.error_code for error in checked.errors] == expected
    assert checked.values == ({} if expected else {"photo": str(FILE)})


def test_image_of_unknown_size_is_accepted_when_no_resolution_is_asked():
    file = ImageFile("design-assets", 1000, None, None)
    assert codes(check([image()], {"photo": str(FILE)}, files={FILE: file})) == []


def test_image_file_ids_are_those_of_image_fields_only():
    options = OPTIONS.validate_python([choice(), image(), image(code="back")])
    values: dict[str, object] = {"size": str(UUID(int=1)), "photo": str(FILE), "back": "no id", "other": "x"}
    assert image_file_ids(options, values) == {FILE}


# The smallest price


@pytest.mark.parametrize(
    ("fields", "smallest"),
    [
        ([], 1000),
        ([text(price_delta=500)], 1000),
        ([text(price_delta=500, required=True)], 1500),
        ([text(price_delta=-500)], 500),
        ([choice(price_delta=-100)], 900),
        ([choice(price_delta=100, required=True)], 1100),
        ([color(), number(price_delta=-30, required=True)], 920),
        # Both conditional fields lower the price, but they never show together.
        (
            [
                choice(),
                text(price_delta=-400, visible_if={"code": "size", "in": ["S"]}),
                number(price_delta=-600, visible_if={"code": "size", "in": ["XL"]}),
            ],
            600,
        ),
        # A required field that raises the price shows with the cheap value, so the dear value is cheaper.
        (
            [
                choice(required=True),
                number(price_delta=900, required=True, visible_if={"code": "size", "in": ["S"]}),
            ],
            1300,
        ),
    ],
)
def test_minimum_price_is_the_smallest_that_a_buyer_can_reach(fields, smallest):
    assert minimum_price(1000, OPTIONS.validate_python(fields)) == smallest


FIELD_DELTAS = st.integers(-500, 500)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(FIELD_DELTAS, FIELD_DELTAS, st.booleans(), st.integers(-1, 3)), min_size=1, max_size=4)
)
def test_minimum_price_agrees_with_trying_every_customisation(shapes):
    fields = []
    for index, (delta, other, required, parent) in enumerate(shapes):
        values = [{"code": "a", "label": "A"}, {"code": "b", "label": "B", "price_delta": other}]
        field = choice(f"f{index}", price_delta=delta, required=required, values=values)
        if 0 <= parent < index:
            field["visible_if"] = {"code": f"f{parent}", "in": ["b" if other % 2 else "a"]}
        fields.append(field)
    options = OPTIONS.validate_python(fields)
    customisations: list[dict[str, object]] = [{}]
    for option in options:
        customisations += [{**given, option.code: value} for given in customisations for value in "ab"]
    valid = [
        checked for given in customisations if not (checked := check_customization(options, given)).errors
    ]
    assert minimum_price(0, options) == min(checked.unit_delta for checked in valid)
