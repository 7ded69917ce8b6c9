"""Tickets: for one stream, once and soon."""

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, update

from app.core import clock
from app.core.crypto import derive_token, key_ring
from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.jobs.upkeep import prune_events
from app.models.auth import UserSession
from app.models.realtime import RealtimeTicket
from app.services.realtime.tickets import PREFIX, USE
from tests.support.streams import STREAM, following, happen

TICKETS = "/api/realtime/tickets"


async def ticket_of(client: AsyncClient, person: Any, **headers: str) -> str:
    answer = await client.post(TICKETS, headers={**person.headers, **headers})
    assert answer.status_code == 200, answer.text
    assert answer.json()["expires_in"] == 30
    ticket: str = answer.json()["ticket"]
    return ticket


async def refusal(client: AsyncClient, ticket: str, **headers: str) -> tuple[int, str]:
    answer = await client.get(STREAM, params={"ticket": ticket}, headers=headers)
    return answer.status_code, answer.json()["code"]


@pytest.mark.commits
async def test_ticket_opens_one_stream_when_it_is_used(
    http: AsyncClient, database: Database, alice: Any, noticed: Any, ordered: Any
) -> None:
    ticket = await ticket_of(http, alice)
    async with following(http, {}, ticket=ticket) as stream:
        assert await refusal(http, ticket) == (401, "ticket_invalid")
        await happen(database, noticed(number=1), user_id=alice.user_id)
        await happen(database, ordered(number=2), organization_id=alice.organization_id)
        await stream.count(2)
    assert stream.frames[0].data["organization"] == str(alice.organization_id)


@pytest.mark.commits
async def test_ticket_is_of_the_organisation_that_was_asked_for(
    http: AsyncClient, db: SystemSession, alice: Any, charlie: Any
) -> None:
    other = {"X-Organization-Id": str(alice.organization_id)}
    async with following(http, {}, ticket=await ticket_of(http, charlie, **other)) as stream:
        assert stream.frames[0].data["organization"] is None
    async with following(http, other, ticket=await ticket_of(http, charlie)) as stream:
        assert stream.frames[0].data["organization"] == str(charlie.organization_id)


async def test_ticket_is_refused_when_it_is_no_good(client: AsyncClient, alice: Any) -> None:
    unknown = derive_token(key_ring(), PREFIX, USE, uuid7())
    forged = unknown[:-4] + "AAAA"
    for ticket in ("", "nonsense", unknown, forged, "é" * 100):
        assert await refusal(client, ticket) == (401, "ticket_invalid")
    old = await ticket_of(client, alice)
    with clock.travel(timedelta(seconds=31)):
        assert await refusal(client, old) == (401, "ticket_invalid")
    assert await refusal(client, await ticket_of(client, alice), **alice.headers) == (401, "unauthenticated")


async def test_ticket_is_refused_where_it_is_not_taken(client: AsyncClient, alice: Any) -> None:
    ticket = await ticket_of(client, alice)
    assert (await client.get("/api/realtime/events", params={"ticket": ticket})).status_code == 401
    assert (await client.get("/api/settings/sessions", params={"ticket": ticket})).status_code == 401


async def test_ticket_is_refused_when_its_session_has_ended(
    client: AsyncClient, db: SystemSession, alice: Any
) -> None:
    ticket = await ticket_of(client, alice)
    ended = update(UserSession).where(UserSession.id == alice.session_id).values(revoked_at=clock.now())
    await db.execute(ended)
    await db.commit()
    assert await refusal(client, ticket) == (401, "session_revoked")


async def test_ticket_is_not_told_again_when_its_request_is_repeated(client: AsyncClient, alice: Any) -> None:
    key = {"Idempotency-Key": "once"}
    assert (await ticket_of(client, alice, **key)).startswith("luneo_st_")
    again = await client.post(TICKETS, headers={**alice.headers, **key})
    assert (again.json(), again.headers["idempotency-replayed"]) == (
        {"ticket": None, "expires_in": 30},
        "true",
    )


async def test_tickets_are_pruned_when_they_are_old(
    client: AsyncClient, db: SystemSession, database: Database, alice: Any
) -> None:
    await ticket_of(client, alice)
    with clock.travel(timedelta(minutes=9)):
        await ticket_of(client, alice)
    count = select(func.count()).select_from(RealtimeTicket)
    with clock.travel(timedelta(minutes=50)):
        await prune_events(database)
        assert await db.scalar(count) == 2
    with clock.travel(timedelta(minutes=62)):
        await prune_events(database)
        assert await db.scalar(count) == 1
