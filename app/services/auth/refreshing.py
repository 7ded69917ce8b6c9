"""Owns the refresh of sessions: one successor for each token, and the end when one comes back."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends, Request

from app.core import clock
from app.core.client_address import address_key, client_address
from app.core.config import get_settings
from app.core.crypto import SealBroken, parse_refresh_token, refresh_tag_matches
from app.core.database import DatabaseOf, SystemSession, Unscoped
from app.core.devices import CallingDevice
from app.core.errors import AppError
from app.core.events import emit
from app.core.limits import enforce
from app.models.auth import UserSession
from app.repositories.auth import SessionRepository
from app.schemas.auth import Refresh, SessionOpened
from app.services.auth.accounts import end_sessions
from app.services.auth.events import RefreshReplayed, RefreshReused
from app.services.auth.opening import opened, session_key
from app.services.auth.recipients import seen
from app.services.auth.refusals import (
    refresh_token_invalid,
    refresh_token_reused,
    remembered,
    session_expired,
    session_revoked,
)


class RefreshService:
    """Exchanges refresh tokens (RFC 9700, 4.14)."""

    def __init__(
        self, request: Request, session: Unscoped, database: DatabaseOf, device: CallingDevice
    ) -> None:
        self.request = request
        self.session = session
        self.database = database
        self.device = device

    async def refresh(self, body: Refresh) -> SessionOpened:
        """The next pair of tokens of a live session; 401 for every token that is not its newest one."""
        await self.session.rollback()  # One connection at a time: the token is looked up through another.
        now = clock.now()
        row, counter = await self._genuine(body.refresh_token)
        await enforce(self.request, "refresh", key=str(row.id), by_address=True)
        sessions = SessionRepository(self.session)
        rotated = await sessions.rotate(row.id, counter, now)
        if rotated is not None:
            return opened(rotated, await sessions.card(rotated), now)
        async with remembered(self.session, self.database) as own:
            answer = await self._explain(own, row, counter, now)
        if isinstance(answer, AppError):
            raise answer
        return answer

    async def _genuine(self, text: str) -> tuple[UserSession, int]:
        """The session that signed the token, and the token's counter; another text changes nothing."""
        token = parse_refresh_token(text)
        if token is not None:
            async with self.database.system(autocommit=True) as session:
                found = await SessionRepository(session).with_status(token.sid)
            if found is not None and _is_signed(found[0], text):
                row, status = found
                if token.counter <= row.refresh_counter:
                    if status != "active":
                        raise session_revoked()
                    return row, token.counter
        address = address_key(client_address(self.request.scope, get_settings().trusted_proxies))
        await enforce(self.request, "bad_token_ip", key=address, by_address=True)
        raise refresh_token_invalid()

    async def _explain(
        self, own: SystemSession, row: UserSession, counter: int, now: datetime
    ) -> SessionOpened | AppError:
        """Why the token could not be exchanged; its own transaction remembers what has to be."""
        sessions = SessionRepository(own)
        locked = await sessions.get(row.id, lock=True)
        if locked is None or locked.revoked_at is not None:
            return session_revoked()
        if _is_over(locked, now) or locked.refresh_counter == counter:
            return session_expired()
        if self._lost_its_answer(locked, counter, now):
            await emit(own, RefreshReplayed(user_id=locked.user_id, session_id=locked.id))
            return opened(locked, await sessions.card(locked), now)
        await end_sessions(own, locked.user_id, only=locked.id, reason="refresh_reused", now=now)
        await emit(
            own,
            RefreshReused(user_id=locked.user_id, session_id=locked.id),
            private=seen(self.device, now),
        )
        return refresh_token_reused()

    def _lost_its_answer(self, row: UserSession, counter: int, now: datetime) -> bool:
        """Whether this is the same device, asking once more within seconds for an answer it did not get."""
        leeway = timedelta(seconds=get_settings().refresh_leeway_seconds)
        return (
            row.refresh_counter == counter + 1
            and row.refreshed_at is not None
            and row.refreshed_at >= now - leeway
            and row.device_key_hash is not None
            and row.device_key_hash == self.device.key_hash
        )


def _is_signed(row: UserSession, text: str) -> bool:
    token = parse_refresh_token(text)
    try:
        return token is not None and refresh_tag_matches(session_key(row), token)
    except SealBroken:
        return False


def _is_over(row: UserSession, now: datetime) -> bool:
    return row.expires_at <= now or row.last_activity_at + timedelta(seconds=row.idle_seconds) <= now


Refreshing = Annotated[RefreshService, Depends()]
