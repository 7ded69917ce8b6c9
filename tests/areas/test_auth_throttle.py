"""The throttle of password sign-in: ten failures in a row lock, for known and unknown addresses alike."""

import asyncio
from datetime import timedelta

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select, update

from app.core import clock
from app.core.database import SystemSession
from app.models.auth import SignInThrottle, UserSession
from app.services.auth.throttle import MOST_WAITING, one_at_a_time, throttle_key
from tests.factories.accounts import access_token_of, make_session, make_user
from tests.support.accounts import DEVICE_KEY, PASSWORD, WRONG, events, sign_in

EMAIL = "camille@maison.example"
NOBODY = "nobody@maison.example"


async def fail(client: AsyncClient, email: str, times: int, *, key: str | None = None) -> Response:
    for _ in range(times):
        answer = await sign_in(client, email, WRONG, key=key)
    return answer


async def preset(db: SystemSession, email: str, failed_count: int, **more: object) -> None:
    """Failures of the past, without trying a hundred passwords."""
    values = {"locked_until": None, "last_failed_at": clock.now(), **more}
    db.add(SignInThrottle(key=throttle_key(email), failed_count=failed_count, **values))
    await db.commit()


async def counter(db: SystemSession, email: str, device_key: bytes | None = None) -> SignInThrottle | None:
    statement = select(SignInThrottle).where(SignInThrottle.key == throttle_key(email, device_key))
    return (await db.execute(statement.execution_options(populate_existing=True))).scalar_one_or_none()


@pytest.mark.parametrize("email", [EMAIL, NOBODY])
async def test_lock_when_ten_tries_failed(client: AsyncClient, db: SystemSession, email: str) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    tenth = await fail(client, email, 10)
    assert (tenth.status_code, tenth.json()["code"]) == (401, "invalid_credentials")
    for password in (WRONG, PASSWORD):
        answer = await sign_in(client, email, password)
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_attempts")
        assert 840 <= int(answer.headers["retry-after"]) <= 901
    locked = await events(db, "auth.locked")
    assert [event["user_id"] for event in locked] == [str(user.id) if email == EMAIL else None]
    assert len(await events(db, "auth.sign_in_failed")) == 10
    row = await counter(db, email)
    assert row is not None
    assert row.failed_count == 10


async def test_lock_when_its_time_is_over(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    await fail(client, EMAIL, 10)
    with clock.travel(timedelta(minutes=15, seconds=1)):
        assert (await sign_in(client, EMAIL, WRONG)).status_code == 401
        assert (await sign_in(client, EMAIL)).status_code == 200
    assert await counter(db, EMAIL) is None


@pytest.mark.parametrize(
    ("before", "minutes"), [(9, 15), (19, 30), (29, 60), (39, 240), (49, 240), (89, 240)]
)
async def test_lock_when_failures_go_on(
    client: AsyncClient, db: SystemSession, before: int, minutes: int
) -> None:
    await preset(db, NOBODY, before)
    await fail(client, NOBODY, 1)
    row = await counter(db, NOBODY)
    assert row is not None
    assert row.locked_until is not None
    assert row.locked_until - row.last_failed_at == timedelta(minutes=minutes)


async def test_lock_when_a_hundred_tries_failed(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    await preset(db, EMAIL, 99)
    await fail(client, EMAIL, 1)
    assert [event["until"] for event in await events(db, "auth.locked")] == [None]
    with clock.travel(timedelta(days=300)):
        answer = await sign_in(client, EMAIL)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "14400")


async def test_failures_when_a_right_password_comes_between(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    for _ in range(3):
        await fail(client, EMAIL, 9)
        assert (await sign_in(client, EMAIL)).status_code == 200
    assert await events(db, "auth.locked") == []


async def test_failures_when_the_right_password_opens_nothing(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD, confirmed=False)
    await fail(client, EMAIL, 9)
    assert (await sign_in(client, EMAIL)).status_code == 403
    assert await counter(db, EMAIL) is None


async def test_failures_when_a_day_has_passed(client: AsyncClient, db: SystemSession) -> None:
    await preset(db, NOBODY, 9, last_failed_at=clock.now() - timedelta(hours=24, seconds=1))
    await fail(client, NOBODY, 1)
    row = await counter(db, NOBODY)
    assert row is not None
    assert (row.failed_count, row.locked_until) == (1, None)


async def test_failures_when_the_address_is_spelled_otherwise(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    await fail(client, EMAIL, 5)
    await fail(client, EMAIL.upper(), 5)
    assert (await sign_in(client, EMAIL)).status_code == 429


async def test_lock_when_a_stranger_caused_it(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    assert (await sign_in(client, EMAIL, key=DEVICE_KEY)).status_code == 200
    await fail(client, EMAIL, 10)
    assert (await sign_in(client, EMAIL)).status_code == 429
    assert (await sign_in(client, EMAIL, key="a-key-that-nobody-has-seen-yet")).status_code == 429
    assert (await sign_in(client, EMAIL, key=DEVICE_KEY)).status_code == 200
    assert (await sign_in(client, EMAIL)).status_code == 429


async def test_lock_when_a_known_device_caused_it(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    await sign_in(client, EMAIL, key=DEVICE_KEY)
    await fail(client, EMAIL, 10, key=DEVICE_KEY)
    assert (await sign_in(client, EMAIL, key=DEVICE_KEY)).status_code == 429
    assert (await sign_in(client, EMAIL)).status_code == 200


@pytest.mark.parametrize(("days", "status"), [(89, 200), (91, 429)])
async def test_device_when_its_session_ended_long_ago(
    client: AsyncClient, db: SystemSession, days: int, status: int
) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    session = await make_session(db, user, device_key=DEVICE_KEY)
    ended = clock.now() - timedelta(days=days)
    await db.execute(
        update(UserSession).where(UserSession.id == session.id).values(revoked_at=ended, expires_at=ended)
    )
    await db.commit()
    await fail(client, EMAIL, 10)
    assert (await sign_in(client, EMAIL, key=DEVICE_KEY)).status_code == status


async def test_step_up_when_its_tries_fail(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    session = await make_session(db, user, step_up=False)
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    await fail(client, EMAIL, 6)
    for _ in range(4):
        answer = await client.post("/api/auth/step-up", json={"password": WRONG}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")
    answer = await client.post("/api/auth/step-up", json={"password": PASSWORD}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_attempts")
    assert (await sign_in(client, EMAIL)).status_code == 429


async def test_queue_when_too_many_wait(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    key = throttle_key(EMAIL)
    release = asyncio.Event()

    async def wait() -> None:
        async with one_at_a_time(key):
            await release.wait()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(1 + MOST_WAITING):
            tasks.create_task(wait())
        await asyncio.sleep(0)
        answer = await sign_in(client, EMAIL)
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_attempts")
        assert answer.headers["retry-after"] == "1"
        assert (await sign_in(client, NOBODY, WRONG)).status_code == 401
        release.set()
    assert (await sign_in(client, EMAIL)).status_code == 200
