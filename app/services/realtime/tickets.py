"""Tickets: one-time tokens by which browsers that cannot send headers open a stream."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from app.core import clock
from app.core.access import (
    CurrentPrincipal,
    Marker,
    Principal,
    asked_organization,
    principal_of_session,
    refused_token,
)
from app.core.client_address import address_key, client_address
from app.core.config import get_settings
from app.core.crypto import derive_token, key_ring, read_token
from app.core.database import Unscoped, database_of
from app.core.errors import Unauthenticated
from app.core.ids import uuid7
from app.core.limits import enforce
from app.repositories.realtime import TicketRepository
from app.schemas.realtime import TicketRead

PREFIX = "luneo_st_"
USE = "stream_ticket"
SECONDS = 30


class TicketService:
    """Issues tickets."""

    def __init__(self, session: Unscoped, principal: CurrentPrincipal) -> None:
        self.tickets = TicketRepository(session)
        self.principal = principal

    async def issue(self, asked: UUID | None) -> TicketRead:
        """A ticket of the caller's session, in the asked organisation or else in the session's own."""
        assert self.principal.session_id is not None  # noqa: S101 - only people get here
        identifier = uuid7()
        expires_at = clock.now() + timedelta(seconds=SECONDS)
        await self.tickets.add(identifier, self.principal.session_id, asked, expires_at)
        ticket = derive_token(key_ring(), PREFIX, USE, identifier)
        return TicketRead(ticket=ticket, expires_in=SECONDS)


Tickets = Annotated[TicketService, Depends()]


class TicketMarker(Marker):
    """`allow(key=…)` of a route that takes a ticket in place of the usual credentials."""

    async def identify(self, request: Request) -> Principal:
        """The caller by their ticket, which is used up, or else by what every route takes.

        401 `ticket_invalid` for a ticket that is unknown, used or expired.
        """
        if "ticket" not in request.query_params:
            request.state.asked = asked_organization(request)
            return await super().identify(request)
        if {"authorization", "x-api-key"}.intersection(request.headers):
            raise Unauthenticated("unauthenticated", "Send a ticket or another credential, not both.")
        user_id, session_id, organization_id = await _use(request, request.query_params["ticket"])
        request.state.asked = organization_id
        return await principal_of_session(request, self, session_id, user_id, organization_id)


async def _use(request: Request, ticket: str) -> tuple[UUID, UUID, UUID]:
    """Use a ticket up: person, session and organisation."""
    used = None
    identifier = read_token(key_ring(), PREFIX, USE, ticket)
    if identifier is None:
        address = client_address(request.scope, get_settings().trusted_proxies)
        await enforce(request, "bad_token_ip", key=address_key(address), by_address=True)
    else:
        database = database_of(request)
        async with database.transaction() as session:
            used = await TicketRepository(session).use(identifier, clock.now())
    if used is None:
        raise refused_token("ticket_invalid", "This ticket is unknown, used or expired; ask for a new one.")
    return used


def asked_by(request: Request) -> UUID | None:
    """The organisation that the caller asked for, in the ticket or in a header."""
    asked: UUID | None = request.state.asked
    return asked


AskedByStream = Annotated[UUID | None, Depends(asked_by)]
