"""Kinds of values that all schemas share."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from app.schemas.base import Line, Timestamp

NAME = TypeAdapter(Annotated[Line, Field(min_length=1, max_length=10)])
MOMENT = TypeAdapter(Timestamp)


def fault(adapter: TypeAdapter[Any], value: object) -> str:
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(value)
    return str(caught.value.errors()[0]["type"])


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Bag", "Bag"),
        ("  Bag \u00a0", "Bag"),
        ("\u200b\ufeffBag \u200b", "Bag"),
        ("Cafe\u0301", "Café"),
        ("a b\u00a0c", "a b\u00a0c"),
        ("حقيبة", "حقيبة"),
        ("👩\u200d🎨", "👩\u200d🎨"),
        ("e\u0301" * 10, "é" * 10),
    ],
)
def test_line_is_trimmed_and_composed(sent: str, kept: str) -> None:
    assert NAME.validate_python(sent) == kept


@pytest.mark.parametrize("blank", ["", " ", "   ", "\u3000", "\u200b", "\u200d\u2060", " \ufeff \u00ad"])
def test_line_is_refused_when_it_is_blank(blank: str) -> None:
    assert fault(NAME, blank) == "too_short"


@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u2029"])
def test_line_is_refused_when_it_has_control_characters(character: str) -> None:
    for text in (f"a{character}b", f"a{character}", f"{character}a"):
        assert fault(NAME, text) == "not_one_line"


@pytest.mark.parametrize(
    "character", [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]
)
def test_line_is_refused_when_it_turns_the_direction(character: str) -> None:
    assert fault(NAME, f"a{character}b") == "bidi_control"


@pytest.mark.parametrize("text", ["a\x00", "\ud800", "x" * 11, 5, True, None])
def test_line_is_refused_when_it_is_no_text_of_ours(text: object) -> None:
    assert fault(NAME, text) in {"value_error", "too_long", "string_type"}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02t03:04:05z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.5+02:00", datetime(2026, 1, 2, 1, 4, 5, 500_000, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456789-00:30", datetime(2026, 1, 2, 3, 34, 5, 123_456, tzinfo=UTC)),
        (datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 1, 1, 22, tzinfo=UTC)),
    ],
)
def test_timestamp_is_utc(sent: object, expected: datetime) -> None:
    found = MOMENT.validate_python(sent)
    assert (found, found.tzinfo) == (expected, UTC)
    assert MOMENT.dump_python(found, mode="json").endswith("Z")


@pytest.mark.parametrize(
    "sent",
    [
        1_700_000_000,
        1.5,
        "1700000000",
        True,
        None,
        "",
        "soon",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02T03:04Z",
        "2026-01-02 03:04:05Z",
        "2026-01-02T03:04:05+0200",
        "2026-01-02T03:04:05 02:00",
        " 2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05Z\n",
        "2026-W01-2T03:04:05Z",
        "٢٠٢٦-01-02T03:04:05Z",
        datetime(2026, 1, 2),  # noqa: DTZ001 - a moment without a zone is the point
    ],
)
def test_timestamp_is_refused_when_it_is_not_of_rfc_3339(sent: object) -> None:
    assert fault(MOMENT, sent) == "not_rfc_3339"


@pytest.mark.parametrize(
    "sent",
    [
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-02-30T00:00:00Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:04:60Z",
        "2026-01-02T03:04:05+24:00",
    ],
)
def test_timestamp_is_refused_when_there_is_no_such_moment(sent: str) -> None:
    assert fault(MOMENT, sent) == "out_of_range"
