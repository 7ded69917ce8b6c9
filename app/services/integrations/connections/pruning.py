"""Forgets what is over: ways to services, and logs of connections."""

from datetime import timedelta

from app.core import clock
from app.core.database import SystemSession
from app.repositories.integrations.authorizing import OAuthStateRepository
from app.repositories.integrations.connections import IntegrationLogRepository

STATES_KEPT = timedelta(hours=1)
LOGS_KEPT = timedelta(days=30)


async def forget_states(session: SystemSession, *, limit: int) -> int:
    """Delete ways that are over for an hour; `limit` if more are left."""
    return await OAuthStateRepository(session).prune(before=clock.now() - STATES_KEPT, limit=limit)


async def forget_logs(session: SystemSession, *, limit: int) -> int:
    """Delete entries of logs that are older than 30 days; `limit` if more are left."""
    return await IntegrationLogRepository(session).prune(before=clock.now() - LOGS_KEPT, limit=limit)
