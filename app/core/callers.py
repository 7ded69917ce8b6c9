"""Whose request is being answered and from where it comes, for the few who must keep it."""

from contextvars import ContextVar
from typing import Literal, NamedTuple
from uuid import UUID

from fastapi import Request
from starlette.types import Scope

from app.core.client_address import client_address, parse_ip
from app.core.config import get_settings
from app.core.devices import location_of, user_agent_of

current_scope: ContextVar[Scope | None] = ContextVar("current_scope", default=None)
"""The request that this task answers, set by core/http.py; None in a job."""


class Recognized(NamedTuple):
    """Whom the access check knew, whether or not it let them in; `request.state.recognized`."""

    kind: Literal["user", "api_key"]
    organization_id: UUID | None
    user_id: UUID | None = None
    session_id: UUID | None = None
    key_id: UUID | None = None


def caller_facts() -> dict[str, str | None]:
    """Address, user agent and country of the caller, as JSON values; empty outside of a request."""
    scope = current_scope.get()
    if scope is None:
        return {}
    settings = get_settings()
    request = Request(scope)
    address = parse_ip(client_address(scope, settings.trusted_proxies))
    location = location_of(request, settings)
    return {
        "ip_address": str(address) if address else None,
        "user_agent": user_agent_of(request),
        "country": location["country"] if location else None,
    }
