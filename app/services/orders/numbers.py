"""The series that order numbers come from."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.models.orders import OrderSettings
from app.repositories.orders.placing import Series


def order_series(settings: OrderSettings, now: datetime) -> Series:
    """The series of orders placed now: its year is that of the organisation's time zone."""
    try:
        zone = ZoneInfo(settings.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        return Series(settings.number_prefix, f"{now.astimezone(UTC).year:04d}")
    return Series(settings.number_prefix, f"{now.astimezone(zone).year:04d}")
