"""Receives browsers back from services: it keeps the code, links nothing, and leads to the app."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import structlog
from fastapi import Depends

from app.clients.connections.registry import OAUTH
from app.clients.connections.shopify import Shopify, is_signed
from app.core import clock
from app.core.database import Database, DatabaseOf
from app.models.integrations import OAuthState
from app.repositories.integrations.authorizing import OAuthStateRepository
from app.schemas.integrations.connections import LONGEST_STATE
from app.services.integrations.connections.providers import shopify_secret
from app.services.integrations.connections.redirects import HOME, app_address
from app.services.integrations.connections.sealed import CODE, digest, random_token, sealed

logger = structlog.get_logger(__name__)

_CODE = re.compile(r"[!-~]{1,4096}")

TRY_LATER = frozenset({"server_error", "temporarily_unavailable"})
"""Errors (RFC 6749, 4.1.2.1) that are no answer of the person's."""


class ReturnService:
    """What is made of a browser that comes back. Nobody is signed in here."""

    def __init__(self, database: DatabaseOf) -> None:
        self.database: Database = database

    async def come_back(self, name: str, sent: Sequence[tuple[str, str]]) -> str:
        """Where the browser goes: to the app, with `#integration_completion=…` or `#integration_error=…`.

        `sent` is the whole query as it came: some services sign it, and what comes twice is none of ours.
        """
        query = dict(sent)
        if name not in OAUTH or (name == Shopify.name and not is_signed(shopify_secret(), sent)):
            return _failed(name, HOME, "state_invalid")
        token = query.get("state", "")
        if len(query) != len(sent) or not 0 < len(token) <= LONGEST_STATE:
            return _failed(name, HOME, "state_invalid")
        now = clock.now()
        async with self.database.transaction() as session:
            states = OAuthStateRepository(session)
            state = await states.by_state(digest(token))
            if state is None or state.service != name or state.params.get("shop") != _shop(name, query):
                return _failed(name, HOME, "state_invalid")
            error = "state_expired" if state.expires_at <= now else _error_of(query)
            completion = random_token()
            is_first = await states.note_return(
                state.id,
                now,
                completion_hash=None if error else digest(completion),
                code_sealed=None if error else sealed(CODE, state.id, query.get("code", "")),
                is_over=error is not None,
            )
        if not is_first:
            return _failed(name, HOME, "state_invalid")
        return self._answer(state, error, completion)

    def _answer(self, state: OAuthState, error: str | None, completion: str) -> str:
        if error is not None:
            return _failed(state.service, state.redirect_after, error)
        logger.info("integration_returned", service=state.service, outcome="approved")
        return app_address(state.redirect_after, "integration_completion", completion)


def _shop(name: str, query: Mapping[str, str]) -> str | None:
    """The shop that sent the browser back, where a service has one."""
    return query.get("shop") if name == Shopify.name else None


def _error_of(query: Mapping[str, str]) -> str | None:
    """What the app is told when a service sent no code."""
    error = query.get("error")
    if error is None and _CODE.fullmatch(query.get("code", "")) is not None:
        return None
    if error in TRY_LATER:
        return "provider_unavailable"
    return "access_denied" if error == "access_denied" else "exchange_failed"


def _failed(service: str, path: str, code: str) -> str:
    logger.info("integration_returned", service=service if service in OAUTH else "unknown", outcome=code)
    return app_address(path, "integration_error", code)


Returning = Annotated[ReturnService, Depends()]
