"""The answers to callers who are not let in."""

from app.core.config import Settings
from app.core.errors import Forbidden, Unauthenticated
from app.core.permissions import Permission

REFUSALS = {
    "session_limited_to_organization": "This session is of another single sign-on; sign in again here.",
    "membership_suspended": "Your membership in this organisation is suspended; ask an administrator.",
    "sso_required": "This organisation is entered by its single sign-on only; go to `login_url`.",
    "mfa_enrollment_required": "This organisation demands a second factor; set one up in your settings.",
}


def permission_denied(permission: Permission) -> Forbidden:
    """403 for a caller whose role does not hold a permission."""
    return Forbidden(
        "permission_denied",
        f"Your role lacks the permission `{permission}`; ask an administrator for it.",
        permission=permission,
    )


def step_up_required(settings: Settings) -> Unauthenticated:
    """The answer that asks for a recent second check (RFC 9470)."""
    return Unauthenticated(
        "step_up_required",
        "Confirm your identity with POST /api/auth/step-up and repeat the request.",
        headers={
            "WWW-Authenticate": 'Bearer error="insufficient_user_authentication", '
            f"max_age={settings.step_up_seconds}"
        },
    )


def refused_token(code: str, detail: str) -> Unauthenticated:
    """401 for a token that was sent and is not good."""
    return Unauthenticated(code, detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def ended_session(code: str | None) -> Unauthenticated:
    """401 for a session that `ended_by` stopped; there is no such session: `session_revoked`."""
    if code == "session_expired":
        return refused_token(code, "This session has expired; sign in again.")
    return refused_token("session_revoked", "This session was ended; sign in again.")


def refusal_for(code: str, settings: Settings) -> Forbidden | Unauthenticated:
    """The answer to a session that `blocked_by` stopped."""
    if code == "step_up_required":
        return step_up_required(settings)
    if code == "sso_required":
        return Forbidden(code, REFUSALS[code], login_url=f"{settings.app_url}/login")
    return Forbidden(code, REFUSALS[code])
