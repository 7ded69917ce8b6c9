"""From where the request that is being answered comes, for the few who must keep it."""

from contextvars import ContextVar

from fastapi import Request
from starlette.types import Scope

from app.core.client_address import client_address, parse_ip
from app.core.config import get_settings
from app.core.devices import location_of, user_agent_of

current_scope: ContextVar[Scope | None] = ContextVar("current_scope", default=None)
"""The request that this task answers, set by core/http.py; None in a job."""


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
