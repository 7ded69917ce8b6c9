"""Owns which chains the jobs look after."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from app.core.database import SystemSession
from app.repositories.audit import InboxRepository, chains, grown_chains


async def late_chains(session: SystemSession, before: datetime) -> tuple[int, Sequence[UUID]]:
    """How many entries wait in all, and the chains of those that came before that moment."""
    return await InboxRepository(session).waiting(before)


async def every_chain(session: SystemSession) -> Sequence[UUID]:
    """Every chain that has an entry, or had one."""
    return await chains(session)


async def news_of_the_day(session: SystemSession) -> Sequence[UUID]:
    """The chains that got an entry since they were last signed, beside what the nightly jobs write."""
    return await grown_chains(session)
