"""Owns how refusals reach the log: told once a minute per caller and route, after the refused transaction."""

import structlog
from fastapi import Request

from app.core.access import REFUSALS, Principal
from app.core.callers import Recognized
from app.core.database import database_of
from app.core.errors import AppError
from app.core.events import emit
from app.core.limits import Limiter, LimitRule
from app.services.audit.events import AccessDenied

logger = structlog.get_logger(__name__)

ONCE_A_MINUTE = LimitRule(1, 60)

OF_ACCESS = frozenset(
    {
        "permission_denied",
        "insufficient_scope",
        "ip_not_allowed",
        "origin_not_allowed",
        "user_session_required",
        *REFUSALS,
    }
)
"""Refusals for want of a right; others have events of their own."""


async def note_denial(request: Request, refusal: AppError) -> None:
    """Tell that a known caller was refused, in a transaction of its own; the answer never hangs on it."""
    caller: Recognized | None = getattr(request.state, "recognized", None)
    if refusal.code not in OF_ACCESS or caller is None or caller.organization_id is None:
        return
    principal = Principal(
        kind=caller.kind,
        user_id=caller.user_id,
        organization_id=caller.organization_id,
        session_id=caller.session_id,
        key_id=caller.key_id,
    )
    route = f"{request.method} {getattr(request.scope.get('route'), 'path', 'unmatched')}"
    limiter: Limiter = request.app.state.limiter
    state = await limiter.hit("access_denied", f"{principal.limit_key}:{route}", ONCE_A_MINUTE)
    if state.is_over:
        return
    permission = refusal.extensions.get("permission") or refusal.extensions.get("scope")
    denied = AccessDenied(
        permission=str(permission) if permission else None, route=route, reason=refusal.code
    )
    request_id = request.scope.get("luneo.request_id")
    try:
        async with database_of(request).transaction(principal=principal, request_id=request_id) as session:
            await emit(session, denied)
    except Exception:
        logger.exception("denial_not_recorded", route=route)
