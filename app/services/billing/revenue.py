"""Owns what people read of the ledger: its entries, and revenue by time, source and product."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import FieldError, Invalid
from app.core.paging import Keyset, Pager, Rows, Sort
from app.models.billing import RevenueEntry
from app.repositories.billing.revenue import RevenueRepository, Span, Sum
from app.schemas.billing.revenue import (
    DEFAULT_RANGE_DAYS,
    LONGEST_RANGE_DAYS,
    EntryQuery,
    EntryRead,
    RevenueCurrency,
    RevenueGroup,
    RevenueQuery,
    RevenueRead,
)

TIME_ZONE = "Europe/Paris"
"""What the order settings say before their first use."""

NEWEST_FIRST = "-recorded_at"
PAGER = Pager(
    "revenue_entries",
    Keyset(RevenueEntry.recorded_at, RevenueEntry.id),
    {NEWEST_FIRST: Sort(RevenueEntry.recorded_at, True, has_cursor=True)},
)

MEMBERS: Mapping[str, str] = {
    "charge": "charges",
    "refund": "refunds",
    "refund_reversal": "refunds",
    "dispute": "disputes",
    "dispute_reversal": "disputes",
    "fee": "fees",
    "adjustment": "adjustments",
}
"""Which member of an answer counts which kind of entry."""

Amounts = dict[str, int]


class RevenueService:
    """Adds up the ledger; currencies and accounts are never added to each other."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.revenue = RevenueRepository(session)

    async def entries(self, query: EntryQuery) -> Rows[EntryRead]:
        """A page of entries, the newest first."""
        statement = self.revenue.matching(
            query.from_,
            query.to,
            currency=query.currency,
            account=query.account,
            source=query.source,
            entry_type=query.entry_type,
            order_id=query.order_id,
        )
        rows = await PAGER.rows(self.session, statement, query, NEWEST_FIRST, is_scalar=False)
        return rows.map(EntryRead.model_validate)

    async def get(self, query: RevenueQuery) -> RevenueRead:
        """Revenue of a half-open range per currency. 422 `range_invalid`, `range_too_long`."""
        since, until = await self._range(query)
        time_zone = await self.revenue.time_zone() or TIME_ZONE
        # No entry is later than now, but in the same moment one may be: then the range has no end.
        span = Span(query.account, since, query.to, query.currency)
        names: Mapping[str, str] = {}
        if query.group_by in ("day", "week", "month"):
            sums = await self.revenue.by_period(span, query.group_by, time_zone)
        else:
            sums = await self.revenue.by_source(span)
        totals = _added(sums, is_total=True)
        if query.group_by == "product":
            parts, names = await self.revenue.by_product(span)
            groups = _with_rest(_added(parts), totals)
        else:
            groups = _added(sums)
        return RevenueRead(
            from_=since,
            to=until,
            account=query.account,
            group_by=query.group_by,
            time_zone=time_zone,
            currencies=[
                RevenueCurrency(
                    currency=currency, groups=_shown(currency, groups, names), **_members(amounts)
                )
                for (currency, _), amounts in sorted(totals.items())
            ],
        )

    async def _range(self, query: RevenueQuery) -> tuple[datetime, datetime]:
        until = query.to or await self.session.now()
        earliest = datetime.min.replace(tzinfo=until.tzinfo)
        days = timedelta(days=DEFAULT_RANGE_DAYS)
        since = query.from_ or (until - days if until - earliest > days else earliest)
        if since > until:
            raise _fault("range_invalid", "The range begins after its end.")
        if until - since > timedelta(days=LONGEST_RANGE_DAYS):
            raise _fault("range_too_long", f"A range has at most {LONGEST_RANGE_DAYS} days.")
        return since, until


Key = tuple[str, str | None]
"""A currency, and what is grouped by."""


def _added(sums: Iterable[Sum], *, is_total: bool = False) -> dict[Key, Amounts]:
    """Amounts by kind, for each currency and group, or for each currency alone."""
    found: dict[Key, Amounts] = defaultdict(lambda: defaultdict(int))
    for one in sums:
        found[one.currency, None if is_total else one.key][MEMBERS[one.entry_type]] += one.amount
    return dict(found)


def _with_rest(groups: dict[Key, Amounts], totals: Mapping[Key, Amounts]) -> dict[Key, Amounts]:
    """The groups, and what of each currency's total is in none of them."""
    rest = {key: dict(amounts) for key, amounts in totals.items()}
    for (currency, _), amounts in groups.items():
        for member, amount in amounts.items():
            rest[currency, None][member] -= amount
    return {**groups, **{key: amounts for key, amounts in rest.items() if any(amounts.values())}}


def _shown(currency: str, groups: Mapping[Key, Amounts], names: Mapping[str, str]) -> list[RevenueGroup]:
    """The groups of a currency by their keys, that of no product last."""
    own = [(key, amounts) for (owner, key), amounts in groups.items() if owner == currency]
    own.sort(key=lambda item: (item[0] is None, item[0] or ""))
    return [
        RevenueGroup(key=key, name=names.get(key) if key is not None else None, **_members(amounts))
        for key, amounts in own
    ]


def _members(amounts: Mapping[str, int]) -> dict[str, int]:
    members = {name: amounts.get(name, 0) for name in dict.fromkeys(MEMBERS.values())}
    return {**members, "net": sum(members.values())}


def _fault(code: str, detail: str) -> Invalid:
    return Invalid(code, detail, errors=[FieldError("/from", code, detail)])


Revenues = Annotated[RevenueService, Depends()]
