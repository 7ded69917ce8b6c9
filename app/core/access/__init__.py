"""Who may call: the Principal, the one check that makes it from a credential, the markers of routes."""

from app.core.access.checking import asked_organization, authenticate, bearer_token, principal_of_session
from app.core.access.markers import Marker, allow, public, signed, staff
from app.core.access.principal import STRIPE, CurrentPrincipal, Principal
from app.core.access.refusals import REFUSALS, ended_session, permission_denied, refusal_for, refused_token
from app.core.access.sessions import SESSION_SQL, SESSIONS_SQL, SessionRow, blocked_by, ended_by, ends_at

__all__ = [
    "REFUSALS",
    "SESSIONS_SQL",
    "SESSION_SQL",
    "STRIPE",
    "CurrentPrincipal",
    "Marker",
    "Principal",
    "SessionRow",
    "allow",
    "asked_organization",
    "authenticate",
    "bearer_token",
    "blocked_by",
    "ended_by",
    "ended_session",
    "ends_at",
    "permission_denied",
    "principal_of_session",
    "public",
    "refusal_for",
    "refused_token",
    "signed",
    "staff",
]
