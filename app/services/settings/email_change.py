"""Owns the change of the address: asked for, proved at the new address, and for some days undone."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.config import get_settings
from app.core.database import Database, SystemSession, Unscoped
from app.core.devices import CallingDevice
from app.core.errors import FieldError, Invalid
from app.core.events import emit
from app.core.ids import uuid7
from app.core.mail_addresses import parse_address
from app.models.settings import EmailChange
from app.repositories.settings import EmailChangeRepository
from app.schemas.settings.email import (
    ChangeEmail,
    EmailChangeDone,
    EmailChangePending,
    EmailRestored,
    EmailToken,
)
from app.services.auth.accounts import (
    end_sessions,
    holder_of,
    locked_person,
    move_address,
    strip_since,
    successor_of,
    use_token,
    void_tokens,
    was_thrown_out,
)
from app.services.auth.one_time_tokens import (
    EMAIL_CHANGE,
    EMAIL_CHANGE_UNDO,
    issue,
    issue_for_person,
    token_id,
    void_owned,
)
from app.services.auth.own_sign_in import require_own_sign_in
from app.services.auth.recipients import seen
from app.services.auth.refusals import session_revoked, token_used
from app.services.settings.events import (
    EmailChanged,
    EmailChangePrepared,
    EmailChangeRequested,
    EmailChangeUndone,
)

STEP = 500


class EmailChangeService:
    """Takes a signed-in person's wish for another address, and takes it back."""

    def __init__(self, session: Unscoped, principal: CurrentPrincipal, device: CallingDevice) -> None:
        self.session = session
        self.principal = principal
        self.device = device
        assert principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
        assert principal.session_id is not None  # noqa: S101 - as above
        self.user_id: UUID = principal.user_id
        self.session_id: UUID = principal.session_id

    async def ask(self, body: ChangeEmail) -> EmailChangePending:
        """Begin a change, in place of one that waits; 422 `email_unchanged`.

        Whether another account has the address is looked up when the event is handled, and told only to
        whoever reads that address' mail.
        """
        now = clock.now()
        user = await locked_person(self.session, self.user_id)
        if user is None:
            raise session_revoked()
        require_own_sign_in(self.principal, user)
        address = parse_address(body.new_email)
        if address.canonical == user.email_canonical:
            detail = "This is the present address of your account; send another one."
            raise Invalid(
                "email_unchanged", detail, errors=[FieldError("/new_email", "email_unchanged", detail)]
            )
        changes = EmailChangeRepository(self.session)
        await changes.finish_pending(user.id, "replaced")
        await void_tokens(self.session, user.id, now, only=(EMAIL_CHANGE,))
        change = EmailChange(
            id=uuid7(),
            user_id=user.id,
            old_email=user.email,
            new_email=address.address,
            session_id=self.session_id,
            created_at=now,
        )
        await changes.add(change)
        user.pending_email = address.address
        await emit(
            self.session,
            EmailChangeRequested(user_id=user.id, change_id=change.id),
            private=seen(self.device, now),
        )
        return EmailChangePending(pending_email=address.address)

    async def cancel(self) -> None:
        """Forget the change that waits, if there is one."""
        user = await locked_person(self.session, self.user_id)
        if user is None:
            raise session_revoked()
        await EmailChangeRepository(self.session).cancel_pending(user.id)
        await void_tokens(self.session, user.id, clock.now(), only=(EMAIL_CHANGE,))
        user.pending_email = None


