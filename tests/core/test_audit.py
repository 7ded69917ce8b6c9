"""The arithmetic of the audit log."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from app.core.audit import (
    LARGEST_INTEGER,
    canonical,
    checkpoint_message,
    is_signed,
    known_keys,
    moment,
    settled,
    signing_key,
)
from app.core.crypto import KeyRing, generate_key_text
from app.core.ids import uuid7

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST_INTEGER, LARGEST_INTEGER) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_text_when_it_is_compared_with_the_library(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


def test_text_when_names_are_outside_of_the_basic_plane() -> None:
    """UTF-16 puts them before some of the others."""
    assert canonical({"\uffff": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\uffff":1}'.encode()


@given(st.recursive(VALUES | st.floats() | st.integers(), lambda inner: st.lists(inner, max_size=3)))
def test_value_when_readers_of_json_differ(value: Any) -> None:
    rfc8785.dumps(settled(value))


def test_value_when_it_is_a_number() -> None:
    large = LARGEST_INTEGER + 1
    assert settled({"a": [1, 1.5, large, -large, True, None, "\u00e9"]}) == {
        "a": [1, "1.5", str(large), str(-large), True, None, "\u00e9"]
    }


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05.000000Z"),
        (
            datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2))),
            "2026-01-02T01:04:05.000006Z",
        ),
    ],
)
def test_moment_when_it_is_written(value: datetime, written: str) -> None:
    assert moment(value) == written


def test_keys_when_the_ring_has_several() -> None:
    old, new = generate_key_text(), generate_key_text()
    ring = KeyRing.parse(f"{new},{old}")
    newest, older = known_keys(ring)
    assert signing_key(ring) == newest
    assert signing_key(KeyRing.parse(old)).public_key == older.public_key
    message = checkpoint_message(uuid7(), 7, bytes(32), datetime(2026, 1, 2, tzinfo=UTC))
    assert is_signed(newest.public_key, newest.sign(message), message)
    assert not is_signed(older.public_key, newest.sign(message), message)
    assert not is_signed(b"short", newest.sign(message), message)
    assert not is_signed(newest.public_key, b"", message)
