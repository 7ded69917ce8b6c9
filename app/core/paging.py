"""Pages of lists: the query parameters, the answer, and signed cursors over `(created_at, id)`."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import Field, model_validator
from sqlalchemy import ColumnElement, Select, func, literal, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from app.core.config import get_settings
from app.core.crypto import decode_base64url, encode_base64url, key_ring, mac, mac_matches
from app.core.database import ScopedSession
from app.core.errors import FieldError, Invalid
from app.schemas.base import Output, Query, QueryInt

T = TypeVar("T")

TAG_BYTES = 32

DEEPEST_ROW = 10_000
"""`page * limit` may not go beyond this: an offset costs as much as all rows before it."""


class PageQuery(Query):
    """What every list takes: `limit`, and either `cursor` (keyset) or `page` (numbered), never both."""

    limit: QueryInt = Field(20, ge=1, le=100, description="Items of a page.")
    cursor: str | None = Field(
        None, min_length=1, max_length=512, description="`next_cursor` of the page before."
    )
    page: QueryInt | None = Field(None, ge=1, le=10_000, description="Numbered page, from 1; brings `total`.")
    count: bool = Field(False, description="Whether to answer `total` with a cursor too.")

    @model_validator(mode="after")
    def _one_mode(self) -> "PageQuery":
        if self.cursor is not None and self.page is not None:
            raise ValueError("send `cursor` or `page`, not both")
        return self

    def filters(self) -> dict[str, Any]:
        """Everything but the position: what a cursor is bound to."""
        return self.model_dump(mode="json", exclude={"limit", "cursor", "page", "count"}, exclude_none=True)


class Page(Output, Generic[T]):
    """One page of a list."""

    items: list[T]
    next_cursor: str | None = Field(
        description="Send it as `cursor` for the next page; null on the last one."
    )
    total: int | None = Field(
        description="With `page` or `count=true`: how many there are; 10000 means that many or more."
    )


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """A page before it is rendered."""

    items: Sequence[T]
    next_cursor: str | None = None
    total: int | None = None

    def map(self, render: Callable[[T], Any]) -> "Rows[Any]":
        """The same page with every item rendered."""
        return Rows([render(item) for item in self.items], self.next_cursor, self.total)


@dataclass(frozen=True, slots=True)
class Sort:
    """One order of a list. `has_cursor`: it is by `(created_at, id)`, so keyset paging works with it."""

    column: InstrumentedAttribute[Any]
    is_descending: bool
    has_cursor: bool = False


@dataclass(frozen=True, slots=True)
class Keyset:
    """The pair of columns that a list is paged by."""

    created_at: InstrumentedAttribute[datetime]
    id: InstrumentedAttribute[UUID]


def page_json(items: str, next_cursor: str | None, total: int | None) -> bytes:
    """A `Page` whose items are JSON already, with commas between them."""
    rest = json.dumps({"next_cursor": next_cursor, "total": total}, separators=(",", ":"))
    return f'{{"items":[{items}],{rest[1:]}'.encode()


class Pager:
    """Fetches one page of a statement in a closed list of orders."""

    def __init__(self, name: str, keyset: Keyset, sorts: Mapping[str, Sort]) -> None:
        self.name = name
        self.keyset = keyset
        self.sorts = sorts

    async def rows(
        self,
        session: ScopedSession,
        statement: Select[Any],
        query: PageQuery,
        sort: str,
        *,
        is_scalar: bool = True,
    ) -> Rows[Any]:
        """The page that `query` asks for: one statement, and one more for `total`.

        `is_scalar`: the statement selects one entity; otherwise whole rows come back, which carry the
        keyset's columns under the names `created_at` and `id`.
        """
        order = self.sorts[sort]
        if query.cursor is not None and not order.has_cursor:
            raise _invalid(
                "/cursor", "sort_needs_page", "Use `page` with this sort, or sort by `created_at`."
            )
        offset = offset_of(query)
        total = await self._total(session, statement) if query.page is not None or query.count else None
        scope = self._scope(session, query, sort)
        paged = self._ordered(statement, order).limit(query.limit + 1)
        if query.page is not None:
            paged = paged.offset(offset)
        elif query.cursor is not None:
            paged = paged.where(self._after(read_cursor(query.cursor, scope), order))
        result = await session.execute(paged)
        found: Sequence[Any] = result.scalars().all() if is_scalar else result.all()
        items = found[: query.limit]
        has_more = len(found) > query.limit and order.has_cursor
        last = items[-1] if has_more else None
        return Rows(items, make_cursor(scope, last.created_at, last.id) if last is not None else None, total)

    def position(self, session: ScopedSession, query: PageQuery, sort: str) -> tuple[datetime, UUID] | None:
        """Where the page of a sort that has cursors begins; None for the first one. 422 `cursor_invalid`."""
        if query.cursor is None:
            return None
        return read_cursor(query.cursor, self._scope(session, query, sort))

    def cursor(
        self, session: ScopedSession, query: PageQuery, sort: str, last: tuple[datetime, UUID] | None
    ) -> str | None:
        """The cursor behind the last row of a page; None when there is nothing behind it."""
        return None if last is None else make_cursor(self._scope(session, query, sort), *last)

    def _ordered(self, statement: Select[Any], order: Sort) -> Select[Any]:
        columns: list[ColumnElement[Any] | InstrumentedAttribute[Any]]
        columns = (
            [self.keyset.created_at, self.keyset.id] if order.has_cursor else [order.column, self.keyset.id]
        )
        return statement.order_by(
            *(column.desc() if order.is_descending else column.asc() for column in columns)
        )

    def _after(self, position: tuple[datetime, UUID], order: Sort) -> ColumnElement[bool]:
        here = tuple_(self.keyset.created_at, self.keyset.id)
        there = tuple_(
            literal(position[0], self.keyset.created_at.type), literal(position[1], self.keyset.id.type)
        )
        return here < there if order.is_descending else here > there

    async def _total(self, session: ScopedSession, statement: Select[Any]) -> int:
        """How many rows there are, counted up to the cap."""
        some = (
            statement.with_only_columns(literal(1), maintain_column_froms=True)
            .order_by(None)
            .limit(get_settings().list_total_cap)
        )
        return int((await session.scalar(select(func.count()).select_from(some.subquery()))) or 0)

    def _scope(self, session: ScopedSession, query: PageQuery, sort: str) -> bytes:
        principal = session.principal
        whose = [str(principal.organization_id), str(principal.actor_id)] if principal else []
        return json.dumps([self.name, sort, whose, query.filters()], sort_keys=True).encode()


def offset_of(query: PageQuery) -> int:
    """How many rows a numbered page passes over; 422 `page_too_deep`."""
    if query.page is None:
        return 0
    if query.page * query.limit > DEEPEST_ROW:
        raise _invalid("/page", "page_too_deep", "Go on with a cursor, or narrow the filters.")
    return (query.page - 1) * query.limit


def page_of_all(items: Sequence[T], query: PageQuery, scope: bytes) -> Rows[T]:
    """A page of what is in memory, in its order. 422 as for every list."""
    begin = offset_of(query) if query.cursor is None else read_number(query.cursor, scope)
    end = begin + query.limit
    return Rows(
        items[begin:end],
        make_number(scope, end) if end < len(items) else None,
        len(items) if query.page is not None or query.count else None,
    )


def make_number(scope: bytes, number: int) -> str:
    """A cursor of a list in the order of a number, which travels as the id."""
    return make_cursor(scope, _NO_MOMENT, UUID(int=number))


def read_number(cursor: str, scope: bytes) -> int:
    """The number that such a cursor holds; 422 as `read_cursor`."""
    return read_cursor(cursor, scope)[1].int


_NO_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)


def make_cursor(scope: bytes, created_at: datetime, identifier: UUID) -> str:
    """A position in one list of one caller, signed so that nobody can make or move one."""
    position = json.dumps([created_at.isoformat(), identifier.hex]).encode()
    tag = mac(key_ring(), "cursor", hashlib.sha256(scope).digest() + position)
    return encode_base64url(tag + position)


def read_cursor(cursor: str, scope: bytes) -> tuple[datetime, UUID]:
    """The position that a cursor holds; 422 when it is forged or of another list, filter or caller."""
    raw = decode_base64url(cursor) or b""
    tag, position = raw[:TAG_BYTES], raw[TAG_BYTES:]
    signed = hashlib.sha256(scope).digest() + position
    if not position or not mac_matches(key_ring(), "cursor", signed, tag):
        raise _invalid("/cursor", "cursor_invalid", "This cursor is not of this list; begin without one.")
    moment, identifier = json.loads(position)
    return datetime.fromisoformat(moment), UUID(hex=identifier)


def _invalid(pointer: str, code: str, detail: str) -> Invalid:
    return Invalid(code, detail, errors=[FieldError(pointer, code, detail)])
