"""Cursors: what is one, and where its sender begins."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from app.services.realtime.cursors import LIVE, Start, epoch_of, judge_cursor, make_cursor

EPOCH = "k3fq7wz2"


def judge(cursor: str | None, *, head: int = 100, floor: int = 10) -> Start:
    return judge_cursor(cursor, epoch=EPOCH, head=head, floor=floor)


def test_epoch_when_anything_of_the_log_changes() -> None:
    epochs = {epoch_of("abc123", "7", "1"), epoch_of("abc124", "7", "1"), epoch_of("abc123", "8", "1")}
    epochs |= {epoch_of("abc123", "7", "2"), epoch_of("abc123", "", "")}
    assert len(epochs) == 5
    assert all(re.fullmatch(r"[a-z2-7]{8}", epoch) for epoch in epochs)
    assert epoch_of("abc123", "7", "1") == epoch_of("abc123", "7", "1")


@pytest.mark.parametrize("cursor", [None, ""])
def test_start_is_live_when_no_cursor_is_sent(cursor: str | None) -> None:
    assert judge(cursor) == LIVE


@pytest.mark.parametrize("position", [10, 55, 100])
def test_start_is_after_the_cursor_when_the_log_reaches_back(position: int) -> None:
    assert judge(make_cursor(EPOCH, position)) == Start("replay", position)


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        (f"{EPOCH}.9", "expired"),
        (f"{EPOCH}.101", "ahead"),
        (f"{EPOCH}.9999999999999999999", "ahead"),
        ("k3fq7wz3.50", "unknown_epoch"),
        (f"{EPOCH}.", "malformed"),
        (f"{EPOCH}.-1", "malformed"),
        (f"{EPOCH}.5\n", "malformed"),
        (f"{EPOCH}.5\x00", "malformed"),
        (f"{EPOCH}.٣", "malformed"),
        (f"{EPOCH.upper()}.50", "malformed"),
        (f"{EPOCH}.{'0' * 20}", "malformed"),
        ("50", "malformed"),
        ("x" * 65, "malformed"),
    ],
)
def test_start_is_a_reset_when_the_cursor_is_no_good(cursor: str, reason: str) -> None:
    assert judge(cursor) == Start("reset", None, reason)  # type: ignore[arg-type]  # a parameter of the test


@given(some.text(min_size=1, max_size=80))
def test_start_is_never_an_error_whatever_is_sent(cursor: str) -> None:
    assert judge(cursor).mode in ("reset", "replay")
