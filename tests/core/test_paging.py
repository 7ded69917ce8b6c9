"""Signed cursors: they hold a position, and nobody can make, change or move one."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as some

from app.core.errors import Invalid
from app.core.ids import time_of, uuid7
from app.core.paging import PageQuery, make_cursor, read_cursor

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def test_cursor_when_read_back():
    identifier = uuid7()
    assert read_cursor(make_cursor(b"orders", NOW, identifier), b"orders") == (NOW, identifier)


def test_cursor_when_it_belongs_to_another_list():
    cursor = make_cursor(b"orders of alice", NOW, uuid7())
    with pytest.raises(Invalid) as refusal:
        read_cursor(cursor, b"orders of charlie")
    assert refusal.value.code == "cursor_invalid"


@given(some.integers(0, 200), some.integers(1, 255))
def test_cursor_when_one_byte_is_changed(position: int, change: int):
    raw = bytearray(make_cursor(b"x", NOW, uuid7()).encode())
    raw[position % len(raw)] ^= change
    with pytest.raises(Invalid):
        read_cursor(raw.decode("latin-1"), b"x")


@given(some.text(max_size=512))
def test_cursor_when_it_is_anything_else(text: str):
    with pytest.raises(Invalid):
        read_cursor(text, b"x")


def test_query_when_both_modes_are_asked():
    with pytest.raises(ValueError, match="not both"):
        PageQuery(cursor="x", page=1)


def test_filters_when_the_position_changes_stay_the_same():
    assert PageQuery(limit=5, cursor="a").filters() == PageQuery(limit=50, cursor="b").filters() == {}


def test_ids_when_made_one_after_another_sort_by_time():
    first = uuid7()
    assert first.version == 7
    assert abs((time_of(first) - datetime.now(UTC)).total_seconds()) < 60
