"""The database: engine, the two kinds of session, the row guard, the request's transaction, the commit."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, TypeVar, cast
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy import URL, ClauseElement, Executable, Select, event, false, func, make_url, select
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import ORMExecuteState, Session, UOWTransaction, with_loader_criteria
from sqlalchemy.sql import visitors
from sqlalchemy.sql.base import ExecutableOption
from sqlalchemy.sql.selectable import AliasedReturnsRows, SelectBase

from app.core import clock, reads
from app.core.access import CurrentPrincipal, Principal
from app.core.acting import ACT_AS_SQL, acting_values
from app.core.events import announce_commit
from app.core.idempotency import Claim, claim_of
from app.core.reads import Begun, InnerReads, PooledReads, Reads
from app.models.base import Base, Owned, Personal, Reference, Shared, System

READS = frozenset({"GET", "HEAD", "OPTIONS"})

LOCK_TIMEOUT = "5s"
"""How long a statement waits for what another transaction holds."""

S = TypeVar("S", bound="ScopedSession")


class ForeignRowError(Exception):
    """A defect of ours: an OwnerSession was about to write a row that is not its owner's."""


class _OwnerSyncSession(Session):
    """The synchronous half of OwnerSession; the row guard listens on this class."""


class _SystemSyncSession(Session):
    """The synchronous half of SystemSession."""


class ScopedSession(AsyncSession):
    """What both kinds of session share: who acts, and the time of the transaction."""

    @property
    def principal(self) -> Principal | None:
        return cast("Principal | None", self.info.get("principal"))

    async def now(self) -> datetime:
        """The database's clock, read once per transaction, so that machines whose clocks differ agree."""
        known: datetime | None = self.info.get("now")
        return known or self.learn_now((await self.execute(select(func.now()))).scalar_one())

    def learn_now(self, now: datetime) -> datetime:
        """Keep the time that a statement of this transaction answered beside what it was asked for."""
        self.info["now"] = known = now + clock.offset()
        return known

    async def fetch(self, statement: str, *values: Any) -> Sequence[Any]:
        """Run one statement in SQL, whose parameters are `$1`, `$2`, …, and answer its rows.

        The row guard does not see it: the owner is one of the values. It goes straight to the driver, but for
        the first one of a transaction.
        """
        reads: Reads | None = self.info.get("reads")
        if reads is not None and not self.in_transaction():
            return await reads.rows(statement, *values)
        begun: Begun | None = self.info.get("begun")
        if begun is not None and begun.transaction is self.sync_session.get_transaction():
            return await begun.rows(statement, values)
        # The first statement begins the transaction, which is the session's affair.
        connection = await self.connection()
        result = await connection.exec_driver_sql(statement, values)
        if self.info.get("is_direct"):
            driver = (await connection.get_raw_connection()).driver_connection
            self.info["begun"] = Begun(self.sync_session.get_transaction(), driver)
        return result.all() if result.returns_rows else ()


class OwnerSession(ScopedSession):
    """Sees and writes the rows of one principal, whatever the query says. What routes and services get."""

    sync_session_class = _OwnerSyncSession


class SystemSession(ScopedSession):
    """Sees and writes every row: sign-in, signed webhooks, jobs. A short list of files may import it."""

    sync_session_class = _SystemSyncSession


@lru_cache(maxsize=1024)
def row_criteria(principal: Principal | None) -> Sequence[ExecutableOption]:
    """The conditions that every statement of an OwnerSession gets; without a principal nothing is visible.

    They are kept for the next request of the same principal, since making them costs more than a query.

    They are added always. Gating them on the entities that a statement names leaks through count, exists,
    joins and subqueries.
    """
    criteria: list[ExecutableOption] = [
        with_loader_criteria(System, lambda _: false(), include_aliases=True),
        _owned_by(principal.organization_id if principal else None),
        _personal_to(principal.user_id if principal else None),
    ]
    for mapper in Base.registry.mappers:
        if issubclass(mapper.class_, Shared) and not issubclass(mapper.class_, System):
            condition = mapper.class_.visible(principal) if principal else false()
            criteria.append(with_loader_criteria(mapper.class_, condition, include_aliases=True))
    return criteria


def _owned_by(organization_id: UUID | None) -> ExecutableOption:
    if organization_id is None:
        return with_loader_criteria(Owned, lambda _: false(), include_aliases=True)
    return with_loader_criteria(
        Owned, lambda cls: cls.organization_id == organization_id, include_aliases=True
    )


def _personal_to(user_id: UUID | None) -> ExecutableOption:
    if user_id is None:
        return with_loader_criteria(Personal, lambda _: false(), include_aliases=True)
    return with_loader_criteria(Personal, lambda cls: cls.user_id == user_id, include_aliases=True)