class EmailProofService:
    """Acts on the links of the mails, for whoever holds them."""

    def __init__(self, session: Unscoped, device: CallingDevice) -> None:
        self.session = session
        self.device = device

    async def confirm(self, body: EmailToken) -> EmailChangeDone:
        """Let the new address count. All sessions end but the one that asked.

        400 `token_invalid`, 410 `token_used` (also when the session that asked was ended by its person or by
        a change of the password) or `token_expired`, 409 `email_taken`.
        """
        now = clock.now()
        identifier = token_id(EMAIL_CHANGE, body.token)
        user, token = await use_token(self.session, EMAIL_CHANGE, identifier, now)
        change = await self._change(token.subject_id, "pending")
        asking = await successor_of(self.session, change.session_id)
        if was_thrown_out(asking):
            raise token_used()
        before = user.email
        await move_address(self.session, user, parse_address(change.new_email), now)
        change.old_email = before
        change.status = "confirmed"
        change.confirmed_at = now
        change.undo_until = now + timedelta(seconds=get_settings().email_undo_seconds)
        kept = asking.id if asking is not None else None
        await end_sessions(self.session, user.id, reason="email_changed", now=now, all_but=kept)
        await void_tokens(self.session, user.id, now)
        # The owner of the token is the change: a later change must not void the undoing of this one.
        undo_id = await issue(
            self.session,
            EMAIL_CHANGE_UNDO,
            str(change.id),
            now,
            user_id=user.id,
            subject_id=change.id,
            email=before,
            expires_at=change.undo_until,
        )
        await emit(
            self.session,
            EmailChanged(user_id=user.id, change_id=change.id),
            private={**seen(self.device, now), "token_id": undo_id},
        )
        return EmailChangeDone(email=user.email)

    async def undo(self, body: EmailToken) -> EmailRestored:
        """Let the former address count again, as it was before this change and every later one.

        Whoever made the change may have been an intruder: all sessions end, the password goes, and so do the
        factors, backup codes and identities that were added since. 400, 410, 409 as above.
        """
        now = clock.now()
        identifier = token_id(EMAIL_CHANGE_UNDO, body.token)
        user, token = await use_token(self.session, EMAIL_CHANGE_UNDO, identifier, now)
        change = await self._change(token.subject_id, "confirmed")
        assert change.confirmed_at is not None  # noqa: S101 - confirmed
        left = user.email
        await move_address(self.session, user, parse_address(change.old_email), now)
        changes = EmailChangeRepository(self.session)
        await changes.finish_pending(user.id, "replaced")
        for later_id in await changes.undo_later(user.id, change.confirmed_at):
            await void_owned(self.session, EMAIL_CHANGE_UNDO, str(later_id), now)
        change.status = "undone"
        await end_sessions(self.session, user.id, reason="email_change_undone", now=now)
        await void_tokens(self.session, user.id, now)
        await strip_since(self.session, user, change.confirmed_at)
        await emit(
            self.session,
            EmailChangeUndone(user_id=user.id, change_id=change.id),
            private={**seen(self.device, now), "left": left},
        )
        return EmailRestored()

    async def _change(self, change_id: UUID | None, status: str) -> EmailChange:
        change = await EmailChangeRepository(self.session).get(change_id, lock=True) if change_id else None
        if change is None or change.status != status:
            raise token_used()
        return change


async def prepare_email_change(
    session: SystemSession, user_id: UUID, change_id: UUID, private: Mapping[str, Any]
) -> None:
    """Make the token of a change that still waits; none when another account has the new address."""
    now = clock.now()
    user = await locked_person(session, user_id)
    change = await EmailChangeRepository(session).pending_of(user_id, change_id)
    if user is None or user.status != "active" or change is None:
        return
    made = None
    if await holder_of(session, parse_address(change.new_email).canonical) is None:
        made = await issue_for_person(
            session,
            EMAIL_CHANGE,
            user,
            now,
            email=change.new_email,
            subject_id=change.id,
            expires_at=change_expires_at(change),
        )
    prepared = EmailChangePrepared(user_id=user_id, change_id=change_id)
    await emit(session, prepared, private={**private, "token_id": made})


def change_expires_at(change: EmailChange) -> datetime:
    """Until when a change can be proved."""
    return change.created_at + _lifetime()


async def expire_changes(database: Database) -> int:
    """Give up the changes whose proof never came; how many."""
    before: datetime = clock.now() - _lifetime()
    async with database.system(autocommit=True) as session:
        overdue = await EmailChangeRepository(session).overdue(before, STEP)
    expired = 0
    for user_id in overdue:
        async with database.transaction() as session:
            user = await locked_person(session, user_id)
            if user is not None and await EmailChangeRepository(session).expire(user_id, before):
                user.pending_email = None
                expired += 1
    return expired


def _lifetime() -> timedelta:
    return timedelta(seconds=get_settings().email_change_seconds)


EmailChanges = Annotated[EmailChangeService, Depends()]
EmailProofs = Annotated[EmailProofService, Depends()]
