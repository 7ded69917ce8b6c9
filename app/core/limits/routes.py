"""Owns how routes state their limits, and how a request is counted against them."""

from dataclasses import dataclass
from typing import Literal

from fastapi import Request

from app.core.client_address import address_key, client_address
from app.core.config import Settings, get_settings
from app.core.errors import TooManyRequests
from app.core.limits.limiter import Limiter
from app.core.limits.rules import LimitRule, parse_limit

STATES = "luneo.limits"
"""Where the scope of a request keeps the `LimitState`s that its answer tells about."""

_WAITING = "luneo.waiting_limits"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A route's limit; an instance is a dependency that counts the request and may refuse it."""

    name: str
    by: Literal["address", "principal"]
    is_sign_in: bool = False

    async def __call__(self, request: Request) -> None:
        if self.by == "address":
            address = client_address(request.scope, get_settings().trusted_proxies)
            await enforce(
                request, self.name, key=address_key(address), by_address=True, is_sign_in=self.is_sign_in
            )
        elif hasattr(request.state, "principal"):
            await self._count_principal(request)
        else:
            request.scope.setdefault(_WAITING, []).append(self)

    async def _count_principal(self, request: Request) -> None:
        await enforce(request, self.name, key=request.state.principal.limit_key, is_sign_in=self.is_sign_in)


def limited(name: str, *, by: Literal["address", "principal"], is_sign_in: bool = False) -> RateLimit:
    """Limit a route: `dependencies=[Depends(limited("orders_create", by="principal"))]`.

    The rule is the setting `limit_<name>`; LookupError while the route is declared when there is none.
    """
    if f"limit_{name}" not in Settings.model_fields:
        raise LookupError(f"There is no setting limit_{name}.")
    return RateLimit(name, by, is_sign_in)


async def settle_limits(request: Request) -> None:
    """Count the limits by principal that were met before there was one; called by the route's marker.

    FastAPI runs the dependencies of a route's decorator before those of its parameters, hence a limit stated
    in the decorator is met before a marker that is a parameter.
    """
    for limit in request.scope.pop(_WAITING, []):
        await limit._count_principal(request)


async def enforce(
    request: Request, name: str, *, key: str, by_address: bool = False, is_sign_in: bool = False
) -> None:
    """Count the request of `key` against the setting `limit_<name>`; TooManyRequests (429) when it is over.

    A limit by address (or session) is multiplied by `LIMIT_FACTOR`.
    """
    settings = get_settings()
    rule = parse_limit(getattr(settings, f"limit_{name}"), settings.limit_factor if by_address else 1)
    await enforce_rule(request, name, key=key, rule=rule, is_sign_in=is_sign_in)


async def enforce_rule(
    request: Request, name: str, *, key: str, rule: LimitRule, is_sign_in: bool = False
) -> None:
    """Count the request of `key` against a rule that is no setting; TooManyRequests (429) when it is over."""
    limiter: Limiter = request.app.state.limiter
    state = await limiter.hit(name, key, rule, is_sign_in=is_sign_in)
    request.scope.setdefault(STATES, []).append(state)
    if state.is_over:
        raise TooManyRequests(
            "rate_limited",
            f"Too many requests; try again in {state.reset_seconds} seconds.",
            headers={"Retry-After": str(state.reset_seconds)},
        )
