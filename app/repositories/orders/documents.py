"""Orders as the JSON of their answers, written by PostgreSQL in one statement.

The row guard does not see these statements: the owner is the first parameter of each, and every table that
is joined is joined by it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeAlias, cast
from uuid import UUID

from sqlalchemy import Table

from app.core.database import ScopedSession
from app.models.orders import Order, OrderItem, OrderPayment, OrderStatusHistory, Refund
from app.repositories.documents import Shape, list_of, members
from app.repositories.orders.orders import ORDER_NUMBER

ORDERS = cast("Table", Order.__table__)
ITEMS = cast("Table", OrderItem.__table__)
HISTORY = cast("Table", OrderStatusHistory.__table__)
PAYMENTS = cast("Table", OrderPayment.__table__)
REFUNDS = cast("Table", Refund.__table__)

States: TypeAlias = Mapping[tuple[str, str, bool], Sequence[str]]
"""What can be done with an order, by its status, its payment status and whether it is on hold."""

HELD = " on hold"
NEWEST = "ORDER BY created_at DESC, id DESC"


@dataclass(frozen=True, slots=True)
class OrderPage:
    """Orders as JSON with commas between them; `last` is where the next page begins, None on the last one."""

    items: str
    last: tuple[datetime, UUID] | None


@dataclass(frozen=True, slots=True)
class OrderDocument:
    """An order as JSON, and its version."""

    body: str
    version: int


class OrderDocuments:
    """Makes the statements of two response models: that of lists, and that of a single order.

    `states` says what `available_transitions` is. Each caller says whether it may see internal notes and
    payments.
    """

    def __init__(self, listed: Shape, single: Shape, states: States) -> None:
        self._listed = _members(listed, states)
        self._single = _members(single, states)
        self.statement_of_page = lru_cache(maxsize=256)(self._page)

    async def newest(
        self,
        session: ScopedSession,
        organization_id: UUID,
        *,
        limit: int,
        before: tuple[datetime, UUID] | None,
        may_write: bool,
    ) -> OrderPage:
        """The newest orders of an organisation, or those before a place in that order."""
        statement = self.statement_of_page(limit, before is not None)
        (row,) = await session.fetch(statement, organization_id, may_write, *(before or ()))
        # The last row of a full page, and the one behind it if there is one.
        ends: Sequence[Any] = row[1] or ()
        return OrderPage(row[0] or "", (ends[0][0], ends[0][1]) if len(ends) > 1 else None)

    async def chosen(
        self, session: ScopedSession, organization_id: UUID, ids: Sequence[UUID], *, may_write: bool
    ) -> str:
        """These orders of an organisation in this order, with commas between them."""
        statement = f"""
            SELECT string_agg(row_to_json(d)::text, ',' ORDER BY chosen.place)
            FROM unnest($3::uuid[]) WITH ORDINALITY AS chosen (order_id, place)
            JOIN orders o ON o.organization_id = $1 AND o.id = chosen.order_id
            CROSS JOIN LATERAL (SELECT {self._listed}) d"""  # noqa: S608 - names of the code
        (row,) = await session.fetch(statement, organization_id, may_write, list(ids))
        return row[0] or ""

    async def single(
        self, session: ScopedSession, organization_id: UUID, reference: str, *, may_write: bool
    ) -> OrderDocument | None:
        """The order with this id or number, with everything about it."""
        name: UUID | str = reference
        column = "order_number"
        if not ORDER_NUMBER.fullmatch(reference):
            column = "id"
            try:
                name = UUID(reference)
            except ValueError:
                return None
        statement = f"""
            SELECT row_to_json(d)::text, d.version
            FROM (SELECT {self._single} FROM orders o WHERE o.organization_id = $1 AND o.{column} = $3) d"""  # noqa: S608 - names of the code
        rows = await session.fetch(statement, organization_id, may_write, name)
        return OrderDocument(*rows[0]) if rows else None

    def _page(self, limit: int, is_before: bool) -> str:
        """The statement of a page. Its limit is written out, so that its plan fits every owner."""
        place = "AND (created_at, id) < ($3, $4)" if is_before else ""
        mine = f"FROM orders WHERE organization_id = $1 {place} {NEWEST}"
        return f"""
            SELECT string_agg(row_to_json(d)::text, ','),
                   (SELECT array_agg(ends) FROM (
                     SELECT created_at, id {mine} OFFSET {limit - 1:d} LIMIT 2) ends)
            FROM (SELECT {self._listed} FROM (SELECT * {mine} LIMIT {limit:d}) o) d"""  # noqa: S608 - names of the code


def _members(shape: Shape, states: States) -> str:
    """The columns of an order `o`, with what hangs on it."""
    parts = {name: inner for name, inner in shape.items() if inner is not None}
    tables = {"order_items": (ITEMS, "position"), "history": (HISTORY, "position")}
    tables |= {"refunds": (REFUNDS, "id"), "payments": (PAYMENTS, "id")}
    given = {
        name: _rows(parts[name], table, order) for name, (table, order) in tables.items() if name in parts
    }
    if "payments" in given:
        given["payments"] = f"CASE WHEN $2 THEN {given['payments']} END"
    given["internal_notes"] = "CASE WHEN $2 THEN o.internal_notes END"
    given["available_transitions"] = transitions(states)
    return members(shape, ORDERS, "o", given)


def _rows(shape: Shape, table: Table, order: str) -> str:
    """The rows of a table that belong to an order `o`."""
    select = f"SELECT {members(shape, table, 'r')} FROM {table.name} r"  # noqa: S608 - names of the code
    mine = "r.organization_id = o.organization_id AND r.order_id = o.id"
    return list_of(f"{select} WHERE {mine} ORDER BY r.{order}")


def transitions(states: States) -> str:
    """The list for the state of an order `o`: that of its state if it has one, else that of its status."""
    by_status: dict[str, list[list[str]]] = {}
    for (status, _, _), targets in states.items():
        by_status.setdefault(status, []).append(list(targets))
    usual = {status: max(found, key=found.count) for status, found in by_status.items()}
    unusual = {
        f"{status} {payment_status}{HELD if is_on_hold else ''}": targets
        for (status, payment_status, is_on_hold), targets in states.items()
        if targets != usual[status]
    }
    held = f"CASE WHEN o.hold_reason IS NULL THEN '' ELSE '{HELD}' END"
    state = f"o.status || ' ' || o.payment_status || {held}"
    return f"coalesce('{json.dumps(unusual)}'::jsonb -> ({state}), '{json.dumps(usual)}'::jsonb -> o.status)"