@event.listens_for(_OwnerSyncSession, "do_orm_execute")
def _guard_statement(state: ORMExecuteState) -> None:
    if state.is_insert and state.is_orm_statement:
        raise ForeignRowError("insert rows with Repository.add or Repository.upsert, which stamp the owner")
    mapper = state.bind_mapper
    if (state.is_update or state.is_delete) and mapper and issubclass(mapper.class_, Reference | Shared):
        raise ForeignRowError(f"{mapper.class_.__name__} is not written in bulk through an OwnerSession")
    _refuse_nameless(state.statement)
    info = state.session.info
    if "criteria" not in info:
        info["criteria"] = row_criteria(info.get("principal"))
    state.statement = state.statement.options(*info["criteria"])


def _refuse_nameless(statement: Executable) -> None:
    """Refuse a SELECT that uses a class's columns where SQLAlchemy sees no class, and so adds no owner.

    `select(func.count()).where(and_(Order.id == x, …))` is one; with `.select_from(Order)` it is seen.
    """
    for element in visitors.iterate(cast("ClauseElement", statement)):
        if isinstance(element, Select) and not element._propagate_attrs and _uses_class(element):
            raise ForeignRowError(
                "a SELECT names no class: add .select_from(Model), so that its owner is known"
            )


def _uses_class(statement: Select[Any]) -> bool:
    """Whether a mapped column stands in this SELECT itself, and not only in one inside it."""
    waiting = list(statement.get_children())
    while waiting:
        element = waiting.pop()
        if "parententity" in element._annotations:
            return True
        if not isinstance(element, SelectBase | AliasedReturnsRows):
            waiting.extend(element.get_children())
    return False


@event.listens_for(_OwnerSyncSession, "before_flush")
def _guard_flush(session: Session, context: UOWTransaction, instances: Any) -> None:  # noqa: ARG001 - a listener's signature
    principal: Principal | None = session.info.get("principal")
    for row in session.new:
        if isinstance(row, Owned) and row.organization_id is None and principal:
            row.organization_id = principal.organization_id
        elif isinstance(row, Personal) and row.user_id is None and principal:
            row.user_id = principal.user_id
    for row in (*session.new, *session.dirty, *session.deleted):
        if not _may_write(row, principal):
            raise ForeignRowError(f"a {type(row).__name__} of another owner was about to be written")


def _may_write(row: object, principal: Principal | None) -> bool:
    if principal is None:
        return False
    if isinstance(row, Owned):
        return row.organization_id is not None and row.organization_id == principal.organization_id
    if isinstance(row, Personal):
        return row.user_id is not None and row.user_id == principal.user_id
    return isinstance(row, Shared) and row.writable(principal)


class Database:
    """Hands out sessions over one engine, or in tests over one connection that never commits."""

    def __init__(self, engine: AsyncEngine, connection: AsyncConnection | None = None) -> None:
        self.engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._connection = connection
        self.reads: Reads = PooledReads(engine) if connection is None else InnerReads(connection)

    def owner(
        self, principal: Principal | None, *, autocommit: bool = False, request_id: str | None = None
    ) -> OwnerSession:
        """A session that sees the rows of `principal`; `autocommit` for reads, which need no transaction."""
        return OwnerSession(**self._bind(autocommit), info=self._info(autocommit, principal, request_id))

    def system(
        self,
        *,
        principal: Principal | None = None,
        autocommit: bool = False,
        request_id: str | None = None,
    ) -> SystemSession:
        """A session that sees every row. `principal` is only the actor that events and history name."""
        return SystemSession(**self._bind(autocommit), info=self._info(autocommit, principal, request_id))

    @asynccontextmanager
    async def transaction(
        self, *, principal: Principal | None = None, request_id: str | None = None
    ) -> AsyncIterator[SystemSession]:
        """An unscoped transaction of its own: committed at the end of the block, rolled back by an error."""
        async with self.system(principal=principal, request_id=request_id) as session:
            yield session
            await commit(session)

    @asynccontextmanager
    async def acting(
        self, principal: Principal, *, request_id: str | None = None
    ) -> AsyncIterator[OwnerSession]:
        """A transaction that sees the rows of `principal` only: what a job does for one organisation."""
        async with self.owner(principal, request_id=request_id) as session:
            yield session
            await commit(session)

    def _info(self, autocommit: bool, principal: Principal | None, request_id: str | None) -> dict[str, Any]:
        return {
            "principal": principal,
            "request_id": request_id,
            "reads": self.reads if autocommit else None,
            "is_direct": self._connection is None,
        }

    def _bind(self, autocommit: bool) -> dict[str, Any]:
        if self._connection is not None:
            return {
                "bind": self._connection,
                "join_transaction_mode": "create_savepoint",
                "expire_on_commit": False,
            }
        return {"bind": self._autocommit if autocommit else self.engine, "expire_on_commit": False}

    async def dispose(self) -> None:
        await self.reads.close()
        await self.engine.dispose()


