"""Owns the refusals of sign-in, each in one place, so that every route answers them alike."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.core.access import refused_token
from app.core.database import Database, SystemSession
from app.core.errors import AppError, BadRequest, Forbidden, Gone, Unauthenticated
from app.models.auth import User


@asynccontextmanager
async def remembered(session: SystemSession, database: Database) -> AsyncIterator[SystemSession]:
    """A transaction of its own for what outlives the coming refusal; the request's is given up."""
    await session.rollback()
    request_id = session.info.get("request_id")
    async with database.transaction(principal=session.principal, request_id=request_id) as own:
        yield own


def invalid_credentials() -> Unauthenticated:
    """401 for a wrong address or password, without saying which."""
    return Unauthenticated("invalid_credentials", "The e-mail address or the password is wrong.")


def unusable(user: User) -> AppError | None:
    """Why this account cannot be signed in to, told only after a correct first factor."""
    if user.status == "suspended":
        return Forbidden("account_suspended", "This account is suspended; contact support.")
    if user.status == "pending_erasure":
        return Forbidden("erasure_pending", "This account is being erased; the mail's link keeps it.")
    if user.status != "active":
        return invalid_credentials()
    if user.email_confirmed_at is None:
        return Forbidden(
            "email_not_confirmed", "Confirm your e-mail address first; see the mail that we sent."
        )
    return None


def no_organization() -> Forbidden:
    """403 for a person who has nothing to enter: every organisation of theirs is gone or shut to them."""
    return Forbidden(
        "no_organization",
        "Your account has no organisation that it can enter; ask for an invitation, or contact support.",
    )


def token_invalid() -> BadRequest:
    """400 for a token or code that is none of ours."""
    return BadRequest("token_invalid", "This link or code is not valid; ask for a new one.")


def token_used() -> Gone:
    """410 for a token that was used or replaced by a newer one."""
    return Gone("token_used", "This link was used already or replaced by a newer one.")


def token_expired() -> Gone:
    """410 for a token whose time is over."""
    return Gone("token_expired", "This link has expired; ask for a new one.")


def verifier_invalid() -> Unauthenticated:
    """401 for a PKCE verifier that is not that of the browser that began (RFC 7636, 4.6)."""
    return Unauthenticated("verifier_invalid", "This was begun in another browser; begin again in this one.")


def signup_closed() -> Forbidden:
    """403 while the service takes no new accounts."""
    return Forbidden("signup_closed", "This service does not take new accounts at the moment.")


def session_revoked() -> Unauthenticated:
    """401 for a session that was ended."""
    return refused_token("session_revoked", "This session was ended; sign in again.")


def session_expired() -> Unauthenticated:
    """401 for a session that is too old or was idle for too long."""
    return refused_token("session_expired", "This session has expired; sign in again.")


def refresh_token_invalid() -> Unauthenticated:
    """401 for a text that is no refresh token of ours."""
    return refused_token("refresh_token_invalid", "This is no refresh token of this service; sign in again.")


def refresh_token_reused() -> Unauthenticated:
    """401 for a refresh token that was replaced before; its session is over."""
    return refused_token("refresh_token_reused", "This refresh token was used before; sign in again.")
