"""The chain and its inbox, as the jobs that keep them need them; the organisation is always named."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, delete, exists, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from app.core.database import ScopedSession
from app.models.audit import GENESIS, AuditCheckpoint, AuditHead, AuditInbox, AuditLog

OWN_ACTIONS = ("audit.verified", "audit.checkpoint_signed", "audit.pruned")
"""What the nightly jobs write themselves: a chain that got nothing else has not grown."""

ENTRY = [getattr(AuditLog, attribute.key) for attribute in AuditLog.__mapper__.column_attrs]
"""Every column of an entry; rows cost less than objects."""

ALLOW_PRUNING = text("SET LOCAL luneo.audit_prune = 'on'")


class InboxRepository:
    """Entries that wait for their place."""

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    async def add(self, values: dict[str, Any]) -> None:
        """Add an entry, unless it waits already."""
        await self.session.execute(insert(AuditInbox).values(**values).on_conflict_do_nothing())

    async def oldest(self, organization_id: UUID, limit: int) -> Sequence[AuditInbox]:
        """Those that come next, in their order."""
        statement = (
            select(AuditInbox)
            .where(AuditInbox.organization_id == organization_id)
            .order_by(AuditInbox.occurred_at, AuditInbox.id)
            .limit(limit)
        )
        return (await self.session.scalars(statement)).all()

    async def remove(self, organization_id: UUID, ids: Collection[UUID]) -> None:
        """Take out those that have their place."""
        await self.session.execute(
            delete(AuditInbox)
            .where(AuditInbox.organization_id == organization_id, AuditInbox.id.in_(ids))
            .execution_options(synchronize_session=False)
        )

    async def count(self, organization_id: UUID) -> int:
        """How many wait for one chain."""
        statement = (
            select(func.count()).select_from(AuditInbox).where(AuditInbox.organization_id == organization_id)
        )
        return int(await self.session.scalar(statement) or 0)

    async def waiting(self, before: datetime) -> tuple[int, Sequence[UUID]]:
        """How many wait in all, and the chains with one that came before that moment."""
        count = await self.session.scalar(select(func.count()).select_from(AuditInbox))
        late = select(AuditInbox.organization_id).where(AuditInbox.created_at < before).distinct()
        return int(count or 0), (await self.session.scalars(late)).all()


class ChainRepository:
    """One chain: its head, its entries and its checkpoints."""

    def __init__(self, session: ScopedSession, organization_id: UUID) -> None:
        self.session = session
        self.organization_id = organization_id

    async def lock_head(self) -> AuditHead:
        """The head, made if it is missing; nobody else moves it until the transaction ends."""
        await self.session.execute(
            insert(AuditHead)
            .values(organization_id=self.organization_id, head_hash=GENESIS, base_hash=GENESIS)
            .on_conflict_do_nothing()
        )
        statement = (
            select(AuditHead)
            .where(AuditHead.organization_id == self.organization_id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        return (await self.session.scalars(statement)).one()

    async def known(self, ids: Collection[UUID]) -> frozenset[UUID]:
        """Which of these events have an entry already."""
        statement = select(AuditLog.id).where(
            AuditLog.organization_id == self.organization_id, AuditLog.id.in_(ids)
        )
        return frozenset((await self.session.scalars(statement)).all())

    async def append(self, rows: Sequence[dict[str, Any]], *, seq: int, head_hash: bytes) -> None:
        """Write entries and move the head, whose lock is held, behind the last one."""
        if rows:
            await self.session.execute(insert(AuditLog), list(rows))
        await self.session.execute(
            update(AuditHead)
            .where(AuditHead.organization_id == self.organization_id)
            .values(seq=seq, head_hash=head_hash)
            .execution_options(synchronize_session=False)
        )

    async def prunable(self, before: datetime, limit: int) -> AuditLog | None:
        """The newest of up to `limit` entries at the beginning that are all older than that moment."""
        first = (
            select(AuditLog.seq, AuditLog.occurred_at)
            .where(AuditLog.organization_id == self.organization_id)
            .order_by(AuditLog.seq)
            .limit(limit)
            .subquery()
        )
        kept = select(func.min(first.c.seq)).where(first.c.occurred_at >= before).scalar_subquery()
        last = select(func.max(first.c.seq)).scalar_subquery()
        statement = select(AuditLog).where(
            AuditLog.organization_id == self.organization_id, AuditLog.seq == func.coalesce(kept - 1, last)
        )
        return (await self.session.scalars(statement)).one_or_none()

    async def prune(self, up_to: int, base_hash: bytes) -> int:
        """Delete the entries up to a number and move the base there; the head's lock is held."""
        await self.session.execute(ALLOW_PRUNING)
        gone = await self.session.execute(
            delete(AuditLog)
            .where(AuditLog.organization_id == self.organization_id, AuditLog.seq <= up_to)
            .execution_options(synchronize_session=False)
        )
        await self.session.execute(
            update(AuditHead)
            .where(AuditHead.organization_id == self.organization_id)
            .values(base_seq=up_to, base_hash=base_hash)
            .execution_options(synchronize_session=False)
        )
        return int(gone.rowcount)  # type: ignore[attr-defined]  # a DELETE answers with a CursorResult

    async def newest_checkpoint(self) -> AuditCheckpoint | None:
        """The last signed head."""
        statement = (
            select(AuditCheckpoint)
            .where(AuditCheckpoint.organization_id == self.organization_id)
            .order_by(AuditCheckpoint.seq.desc())
            .limit(1)
        )
        return (await self.session.scalars(statement)).one_or_none()

    async def standing(self) -> Row[Any] | None:
        """Head and base, and the least and the greatest number that has an entry, as one moment saw them."""
        of_chain = AuditLog.organization_id == self.organization_id
        statement = select(
            AuditHead.seq,
            AuditHead.head_hash,
            AuditHead.base_seq,
            AuditHead.base_hash,
            select(func.min(AuditLog.seq)).where(of_chain).scalar_subquery().label("first_seq"),
            select(func.max(AuditLog.seq)).where(of_chain).scalar_subquery().label("last_seq"),
        ).where(AuditHead.organization_id == self.organization_id)
        return (await self.session.execute(statement)).one_or_none()

    async def has_entries(self) -> bool:
        """Whether the chain has any entry, whatever its head says."""
        found = select(exists().where(AuditLog.organization_id == self.organization_id))
        return bool(await self.session.scalar(found))

    async def hash_at(self, seq: int) -> bytes | None:
        """The stored hash of one entry."""
        statement = select(AuditLog.entry_hash).where(
            AuditLog.organization_id == self.organization_id, AuditLog.seq == seq
        )
        found: bytes | None = await self.session.scalar(statement)
        return found

    async def step(self, after: int, up_to: int, limit: int) -> Sequence[Row[Any]]:
        """Whole entries beyond one number and up to another, in their order."""
        statement = (
            select(*ENTRY)
            .where(
                AuditLog.organization_id == self.organization_id,
                AuditLog.seq > after,
                AuditLog.seq <= up_to,
            )
            .order_by(AuditLog.seq)
            .limit(limit)
        )
        return (await self.session.execute(statement)).all()


async def chains(session: ScopedSession) -> Sequence[UUID]:
    """Every chain that has a head."""
    return (
        await session.scalars(select(AuditHead.organization_id).order_by(AuditHead.organization_id))
    ).all()


async def grown_chains(session: ScopedSession) -> Sequence[UUID]:
    """The chains that got an entry since their last checkpoint, beside those of the nightly jobs."""
    signed = (
        select(func.coalesce(func.max(AuditCheckpoint.seq), 0))
        .where(AuditCheckpoint.organization_id == AuditHead.organization_id)
        .scalar_subquery()
    )
    news = exists().where(
        and_(
            AuditLog.organization_id == AuditHead.organization_id,
            AuditLog.seq > signed,
            AuditLog.action.not_in(OWN_ACTIONS),
        )
    )
    statement = select(AuditHead.organization_id).where(AuditHead.seq > signed, news)
    return (await session.scalars(statement.order_by(AuditHead.organization_id))).all()