def create_engine(url: str | URL, *, pool_size: int = 16, application_name: str = "luneo") -> AsyncEngine:
    """The engine of a process. Limits on locks and statements keep one stuck query from eating the pool."""
    engine = create_async_engine(
        make_url(url).set(drivername="postgresql+asyncpg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=reads.PATIENCE_SECONDS,
        pool_recycle=1800,
        hide_parameters=True,  # A failing statement is logged; what people sent must not be.
        json_serializer=lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
        connect_args={
            "timeout": 10,
            "server_settings": {
                "application_name": application_name,
                "timezone": "UTC",
                "jit": "off",
                "lock_timeout": LOCK_TIMEOUT,
                "statement_timeout": "60s",
                "idle_in_transaction_session_timeout": "60s",
            },
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(connection: Any, *_: object) -> None:
    """Let the pool replace a connection that PostgreSQL has closed meanwhile, which costs no round trip."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError("closed while it lay in the pool")


async def commit(session: AsyncSession) -> None:
    """The only commit of the service; tells the sequencer of this process when it carried an event."""
    await session.commit()
    if session.info.pop("has_emitted", False):
        announce_commit()


async def act_as(
    session: ScopedSession,
    *,
    reason: str | None = None,
    actor_type: str | None = None,
    actor_id: str | None = None,
    stripe_event_id: str | None = None,
) -> datetime:
    """Tell the triggers of this transaction who changes rows and why; answers the transaction's time.

    The actor is the session's principal unless one is named (a job, Stripe, a customer). What is said here
    ends with the transaction.
    """
    values = acting_values(
        session, reason=reason, actor_type=actor_type, actor_id=actor_id, stripe_event_id=stripe_event_id
    )
    (row,) = await session.fetch(ACT_AS_SQL, *values)
    return session.learn_now(row[0])


def database_of(request: Request) -> Database:
    """The database of the application that serves this request."""
    return cast("Database", request.app.state.database)


@asynccontextmanager
async def _end_with_handler(session: S, claim: Claim | None) -> AsyncIterator[S]:
    """Commit after the handler returned and before the answer starts; roll back before an error is rendered.

    A write with an Idempotency-Key is committed by the idempotency layer instead, together with its answer.
    """
    has_ended = False
    session.info["claim"] = claim
    try:
        if claim is not None:
            await claim.take(session)
        yield session
        if claim is not None:
            claim.hand_over(session, commit)
        else:
            await commit(session)
        has_ended = True
    finally:
        if not has_ended:
            await session.close()
            if claim is not None and claim.is_held:
                await claim.release(session)
                await commit(session)


async def let_go(session: ScopedSession) -> None:
    """End the request's transaction, of which nothing is kept, before somebody outside is asked.

    What was read stays as it was, and what follows happens in another transaction, at another time. The key
    of a repeated write is kept from others meanwhile: what was asked outside cannot be taken back.
    """
    # A rollback would have it read again.
    session.expunge_all()
    await session.rollback()
    session.info.pop("now", None)
    claim: Claim | None = session.info.get("claim")
    if claim is not None:
        await claim.hold(session)
        await commit(session)


async def owner_session(request: Request, principal: CurrentPrincipal) -> AsyncIterator[OwnerSession]:
    """The request's session, scoped to its principal."""
    is_read = request.method in READS
    session = database_of(request).owner(
        principal, autocommit=is_read, request_id=request.scope.get("luneo.request_id")
    )
    session.info["trace_id"] = request.scope.get("luneo.trace_id")
    if not is_read:
        async with _end_with_handler(session, claim_of(request.scope)) as scoped:
            yield scoped
        return
    # A read that asked past the session has begun nothing, and to end nothing costs as much as a query.
    try:
        yield session
        if session.in_transaction():
            await commit(session)
    finally:
        if session.in_transaction():
            await session.close()


async def system_session(request: Request) -> AsyncIterator[SystemSession]:
    """The unscoped session of a public or signed route; no connection is taken before its first statement."""
    session = database_of(request).system(
        principal=getattr(request.state, "principal", None), request_id=request.scope.get("luneo.request_id")
    )
    session.info["trace_id"] = request.scope.get("luneo.trace_id")
    async with _end_with_handler(session, claim_of(request.scope)) as unscoped:
        yield unscoped


Owner = Annotated[OwnerSession, Depends(owner_session, scope="function")]
Unscoped = Annotated[SystemSession, Depends(system_session, scope="function")]
DatabaseOf = Annotated[Database, Depends(database_of)]
