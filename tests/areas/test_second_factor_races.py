"""Second factors at the same moment: every code and every challenge has one winner."""

import asyncio
from collections import Counter
from collections.abc import Awaitable

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select

from app.core.config import get_settings
from app.core.database import SystemSession
from app.models.auth import MfaBackupCode, MfaChallenge, MfaFactor, SignInThrottle, User, UserSession
from tests.factories.accounts import access_token_of, make_session, make_user
from tests.factories.second_factor import make_backup_codes, make_factor
from tests.support.accounts import PASSWORD, events, sign_in

pytestmark = pytest.mark.commits

EMAIL = "camille@maison.example"
MANY = 30


async def together(requests: list[Awaitable[Response]]) -> Counter[str]:
    answers = await asyncio.gather(*requests)
    return Counter(answer.json().get("code", "200") if answer.content else "204" for answer in answers)


async def count(db: SystemSession, model: type) -> int:
    await db.rollback()
    return int(await db.scalar(select(func.count()).select_from(model)) or 0)


@pytest.fixture
async def user(db: SystemSession) -> User:
    return await make_user(db, email=EMAIL, password=PASSWORD)


@pytest.fixture
def generous(monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit stops a try, so that only the rows decide."""
    for name in ("limit_mfa_account", "limit_two_factor", "limit_step_up"):
        monkeypatch.setattr(get_settings(), name, "1000/15m")


async def challenges(client: AsyncClient, number: int) -> list[str]:
    return [(await sign_in(client, EMAIL)).json()["mfa_token"] for _ in range(number)]


def verification(client: AsyncClient, token: str, **proof: str) -> Awaitable[Response]:
    return client.post("/api/auth/mfa/verify", json={"mfa_token": token, **proof})


async def signed_in(db: SystemSession, user: User, number: int = 1) -> list[dict[str, str]]:
    sessions = [await make_session(db, user) for _ in range(number)]
    return [{"Authorization": f"Bearer {access_token_of(session)}"} for session in sessions]


@pytest.mark.usefixtures("generous")
async def test_code_when_thirty_sign_ins_use_it(client: AsyncClient, db: SystemSession, user: User) -> None:
    app_codes = await make_factor(db, user)
    tokens = await challenges(client, MANY)
    code = app_codes.code()
    found = await together([verification(client, token, code=code) for token in tokens])
    assert found == {"200": 1, "mfa_code_invalid": MANY - 1}
    assert await count(db, UserSession) == 1
    assert len(await events(db, "auth.mfa_failed")) == MANY - 1
    assert await db.scalar(select(SignInThrottle.failed_count)) == MANY - 1


async def test_code_when_thirty_sign_ins_use_it_within_the_limit(
    client: AsyncClient, db: SystemSession, user: User
) -> None:
    app_codes = await make_factor(db, user)
    tokens = await challenges(client, MANY)
    code = app_codes.code()
    found = await together([verification(client, token, code=code) for token in tokens])
    assert found["200"] == 1
    assert 9 <= found["mfa_code_invalid"] <= 10
    assert found["too_many_attempts"] == MANY - 1 - found["mfa_code_invalid"]
    assert await count(db, UserSession) == 1


async def test_codes_when_thirty_wrong_ones_come_at_once(
    client: AsyncClient, db: SystemSession, user: User
) -> None:
    app_codes = await make_factor(db, user)
    tokens = await challenges(client, MANY)
    wrong = app_codes.wrong_code()
    found = await together([verification(client, token, code=wrong) for token in tokens])
    assert found == {"mfa_code_invalid": 10, "too_many_attempts": MANY - 10}


@pytest.mark.usefixtures("generous")
async def test_backup_code_when_thirty_sign_ins_use_it(
    client: AsyncClient, db: SystemSession, user: User
) -> None:
    await make_factor(db, user)
    codes = await make_backup_codes(db, user)
    tokens = await challenges(client, MANY)
    found = await together([verification(client, token, backup_code=codes[0]) for token in tokens])
    assert found == {"200": 1, "mfa_code_invalid": MANY - 1}
    assert await count(db, UserSession) == 1
    used = select(func.count(MfaBackupCode.id)).where(MfaBackupCode.used_at.is_not(None))
    assert await db.scalar(used) == 1
    assert await events(db, "auth.backup_code_used") == [{"user_id": str(user.id), "remaining": 9}]


@pytest.mark.usefixtures("generous")
@pytest.mark.parametrize("by", ["code", "backup_code"])
async def test_challenge_when_thirty_verifications_use_it(
    client: AsyncClient, db: SystemSession, user: User, by: str
) -> None:
    app_codes = await make_factor(db, user)
    backup_codes = await make_backup_codes(db, user)
    (token,) = await challenges(client, 1)
    proofs = [{"code": app_codes.code()} if by == "code" else {by: backup_codes[n % 10]} for n in range(MANY)]
    found = await together([verification(client, token, **proof) for proof in proofs])
    assert found["200"] == 1
    assert found["mfa_token_invalid"] + found["mfa_code_invalid"] == MANY - 1
    assert found["mfa_token_invalid"] >= MANY - 5
    assert await count(db, UserSession) == 1
    assert (await db.scalar(select(MfaChallenge.attempt_count)) or 0) <= 5
    used = select(func.count(MfaBackupCode.id)).where(MfaBackupCode.used_at.is_not(None))
    assert await db.scalar(used) == (0 if by == "code" else 1)


@pytest.mark.usefixtures("generous")
async def test_code_when_every_page_uses_it_at_once(
    client: AsyncClient, db: SystemSession, user: User
) -> None:
    app_codes = await make_factor(db, user)
    tokens = await challenges(client, 8)
    headers = await signed_in(db, user, 8)
    proof = {"code": app_codes.code()}
    requests = [verification(client, token, **proof) for token in tokens]
    requests += [client.post("/api/auth/step-up", json=proof, headers=who) for who in headers]
    requests += [client.post("/api/settings/2fa/disable", json=proof, headers=who) for who in headers]
    requests += [client.post("/api/settings/2fa/backup-codes", json=proof, headers=who) for who in headers]
    found = await together(requests)
    assert found["200"] + found["204"] == 1
    refusals = {"mfa_code_invalid", "two_factor_not_enabled", "too_many_attempts", "second_factor_required"}
    assert set(found) <= {"200", "204"} | refusals


@pytest.mark.usefixtures("generous")
async def test_verification_when_it_comes_from_two_sides(
    client: AsyncClient, db: SystemSession, user: User
) -> None:
    app_codes = await make_factor(db, user, status="pending")
    first, second = await signed_in(db, user, 2)
    proof = {"code": app_codes.code()}
    found = await together(
        [client.post("/api/settings/2fa/verify", json=proof, headers=who) for who in (first, second)]
    )
    # The loser comes too late for the row, or finds its session ended by the winner.
    assert found["200"] == 1
    assert found["two_factor_not_started"] + found["session_revoked"] == 1
    assert await count(db, MfaBackupCode) == 10
    live = select(func.count(UserSession.id)).where(UserSession.revoked_at.is_(None))
    assert await db.scalar(live) == 1


@pytest.mark.usefixtures("generous")
async def test_verification_when_a_session_sends_it_five_times(
    client: AsyncClient, db: SystemSession, user: User
) -> None:
    app_codes = await make_factor(db, user, status="pending")
    (headers,) = await signed_in(db, user)
    proof = {"code": app_codes.code()}
    found = await together(
        [client.post("/api/settings/2fa/verify", json=proof, headers=headers) for _ in range(5)]
    )
    assert found["200"] == 1
    assert found["two_factor_not_started"] + found["session_revoked"] == 4
    assert await count(db, MfaBackupCode) == 10
    assert len(await events(db, "user.two_factor_enabled")) == 1


async def test_first_codes_when_thirty_wrong_ones_come_at_once(
    client: AsyncClient, db: SystemSession, user: User
) -> None:
    app_codes = await make_factor(db, user, status="pending")
    (headers,) = await signed_in(db, user)
    proof = {"code": app_codes.wrong_code()}
    found = await together(
        [client.post("/api/settings/2fa/verify", json=proof, headers=headers) for _ in range(MANY)]
    )
    assert found == {"code_invalid": 5, "two_factor_not_started": MANY - 5}
    assert await count(db, MfaFactor) == 0


async def test_starts_when_ten_come_at_once(client: AsyncClient, db: SystemSession, user: User) -> None:
    (headers,) = await signed_in(db, user)
    found = await together([client.post("/api/settings/2fa", json={}, headers=headers) for _ in range(10)])
    assert found == {"200": 10}
    assert await count(db, MfaFactor) == 1


@pytest.mark.usefixtures("generous")
async def test_disabling_when_it_meets_sign_ins(client: AsyncClient, db: SystemSession, user: User) -> None:
    """Each of them locks the person first, so that none waits for another for ever."""
    app_codes = await make_factor(db, user)
    codes = await make_backup_codes(db, user)
    tokens = await challenges(client, 9)
    (headers,) = await signed_in(db, user)
    requests = [
        verification(client, token, backup_code=code) for token, code in zip(tokens, codes, strict=False)
    ]
    requests.append(
        client.post("/api/settings/2fa/disable", json={"code": app_codes.code()}, headers=headers)
    )
    found = await together(requests)
    assert found["204"] == 1
    assert found["200"] + found["mfa_code_invalid"] == 9
    assert await count(db, MfaFactor) == 0
    assert await count(db, MfaBackupCode) == 0
