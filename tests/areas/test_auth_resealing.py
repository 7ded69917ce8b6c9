"""Keys of the ring are replaced, and what accounts keep sealed moves to the newest one."""

from collections.abc import Iterator

import pytest
from httpx import AsyncClient
from sqlalchemy import select, update

from app.core.config import get_settings
from app.core.crypto import generate_key_text, key_ring, sealed_kid
from app.core.database import Database, SystemSession
from app.models.auth import MfaFactor, UserSession
from app.services.auth import resealing
from app.services.auth.resealing import reseal_accounts
from tests.factories.accounts import access_token_of, make_session, make_user, refresh_token_of
from tests.factories.second_factor import make_factor
from tests.support.accounts import refresh


@pytest.fixture(autouse=True)
def ring() -> Iterator[None]:
    yield
    key_ring.cache_clear()


def use_keys(monkeypatch: pytest.MonkeyPatch, *entries: str) -> None:
    monkeypatch.setattr(get_settings(), "secret_keys", ",".join(entries))
    key_ring.cache_clear()


async def kids(db: SystemSession) -> list[str]:
    """The ids of the keys that sealed the values, in alphabetical order."""
    found = list((await db.execute(select(MfaFactor.secret_sealed))).scalars())
    found += (await db.execute(select(UserSession.refresh_key_sealed))).scalars()
    return sorted(sealed_kid(value) for value in found)


async def test_values_when_the_old_key_leaves_the_ring(
    client: AsyncClient, db: SystemSession, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await make_user(db)
    app_codes = await make_factor(db, user)
    session = await make_session(db, user)
    token = refresh_token_of(session)
    old, new = get_settings().key_ring_text(), generate_key_text()
    kid = new.partition(":")[0]
    use_keys(monkeypatch, new, old)
    assert await reseal_accounts(database) == 2
    assert await kids(db) == [kid, kid]
    assert await reseal_accounts(database) == 0
    use_keys(monkeypatch, new)
    assert (await refresh(client, token)).status_code == 200
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    answer = await client.post("/api/auth/step-up", json={"code": app_codes.code()}, headers=headers)
    assert answer.status_code == 200


async def test_values_when_one_does_not_open(
    db: SystemSession, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resealing, "BATCH", 2)
    users = [await make_user(db) for _ in range(5)]
    for user in users:
        await make_factor(db, user)
    damaged = (await db.execute(select(MfaFactor).where(MfaFactor.user_id == users[1].id))).scalar_one()
    await db.execute(
        update(MfaFactor)
        .where(MfaFactor.id == damaged.id)
        .values(secret_sealed=damaged.secret_sealed[:-1] + bytes([damaged.secret_sealed[-1] ^ 1]))
    )
    await db.commit()
    new = generate_key_text()
    use_keys(monkeypatch, new, get_settings().key_ring_text())
    assert await reseal_accounts(database) == 4
    assert await kids(db) == sorted([new.partition(":")[0]] * 4 + ["t1"])
