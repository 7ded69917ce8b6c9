"""Owns the periods in which usage is counted: months in UTC from an anchor, half-open."""

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class MeterPeriod:
    """A month from `start` up to `end`, not included."""

    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        """The date of the first day, under which sums are kept."""
        return self.start.date().isoformat()


def meter_period(anchor: datetime | None, now: datetime) -> MeterPeriod:
    """The period that `now` lies in: months from the anchor's day and time, else calendar months.

    An anchor on a day that a month does not have counts from that month's last day.
    """
    now = now.astimezone(UTC)
    anchor = (anchor or datetime(2000, 1, 1, tzinfo=UTC)).astimezone(UTC)
    start = _turn(anchor, now.year, now.month)
    if start <= now:
        return MeterPeriod(start, _turn(anchor, *_shifted(now.year, now.month, 1)))
    return MeterPeriod(_turn(anchor, *_shifted(now.year, now.month, -1)), start)


def _turn(anchor: datetime, year: int, month: int) -> datetime:
    """When the period of a month begins."""
    last_day = calendar.monthrange(year, month)[1]
    return anchor.replace(year=year, month=month, day=min(anchor.day, last_day))


def _shifted(year: int, month: int, by: int) -> tuple[int, int]:
    months = year * 12 + month - 1 + by
    return months // 12, months % 12 + 1
