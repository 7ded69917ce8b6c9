"""Identifiers: valid, unique, and in the order in which this process made them."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from app.core.ids import time_of, uuid7


def test_id_when_it_is_made() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    made = uuid7()
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert before <= time_of(made) <= datetime.now(UTC) + timedelta(milliseconds=100)


def test_ids_when_many_are_made_in_one_millisecond() -> None:
    made = [uuid7() for _ in range(10_000)]
    assert made == sorted(set(made))


def test_ids_when_threads_make_them_at_once() -> None:
    with ThreadPoolExecutor(4) as threads:
        batches = list(threads.map(lambda _: [uuid7() for _ in range(1000)], range(4)))
    assert len({one for batch in batches for one in batch}) == 4000
    assert all(batch == sorted(batch) for batch in batches)


def test_ids_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = uuid7()
    moment = time.time_ns() - 3600 * 10**9
    monkeypatch.setattr("app.core.ids.time.time_ns", lambda: moment)
    second, third = uuid7(), uuid7()
    assert first < second < third
