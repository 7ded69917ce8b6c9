"""Orders in numbers: how many, in which states, and what was paid, per currency."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Annotated, Any, get_args

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.money import half_up
from app.core.permissions import Permission
from app.repositories.orders.stats import OrderCounts, count_orders
from app.schemas.orders import OrderStatus, PaymentStatus
from app.schemas.orders.stats import (
    DEFAULT_RANGE_DAYS,
    LONGEST_RANGE_DAYS,
    CurrencyStats,
    OrderStats,
    OrderStatsQuery,
)
from app.services.orders.faults import fault


class OrderStatsService:
    """Counts the organisation's orders; currencies are never added to each other."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal

    async def get(self, query: OrderStatsQuery) -> OrderStats:
        """The orders made within a half-open range. 422 `range_invalid`, `range_too_long`.

        Amounts are null for callers without `billing:read`.
        """
        since, until = await self._range(query)
        # No order is made later than now, but in the same moment one may be: then the range has no end.
        counts = await count_orders(self.session, since, query.to)
        may_see = self.principal.may(Permission.billing_read)
        currencies = [
            _stats(currency, list(rows), may_see)
            for currency, rows in groupby(counts, lambda row: row.currency)
        ]
        return OrderStats(from_=since, to=until, currencies=currencies)

    async def _range(self, query: OrderStatsQuery) -> tuple[datetime, datetime]:
        until = query.to or await self.session.now()
        since = query.from_ or _days_before(until, DEFAULT_RANGE_DAYS)
        if since > until:
            raise fault("/from", "range_invalid", "The range begins after its end.")
        if until - since > timedelta(days=LONGEST_RANGE_DAYS):
            raise fault("/from", "range_too_long", f"A range has at most {LONGEST_RANGE_DAYS} days.")
        return since, until


def _days_before(moment: datetime, days: int) -> datetime:
    """The moment so many days earlier; the first moment there is when none is that early."""
    earliest = datetime.min.replace(tzinfo=moment.tzinfo)
    return max(moment, earliest + timedelta(days=days)) - timedelta(days=days)


def _stats(currency: str, rows: Sequence[OrderCounts], may_see: bool) -> CurrencyStats:
    """The numbers of one currency; every state is named, also one that no order is in."""
    gross = sum(row.amount_paid for row in rows)
    refunded = sum(row.amount_refunded for row in rows)
    paid_orders = sum(row.paid_orders for row in rows)
    amounts = {
        "gross_amount": gross,
        "refunded_amount": refunded,
        "net_amount": gross - refunded,
        "average_amount": half_up(gross, paid_orders) if paid_orders else 0,
    }
    return CurrencyStats(
        currency=currency,
        orders_count=sum(row.orders for row in rows),
        by_status=_counted(rows, get_args(OrderStatus), lambda row: row.status),
        by_payment_status=_counted(rows, get_args(PaymentStatus), lambda row: row.payment_status),
        **{name: amount if may_see else None for name, amount in amounts.items()},
    )


def _counted(
    rows: Sequence[OrderCounts], names: Sequence[Any], state: Callable[[OrderCounts], str]
) -> dict[Any, int]:
    return {name: sum(row.orders for row in rows if state(row) == name) for name in names}


OrderNumbers = Annotated[OrderStatsService, Depends()]
