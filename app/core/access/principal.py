"""The Principal: who calls, in which organisation, with which rights."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal, cast
from uuid import UUID

from fastapi import Depends, Request

from app.core.permissions import Permission

STRIPE = "stripe"
"""The name of the jobs that carry out what Stripe has told, and what Stripe was told."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls, in which organisation, with which rights. Made by `authenticate`, or by a job for itself."""

    kind: Literal["user", "api_key", "system"]
    user_id: UUID | None = None
    organization_id: UUID | None = None
    permissions: frozenset[Permission] = frozenset()
    role: str | None = None
    session_id: UUID | None = None
    key_id: UUID | None = None
    aal: int = 1
    auth_method: str | None = None
    step_up_at: datetime | None = None
    is_staff: bool = False
    """Whether the person acts for the platform, on a route for its staff."""
    name: str | None = field(default=None, compare=False)
    """Of a job: what history shows as its actor."""

    @property
    def actor_type(self) -> str:
        """How history and events name this kind of caller; a job for Stripe acts as Stripe."""
        if self.is_staff:
            return "staff"
        return STRIPE if self.name == STRIPE else self.kind

    @property
    def actor_id(self) -> UUID | str | None:
        """The person, the key or the job."""
        return {"user": self.user_id, "api_key": self.key_id, "system": self.name}[self.kind]

    @property
    def limit_key(self) -> str:
        """Whom rate limits count."""
        return f"{self.kind}:{self.actor_id}"

    def may(self, permission: Permission) -> bool:
        """Whether the caller holds this permission in the active organisation."""
        return permission in self.permissions


async def current_principal(request: Request) -> Principal:
    """The Principal that the route's marker made; a route that lets everybody in has none."""
    # A coroutine, because FastAPI sends plain functions to a thread.
    return cast("Principal", request.state.principal)


CurrentPrincipal = Annotated[Principal, Depends(current_principal)]
