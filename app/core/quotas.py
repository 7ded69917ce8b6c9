"""The quota of a plan that a request used, which its answer tells in `X-Quota-…` headers."""

from datetime import datetime
from typing import NamedTuple

from starlette.types import Scope

from app.core.callers import current_scope

QUOTA = "luneo.quota"


class Quota(NamedTuple):
    """How much of a counter may be used in a period, how much is left, and when the next period begins."""

    limit: int
    remaining: int
    resets_at: datetime


def note_quota(quota: Quota) -> None:
    """Tell the caller of the request that is being answered; nothing happens in a job."""
    scope = current_scope.get()
    if scope is not None:
        scope[QUOTA] = quota


def quota_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The headers of what was noted; `Reset` is the second at which the next period begins."""
    quota: Quota | None = scope.get(QUOTA)
    if quota is None:
        return []
    return [
        (b"x-quota-limit", b"%d" % quota.limit),
        (b"x-quota-remaining", b"%d" % quota.remaining),
        (b"x-quota-reset", b"%d" % int(quota.resets_at.timestamp())),
    ]
