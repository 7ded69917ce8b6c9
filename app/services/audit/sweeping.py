"""Owns which chains need an append that their events' jobs have missed."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from app.core.database import SystemSession
from app.repositories.audit import InboxRepository


async def late_chains(session: SystemSession, before: datetime) -> tuple[int, Sequence[UUID]]:
    """How many entries wait in all, and the chains of those that came before that moment."""
    return await InboxRepository(session).waiting(before)
