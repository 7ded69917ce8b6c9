"""Counts what is used, under the limits of plans, each thing once.

The row guard does not see these statements: the owner is a parameter of each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from app.core.database import ScopedSession

GAUGE = "gauge"
"""The period of the rows under whose lock things are added that a plan has room for."""


def counting(first: int) -> str:
    """The parts of a WITH that count something once: `terms`, `event` and `metric`.

    The owner is `$1`; what `Use.values` says are the parameters from `$first`. The event comes in unless it
    stands there already; then the sum takes it, if the limit has room for it. Limit and period are those that
    `entitlements` and `meter_period` say, where a statement needs them. Without room `metric` has no row.
    """
    now, metric, grace_days, key, quantity, subject, expires_at, is_strict = (
        f"${number}" for number in range(first, first + 8)
    )
    return f"""
    terms AS (
      SELECT room.allowed, s.anchor, to_char(coalesce(
               CASE WHEN s.anchor + make_interval(months => s.turns) <= {now}
               THEN s.anchor + make_interval(months => s.turns)
               ELSE s.anchor + make_interval(months => s.turns - 1) END,
               date_trunc('month', {now}::timestamptz)) AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS period
      FROM (
        SELECT (p.limits ->> {metric})::bigint AS allowed
        FROM plans p
        LEFT JOIN subscriptions s ON s.organization_id = $1 AND s.plan_code = p.code
          AND (s.status IN ('trialing', 'active')
               OR (s.status = 'past_due'
                   AND coalesce(s.past_due_since, {now}) + make_interval(days => {grace_days}) > {now}))
        WHERE p.code = 'free' OR s.id IS NOT NULL OR EXISTS (
          SELECT FROM plan_grants g
          WHERE g.organization_id = $1 AND g.plan_code = p.code AND g.starts_at <= {now}
            AND (g.ends_at IS NULL OR g.ends_at > {now}))
        ORDER BY p.rank DESC LIMIT 1) room
      LEFT JOIN (
        SELECT meter_anchor_at AS anchor,
               ((extract(year FROM {now}::timestamptz) - extract(year FROM meter_anchor_at)) * 12
                + extract(month FROM {now}::timestamptz) - extract(month FROM meter_anchor_at))::int AS turns
        FROM subscriptions WHERE organization_id = $1
          AND status IN ('incomplete', 'trialing', 'active', 'past_due', 'unpaid', 'paused')) s ON true),
    event AS (
      INSERT INTO usage_events AS u (organization_id, idempotency_key, metric, period, quantity, subject,
                                     status, expires_at, occurred_at)
      SELECT $1, {key}, {metric}, terms.period, {quantity}, {subject},
             CASE WHEN {expires_at}::timestamptz IS NULL THEN 'counted' ELSE 'reserved' END,
             {expires_at}::timestamptz, {now}
      FROM terms
      ON CONFLICT (organization_id, idempotency_key) DO UPDATE
      SET metric = excluded.metric, period = excluded.period, quantity = excluded.quantity,
          subject = excluded.subject, status = excluded.status, expires_at = excluded.expires_at,
          occurred_at = excluded.occurred_at
      WHERE u.status = 'released'
      RETURNING quantity),
    metric AS (
      INSERT INTO usage_metrics AS m (organization_id, metric_type, period, value, hard_limit)
      SELECT $1, {metric}, terms.period, event.quantity, terms.allowed FROM event, terms
      WHERE NOT {is_strict}::boolean OR terms.allowed IS NULL OR event.quantity <= terms.allowed
      ON CONFLICT (organization_id, metric_type, period) DO UPDATE
      SET value = m.value + excluded.value, hard_limit = excluded.hard_limit, updated_at = now()
      WHERE NOT {is_strict}::boolean OR excluded.hard_limit IS NULL
         OR m.value + excluded.value <= excluded.hard_limit
      RETURNING value, notified_pct)"""  # noqa: S608 - numbers of parameters


COUNTED = """
    EXISTS (SELECT FROM event), terms.allowed, terms.anchor, terms.period,
    metric.value, metric.notified_pct"""
"""What `Counted` holds, of `terms LEFT JOIN metric`."""

COUNT = f"WITH {counting(2)} SELECT {COUNTED} FROM terms LEFT JOIN metric ON true"  # noqa: S608 - as above

RELEASED = """
    WITH gone AS (
      UPDATE usage_events SET status = 'released', expires_at = NULL
      WHERE organization_id = $1 AND idempotency_key = $2 AND status = 'reserved'
      RETURNING metric, period, quantity)
    UPDATE usage_metrics m SET value = greatest(m.value - gone.quantity, 0), updated_at = now()
    FROM gone WHERE m.organization_id = $1 AND m.metric_type = gone.metric AND m.period = gone.period
    RETURNING m.value
    """

CONFIRMED = """
    UPDATE usage_events SET status = 'counted', expires_at = NULL
    WHERE organization_id = $1 AND idempotency_key = $2 AND status = 'reserved' RETURNING idempotency_key
    """

RECALLED = """
    WITH back AS (
      UPDATE usage_events SET status = 'counted', expires_at = NULL
      WHERE organization_id = $1 AND idempotency_key = $2 AND status = 'released'
      RETURNING metric, period, quantity)
    UPDATE usage_metrics m SET value = m.value + back.quantity, updated_at = now()
    FROM back WHERE m.organization_id = $1 AND m.metric_type = back.metric AND m.period = back.period
    RETURNING m.value
    """

REFUSED = """
    UPDATE usage_events SET status = 'released', expires_at = NULL
    WHERE organization_id = $1 AND idempotency_key = $2
    """

USED = "SELECT value FROM usage_metrics WHERE organization_id = $1 AND metric_type = $2 AND period = $3"

EVENT = "SELECT period, quantity FROM usage_events WHERE organization_id = $1 AND idempotency_key = $2"

USED_ALL = "SELECT metric_type, value FROM usage_metrics WHERE organization_id = $1 AND period = $2"

NOTIFIED = """
    UPDATE usage_metrics SET notified_pct = $4
    WHERE organization_id = $1 AND metric_type = $2 AND period = $3 AND notified_pct < $4 RETURNING value
    """

LOCK_GAUGE = f"""
    INSERT INTO usage_metrics (organization_id, metric_type, period) VALUES ($1, $2, '{GAUGE}')
    ON CONFLICT (organization_id, metric_type, period) DO UPDATE SET updated_at = now()
    """  # noqa: S608 - a word of the code

GAUGES = """
    SELECT (SELECT count(*) FROM team_members WHERE organization_id = $1),
           (SELECT count(*) FROM products WHERE organization_id = $1 AND deleted_at IS NULL),
           (SELECT coalesce(sum(bytes_used), 0) FROM storage_usage WHERE organization_id = $1),
           (SELECT count(*) FROM api_keys WHERE organization_id = $1 AND revoked_at IS NULL
              AND grace_until IS NULL AND (expires_at IS NULL OR expires_at > $2)),
           (SELECT count(*) FROM webhook_endpoints WHERE organization_id = $1)
    """

PRODUCTS = "SELECT count(*) FROM products WHERE organization_id = $1 AND deleted_at IS NULL"

EXPIRED = """
    SELECT organization_id, idempotency_key FROM usage_events
    WHERE status = 'reserved' AND expires_at <= $1 ORDER BY expires_at LIMIT $2
    """

PRUNE = """
    DELETE FROM usage_events WHERE (organization_id, idempotency_key) IN (
      SELECT organization_id, idempotency_key FROM usage_events
      WHERE occurred_at < $1 AND status <> 'reserved' LIMIT $2)
    RETURNING 1
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Something that is counted under a key, or with `expires_at` reserved.

    `is_strict` holds the limit, otherwise it is only noted. `grace_days`: so long a plan that is past due
    still counts.
    """

    key: str
    metric: str
    quantity: int
    occurred_at: datetime
    grace_days: int
    is_strict: bool = True
    expires_at: datetime | None = None
    subject: str | None = None

    @property
    def values(self) -> tuple[Any, ...]:
        """The parameters of `counting`."""
        return (
            self.occurred_at,
            self.metric,
            self.grace_days,
            self.key,
            self.quantity,
            self.subject,
            self.expires_at,
            self.is_strict,
        )


class Counted(NamedTuple):
    """What became of one count: whether it is new, and the sum after it, None when there was no room.

    `period` is the one it counts in: a month from `anchor`'s day on, None for those of the calendar.
    """

    is_new: bool
    limit: int | None
    anchor: datetime | None
    period: str
    value: int | None
    notified_pct: int | None


class UsageRepository:
    """What one organisation has used."""

    def __init__(self, session: ScopedSession, organization_id: UUID) -> None:
        self.session = session
        self.organization_id = organization_id

    async def count(self, use: Use) -> Counted:
        """Count or reserve something once."""
        (row,) = await self.session.fetch(COUNT, self.organization_id, *use.values)
        return Counted(*row)

    async def refuse(self, key: str) -> None:
        """Mark an event that its sum had no room for, so that it counts for nothing whoever commits it."""
        await self.session.fetch(REFUSED, self.organization_id, key)

    async def confirm(self, key: str) -> bool:
        """Make a reservation a count; False when there is none under this key."""
        return bool(await self.session.fetch(CONFIRMED, self.organization_id, key))

    async def recall(self, key: str) -> bool:
        """Count what was released already, whatever the limit; False when nothing was."""
        return bool(await self.session.fetch(RECALLED, self.organization_id, key))

    async def release(self, key: str) -> bool:
        """Give a reservation back; False when there is none under this key."""
        return bool(await self.session.fetch(RELEASED, self.organization_id, key))

    async def event(self, key: str) -> tuple[str, int]:
        """Period and quantity of what was counted under a key."""
        (row,) = await self.session.fetch(EVENT, self.organization_id, key)
        return str(row[0]), int(row[1])

    async def used(self, metric: str, period: str) -> int:
        """The sum of one counter in a period."""
        rows = await self.session.fetch(USED, self.organization_id, metric, period)
        return int(rows[0][0]) if rows else 0

    async def counters(self, period: str) -> Mapping[str, int]:
        """The sums of all counters in a period; one that nobody used is not there."""
        rows = await self.session.fetch(USED_ALL, self.organization_id, period)
        return {row[0]: int(row[1]) for row in rows}

    async def mark_notified(self, metric: str, period: str, percent: int) -> bool:
        """Note that this share was told of; False when it was already."""
        return bool(await self.session.fetch(NOTIFIED, self.organization_id, metric, period, percent))

    async def lock_gauge(self, metric: str) -> None:
        """Let nobody else add such things until the transaction ends."""
        await self.session.fetch(LOCK_GAUGE, self.organization_id, metric)

    async def products(self) -> int:
        """How many products there are."""
        (row,) = await self.session.fetch(PRODUCTS, self.organization_id)
        return int(row[0])

    async def gauges(self, now: datetime) -> Mapping[str, int]:
        """How many things there are of each kind that a plan has room for."""
        (row,) = await self.session.fetch(GAUGES, self.organization_id, now)
        names = ("team_members", "products", "storage_bytes", "api_keys", "webhook_endpoints")
        return {name: int(value) for name, value in zip(names, row, strict=True)}


async def expired(session: ScopedSession, now: datetime, limit: int) -> Sequence[tuple[UUID, str]]:
    """Reservations of every organisation whose time is over, those over for longest first."""
    return [(row[0], row[1]) for row in await session.fetch(EXPIRED, now, limit)]


async def prune(session: ScopedSession, before: datetime, limit: int) -> int:
    """Forget what was counted before a moment; the sums stay. How many."""
    return len(await session.fetch(PRUNE, before, limit))
