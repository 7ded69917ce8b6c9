"""The option fields of a product: defaults, bounds, and the rules between fields."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from app.schemas.product_options import OptionField, ProductOptions, chosen_deltas, dump_options, load_options

OPTIONS: TypeAdapter[list[OptionField]] = TypeAdapter(ProductOptions)

SIZE = {
    "code": "size",
    "label": "Size",
    "type": "choice",
    "values": [{"code": "S", "label": "Small"}, {"code": "XL", "label": "Large", "price_delta": 300}],
}
METAL = {
    "code": "metal",
    "label": "Metal",
    "type": "color",
    "palette": [{"code": "gold", "label": "Gold", "hex": "#FFD700", "price_delta": -50}],
}
NAME = {"code": "name", "label": "Name", "type": "text"}
LENGTH = {"code": "length", "label": "Length", "type": "number", "min": 40, "max": 60}
PHOTO = {"code": "photo", "label": "Photo", "type": "image"}


def errors(*fields: dict[str, Any]) -> list[tuple[str, tuple[int | str, ...]]]:
    """The kinds and places of what is refused."""
    with pytest.raises(ValidationError) as refusal:
        OPTIONS.validate_python(list(fields))
    return [(error["type"], error["loc"]) for error in refusal.value.errors()]


def test_fields_have_their_defaults_when_only_required_members_are_given():
    options = OPTIONS.validate_python([SIZE, METAL, NAME, LENGTH, PHOTO])
    assert [option.is_bespoke for option in options] == [False, False, True, True, True]
    stored = dump_options(options)
    assert stored[2] == {
        "code": "name",
        "label": "Name",
        "help": None,
        "required": False,
        "price_delta": 0,
        "visible_if": None,
        "type": "text",
        "is_bespoke": True,
        "min_length": 0,
        "max_length": 200,
        "charset": "any",
        "fonts": [],
    }
    assert (stored[3]["step"], stored[3]["unit"]) == (1, None)
    assert (stored[4]["max_bytes"], stored[4]["dpi_min"]) == (10_485_760, 0)


def test_options_come_back_equal_when_stored_and_loaded():
    picture = {"code": "S", "label": "Small", "image_id": "01890a5d-ac96-774b-bcce-b302099a8057"}
    fields = [{**SIZE, "values": [picture]}, {**NAME, "visible_if": {"code": "size", "in": ["S"]}}]
    options = OPTIONS.validate_python(fields)
    stored = dump_options(options)
    assert stored[0]["values"][0]["image_id"] == picture["image_id"]
    assert stored[1]["visible_if"] == {"code": "size", "in": ["S"]}
    assert load_options(stored) == options


def test_is_bespoke_may_be_set_against_the_default_of_the_type():
    options = OPTIONS.validate_python([{**SIZE, "is_bespoke": True}, {**NAME, "is_bespoke": False}])
    assert [option.is_bespoke for option in options] == [True, False]


def test_chosen_deltas_are_by_code_for_fields_with_values_only():
    size, metal, name = OPTIONS.validate_python([SIZE, METAL, NAME])
    assert chosen_deltas(size) == {"S": 0, "XL": 300}
    assert chosen_deltas(metal) == {"gold": -50}
    assert chosen_deltas(name) == {}


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ({**NAME, "colour": 1}, "extra_forbidden"),
        ({**NAME, "type": "file"}, "union_tag_invalid"),
        ({"code": "name", "label": "Name"}, "union_tag_not_found"),
        ({**NAME, "code": "Name"}, "string_pattern_mismatch"),
        ({**NAME, "code": "name\n"}, "string_pattern_mismatch"),
        ({**NAME, "code": "a" * 41}, "string_too_long"),
        ({**NAME, "label": ""}, "too_short"),
        ({**NAME, "label": "  "}, "too_short"),
        ({**NAME, "label": "a\nb"}, "not_one_line"),
        ({**NAME, "label": "x" * 121}, "too_long"),
        ({**NAME, "label": "nul\x00"}, "invalid"),
        ({**NAME, "help": "x" * 301}, "too_long"),
        ({**NAME, "required": "yes"}, "bool_type"),
        ({**NAME, "required": 1}, "bool_type"),
        ({**NAME, "price_delta": "5"}, "int_type"),
        ({**NAME, "price_delta": 5.0}, "int_type"),
        ({**NAME, "price_delta": True}, "int_type"),
        ({**NAME, "price_delta": 10**12}, "less_than_equal"),
        ({**NAME, "max_length": 0}, "greater_than_equal"),
        ({**NAME, "max_length": 201}, "less_than_equal"),
        ({**NAME, "min_length": 9, "max_length": 8}, "bounds_reversed"),
        ({**NAME, "charset": "greek"}, "literal_error"),
        ({**NAME, "fonts": [{"code": f"f{n}", "label": "F"} for n in range(21)]}, "too_long"),
        ({**NAME, "fonts": [{"code": "f", "label": "F"}] * 2}, "code_not_unique"),
        ({**SIZE, "values": []}, "too_short"),
        ({**SIZE, "values": [{"code": f"v{n}", "label": "V"} for n in range(51)]}, "too_long"),
        ({**SIZE, "values": [{"code": "v", "label": "V"}] * 2}, "code_not_unique"),
        ({**SIZE, "values": [{"code": "v", "label": "V", "image_id": "x"}]}, "uuid_parsing"),
        ({**METAL, "palette": [{"code": "c", "label": "C", "hex": "gold"}]}, "string_pattern_mismatch"),
        ({**METAL, "palette": [{"code": "c", "label": "C", "hex": "#FFFFFF"}] * 2}, "code_not_unique"),
        ({**LENGTH, "min": 61}, "bounds_reversed"),
        ({**LENGTH, "step": 0}, "greater_than_equal"),
        ({**LENGTH, "max": 10**10}, "less_than_equal"),
        ({**LENGTH, "unit": "x" * 21}, "too_long"),
        ({**PHOTO, "max_bytes": 10_485_761}, "less_than_equal"),
        ({**PHOTO, "dpi_min": 601}, "less_than_equal"),
        ({**PHOTO, "dpi_min": 300}, "print_size_missing"),
    ],
)
def test_field_is_refused_when_a_member_is_wrong(field, kind):
    assert [error[0] for error in errors(field)] == [kind]


def test_error_points_at_the_field_and_member():
    assert errors(SIZE, {**NAME, "max_length": 0}) == [("greater_than_equal", (1, "max_length"))]


def test_codes_are_unique_in_the_product():
    assert errors(NAME, {**PHOTO, "code": "name"})[0][0] == "code_not_unique"


def test_at_most_thirty_fields():
    fields = [{**NAME, "code": f"name{n}"} for n in range(31)]
    assert len(OPTIONS.validate_python(fields[:30])) == 30
    assert errors(*fields)[0][0] == "too_long"


@pytest.mark.parametrize(
    "fields",
    [
        [{**NAME, "visible_if": {"code": "size", "in": ["S"]}}, SIZE],
        [{**SIZE, "visible_if": {"code": "size", "in": ["S"]}}],
        [LENGTH, {**NAME, "visible_if": {"code": "length", "in": ["40"]}}],
        [SIZE, {**NAME, "visible_if": {"code": "size", "in": ["S", "M"]}}],
        [SIZE, {**NAME, "visible_if": {"code": "colour", "in": ["S"]}}],
    ],
)
def test_visible_if_is_refused_when_it_names_no_value_of_an_earlier_field(fields):
    assert errors(*fields)[0][0] == "visible_if_invalid"


def test_visible_if_may_name_an_earlier_choice_or_color():
    fields = [
        SIZE,
        {**METAL, "visible_if": {"code": "size", "in": ["XL"]}},
        {**NAME, "visible_if": {"code": "metal", "in": ["gold"]}},
    ]
    assert len(OPTIONS.validate_python(fields)) == 3


def test_visible_if_needs_a_value():
    assert errors(SIZE, {**NAME, "visible_if": {"code": "size", "in": []}})[0][0] == "too_short"


def test_options_are_refused_when_they_exceed_what_the_database_holds():
    values = [{"code": f"v{n}", "label": "é" * 120} for n in range(50)]
    fields = [{**SIZE, "code": f"size{n}", "values": values} for n in range(5)]
    assert errors(*fields)[0][0] == "options_too_large"
    assert len(OPTIONS.validate_python(fields[:3])) == 3
