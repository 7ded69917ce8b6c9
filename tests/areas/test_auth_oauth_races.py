"""Sign-in with other providers, many at the same moment: one effect."""

import asyncio
from collections import Counter

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select

from app.core.database import SystemSession
from app.models.auth import Identity, OneTimeToken, Password, User, UserSession
from app.models.team import Organization
from tests.factories.accounts import access_token_of, make_session, make_user
from tests.support.accounts import bearer, events
from tests.support.oauth import (
    approve,
    come_back,
    exchange,
    finish_link,
    fragment,
    sign_in_with,
    start,
    start_link,
)

pytestmark = pytest.mark.commits


async def count(db: SystemSession, model: type) -> int:
    await db.commit()
    return int(await db.scalar(select(func.count()).select_from(model)) or 0)


async def test_callback_when_twenty_bring_the_same_state(client: AsyncClient, db: SystemSession) -> None:
    back = await approve(client, await start(client))
    answers = await asyncio.gather(*(client.get(back) for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {303: 1, 400: 19}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 400} == {"state_invalid"}
    for model in (OneTimeToken, User, Identity, Organization):
        assert await count(db, model) == 1
    assert len(await events(db, "auth.signed_up")) == 1


@pytest.mark.parametrize("provider", ["google", "github"])
async def test_new_person_when_they_come_back_in_ten_tabs(
    client: AsyncClient, db: SystemSession, provider: str
) -> None:
    trips = [await start(client, provider) for _ in range(10)]
    backs = [await approve(client, trip) for trip in trips]
    found = [fragment(answer) for answer in await asyncio.gather(*(client.get(back) for back in backs))]
    assert all(set(item) == {"auth_code"} for item in found)
    answers = await asyncio.gather(
        *(exchange(client, item["auth_code"], trip.verifier) for item, trip in zip(found, trips, strict=True))
    )
    assert [answer.status_code for answer in answers] == [200] * 10
    assert len({answer.json()["user"]["id"] for answer in answers}) == 1
    assert await count(db, User) == 1
    assert await count(db, Identity) == 1
    assert await count(db, Organization) == 1
    assert await count(db, UserSession) == 10
    assert len(await events(db, "user.identity_linked")) == 1


async def test_known_person_when_ten_tabs_link_for_the_first_time(
    client: AsyncClient, db: SystemSession
) -> None:
    await make_user(db, email="camille@maison.example")
    answers = await asyncio.gather(*(sign_in_with(client) for _ in range(10)))
    assert [answer.status_code for answer in answers] == [200] * 10
    assert await count(db, Identity) == 1
    assert len(await events(db, "user.identity_linked")) == 1


async def test_code_when_ten_exchange_it(client: AsyncClient, db: SystemSession) -> None:
    """One wins; the others prove that the code is in two hands, so the session does not live."""
    trip = await start(client)
    found = await come_back(client, trip)
    answers = await asyncio.gather(*(exchange(client, found["auth_code"], trip.verifier) for _ in range(10)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 410: 9}
    assert await count(db, UserSession) == 1
    (opened,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert (await client.get("/api/auth/me", headers=bearer(opened))).json()["code"] == "session_revoked"
    assert len(await events(db, "session.revoked")) == 1


async def test_subject_when_two_people_link_it(client: AsyncClient, db: SystemSession) -> None:
    people = [await make_user(db) for _ in range(2)]
    headers = []
    for user in people:
        session = await make_session(db, user)
        headers.append({"Authorization": f"Bearer {access_token_of(session)}"})
    for round_number in range(3):
        subject = str(1000 + round_number)
        trips = [await start_link(client, each) for each in headers]
        found = [await come_back(client, trip, subject=subject) for trip in trips]
        answers = await asyncio.gather(
            *(
                finish_link(client, each, item["auth_code"], trip.verifier)
                for each, item, trip in zip(headers, found, trips, strict=True)
            )
        )
        codes = Counter(answer.json().get("code", "linked") for answer in answers)
        assert codes == {"linked": 1, "identity_in_use": 1}
        assert await count(db, Identity) == 1
        (winner,) = [each for each, item in zip(headers, answers, strict=True) if item.status_code == 201]
        identity = (await client.get("/api/settings/identities", headers=winner)).json()["items"][0]
        # Everybody here has no password, so the last way in is given back by the database.
        assert (await client.delete(f"/api/settings/identities/{identity['id']}", headers=winner)).json()[
            "code"
        ] == "last_credential"
        await db.delete(await db.get_one(Identity, (await db.execute(select(Identity.id))).scalar_one()))
        await db.commit()


async def test_person_when_two_subjects_are_linked_at_once(client: AsyncClient, db: SystemSession) -> None:
    session = await make_session(db, await make_user(db))
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    trips = [await start_link(client, headers) for _ in range(2)]
    found = [await come_back(client, trip, subject=str(number)) for number, trip in enumerate(trips)]
    answers = await asyncio.gather(
        *(
            finish_link(client, headers, item["auth_code"], trip.verifier)
            for item, trip in zip(found, trips, strict=True)
        )
    )
    codes = Counter(answer.json().get("code", "linked") for answer in answers)
    assert codes == {"linked": 1, "identity_already_linked": 1}


async def test_unlinking_when_both_ways_in_go_at_once(client: AsyncClient, db: SystemSession) -> None:
    for number in range(3):
        email = f"person-{number}@maison.example"
        opened = (await sign_in_with(client, "google", email)).json()
        assert (await sign_in_with(client, "github", email)).status_code == 200
        items = (await client.get("/api/settings/identities", headers=bearer(opened))).json()["items"]
        answers = await asyncio.gather(
            *(
                client.delete(f"/api/settings/identities/{item['id']}", headers=bearer(opened))
                for item in items
            )
        )
        assert sorted(answer.status_code for answer in answers) == [204, 409]
    assert await count(db, Identity) == 3
    assert await count(db, Password) == 0
