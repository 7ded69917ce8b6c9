"""Entries as their readers ask for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, false, func, literal, or_, select, tuple_

from app.core.database import OwnerSession, ScopedSession
from app.models.audit import AuditCheckpoint, AuditLog
from app.models.settings import Profile


@dataclass(frozen=True, kw_only=True)
class EntryFilter:
    """What narrows entries; None does not. `within` are the kinds of actions that are shown at all."""

    action: str | None = None
    within: Sequence[str] | None = None
    actor_id: UUID | None = None
    actor_kind: str | None = None
    target: dict[str, str] | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The same in SQL; the owner is not among them."""
        found: list[ColumnElement[bool]] = []
        if self.action is not None:
            found.append(_is_action(self.action))
        if self.within is not None:
            found.append(or_(false(), *(_is_action(kind) for kind in self.within)))
        if self.actor_id is not None:
            found.append(AuditLog.actor_id == self.actor_id)
        if self.actor_kind is not None:
            found.append(AuditLog.actor_kind == self.actor_kind)
        if self.target is not None:
            found.append(AuditLog.targets.contains([self.target]))
        if self.outcome is not None:
            found.append(AuditLog.outcome == self.outcome)
        if self.since is not None:
            found.append(AuditLog.occurred_at >= self.since)
        if self.until is not None:
            found.append(AuditLog.occurred_at < self.until)
        return found


def _is_action(wanted: str) -> ColumnElement[bool]:
    """An action by its name, or by its kind: `team.*`."""
    if wanted.endswith(".*"):
        return AuditLog.action.startswith(wanted[:-1], autoescape=True)
    return AuditLog.action == wanted


class EntryRepository:
    """The entries and checkpoints of the caller's organisation, by the chain's own order."""

    def __init__(self, session: OwnerSession) -> None:
        self.session = session

    async def page(
        self, wanted: EntryFilter, *, before: int | None, offset: int, limit: int
    ) -> Sequence[AuditLog]:
        """Entries before a number, newest first."""
        statement = select(AuditLog).where(*wanted.conditions())
        if before is not None:
            statement = statement.where(AuditLog.seq < before)
        statement = statement.order_by(AuditLog.seq.desc()).offset(offset).limit(limit)
        return (await self.session.scalars(statement)).all()

    async def count(self, wanted: EntryFilter, cap: int) -> int:
        """How many there are, counted up to `cap`."""
        some = select(literal(1)).select_from(AuditLog).where(*wanted.conditions()).limit(cap)
        return await _counted(self.session, some)

    async def find(self, entry_id: UUID, since: datetime | None) -> AuditLog | None:
        """One entry, unless it lies before that moment."""
        shown = EntryFilter(since=since).conditions()
        return (
            await self.session.scalars(select(AuditLog).where(AuditLog.id == entry_id, *shown))
        ).one_or_none()

    async def checkpoints(self, *, before: int | None, offset: int, limit: int) -> Sequence[AuditCheckpoint]:
        """Signed heads before a number, newest first."""
        statement = select(AuditCheckpoint)
        if before is not None:
            statement = statement.where(AuditCheckpoint.seq < before)
        statement = statement.order_by(AuditCheckpoint.seq.desc()).offset(offset).limit(limit)
        return (await self.session.scalars(statement)).all()

    async def count_checkpoints(self, cap: int) -> int:
        """How many there are, counted up to `cap`."""
        return await _counted(self.session, select(literal(1)).select_from(AuditCheckpoint).limit(cap))

    async def profiles(self, user_ids: Sequence[UUID]) -> dict[UUID, Profile]:
        """The present profiles of people."""
        found = await self.session.scalars(select(Profile).where(Profile.user_id.in_(user_ids)))
        return {profile.user_id: profile for profile in found}


class OwnEntriesRepository:
    """Entries about one person, in every organisation; the person is always named."""

    def __init__(self, session: ScopedSession, user_id: UUID) -> None:
        self.session = session
        self.user_id = user_id

    async def page(
        self, wanted: EntryFilter, *, after: tuple[datetime, UUID] | None, offset: int, limit: int
    ) -> Sequence[AuditLog]:
        """Newest first, beyond a moment and an id."""
        statement = self._about(select(AuditLog), wanted)
        if after is not None:
            here = tuple_(AuditLog.occurred_at, AuditLog.id)
            there = tuple_(literal(after[0], AuditLog.occurred_at.type), literal(after[1], AuditLog.id.type))
            statement = statement.where(here < there)
        statement = statement.order_by(AuditLog.occurred_at.desc(), AuditLog.id.desc())
        return (await self.session.scalars(statement.offset(offset).limit(limit))).all()

    async def count(self, wanted: EntryFilter, cap: int) -> int:
        """How many there are, counted up to `cap`."""
        some = self._about(select(literal(1)).select_from(AuditLog), wanted).limit(cap)
        return await _counted(self.session, some)

    def _about(self, statement: Select[Any], wanted: EntryFilter) -> Select[Any]:
        return statement.where(AuditLog.subject_id == self.user_id, *wanted.conditions())


async def _counted(session: ScopedSession, some: Select[Any]) -> int:
    return int(await session.scalar(select(func.count()).select_from(some.subquery())) or 0)
