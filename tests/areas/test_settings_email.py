"""The change of the address: proved at the new one, undone from the old one, and never telling who has it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select

from app.core import clock
from app.core.crypto import EMAIL_TOKEN_PREFIX, derive_token, key_ring
from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.models.auth import Identity, MfaBackupCode, MfaFactor, OneTimeToken, Password, User, UserSession
from app.models.settings import EmailChange
from app.models.team import Organization
from app.services.settings.email_change import expire_changes
from tests.factories.accounts import access_token_of, make_session, make_user
from tests.support.accounts import OTHER_PASSWORD, PASSWORD, bearer, events, sign_in
from tests.support.links import (
    forgot,
    give_factor,
    magic_link,
    mail_of,
    mailed,
    reset,
    reset_token,
    templates,
    token_of,
    verify_link,
)

OLD = "camille@maison.example"
NEW = "camille.martin@maison.example"
NEWEST = "c.martin@maison.example"
TAKEN = "taken@maison.example"


@pytest.fixture
async def user(db: SystemSession) -> User:
    return await make_user(db, email=OLD, full_name="Camille", password=PASSWORD)


@pytest.fixture
async def session(db: SystemSession, user: User) -> UserSession:
    return await make_session(db, user)


@pytest.fixture
def headers(session: UserSession) -> dict[str, str]:
    return {"Authorization": f"Bearer {access_token_of(session)}"}


async def ask(client: AsyncClient, headers: dict[str, str], new: str = NEW) -> Response:
    return await client.post("/api/settings/email", json={"new_email": new}, headers=headers)


async def confirm(client: AsyncClient, token: str) -> Response:
    return await client.post("/api/settings/email/confirm", json={"token": token})


async def undo(client: AsyncClient, token: str) -> Response:
    return await client.post("/api/settings/email/undo", json={"token": token})


async def change_token(
    client: AsyncClient, database: Database, headers: dict[str, str], new: str = NEW
) -> str:
    assert (await ask(client, headers, new)).status_code == 202
    return token_of(await mail_of(client, database, new, "email_change"))


async def changed(
    client: AsyncClient, database: Database, headers: dict[str, str], old: str = OLD, new: str = NEW
) -> str:
    """Change the address; the token that undoes it."""
    assert (await confirm(client, await change_token(client, database, headers, new))).status_code == 200
    return token_of(await mail_of(client, database, old, "email_changed"))


async def address(db: SystemSession, user_id: UUID) -> str:
    found = await db.get_one(User, user_id, populate_existing=True)
    assert found.email.lower() == found.email_canonical
    return found.email


async def states(db: SystemSession) -> list[str]:
    return list((await db.execute(select(EmailChange.status).order_by(EmailChange.id))).scalars())


async def count(db: SystemSession, model: type) -> int:
    return int(await db.scalar(select(func.count()).select_from(model)) or 0)


async def test_change_when_it_is_asked_for_and_proved(
    client: AsyncClient, db: SystemSession, database: Database, user: User, session: UserSession,
    headers: dict[str, str],
) -> None:  # fmt: skip
    other = await make_session(db, user)
    answer = await ask(client, headers, "Camille.Martin@Maison.example")
    assert (answer.status_code, answer.json()) == (202, {"pending_email": "Camille.Martin@Maison.example"})
    assert (await client.get("/api/settings/profile", headers=headers)).json()["pending_email"] is not None
    assert await address(db, user.id) == OLD
    mail = await mail_of(client, database, "Camille.Martin@Maison.example", "email_change")
    assert mail["links"][0].startswith("http://app.luneo.test/settings/email/confirm#token=luneo_ot_")
    assert "Camille" not in mail["text"].replace("Camille.Martin", "")
    assert await templates(client, database, OLD) == ["email_change_notice"]

    proved = await confirm(client, token_of(mail))
    assert (proved.status_code, proved.json()) == (
        200,
        {"status": "changed", "email": "Camille.Martin@Maison.example"},
    )
    assert proved.headers["cache-control"] == "no-store"
    assert await address(db, user.id) == "Camille.Martin@Maison.example"
    assert (await client.get("/api/auth/me", headers=headers)).json()["user"]["email"].startswith("Camille.")
    old = {"Authorization": f"Bearer {access_token_of(other)}"}
    assert (await client.get("/api/auth/me", headers=old)).json()["code"] == "session_revoked"
    assert (await sign_in(client, OLD)).status_code == 401
    assert (await sign_in(client, NEW)).status_code == 200
    profile = (await client.get("/api/settings/profile", headers=headers)).json()
    assert (profile["pending_email"], profile["email"]) == (None, "Camille.Martin@Maison.example")
    notice = await mail_of(client, database, OLD, "email_changed")
    assert notice["links"][0].startswith("http://app.luneo.test/settings/email/undo#token=luneo_ot_")
    assert await states(db) == ["confirmed"]
    ended = select(UserSession.id, UserSession.revoked_reason).where(UserSession.revoked_at.is_not(None))
    assert (await db.execute(ended)).all() == [(other.id, "email_changed")]


async def test_session_when_it_was_replaced_before_the_proof(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str]
) -> None:
    token = await change_token(client, database, headers)
    body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    replaced = await client.post("/api/settings/password", json=body, headers=headers)
    assert (await confirm(client, token)).status_code == 200
    me = await client.get("/api/auth/me", headers=bearer(replaced.json()["session"]))
    assert me.json()["user"]["email"] == NEW


@pytest.mark.parametrize("act", ["password", "one", "others", "sign out others", "sign out everywhere"])
async def test_change_when_its_person_has_thrown_the_session_out_that_asked(
    client: AsyncClient, database: Database, db: SystemSession, user: User, headers: dict[str, str],
    session: UserSession, act: str,
) -> None:  # fmt: skip
    """An intruder asked for it, and the owner changed the password or ended the session."""
    token = await change_token(client, database, headers)
    own = {"Authorization": f"Bearer {access_token_of(await make_session(db, user))}"}
    if act == "password":
        body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
        done = await client.post("/api/settings/password", json=body, headers=own)
    elif act.startswith("sign out"):
        scope = "others" if act.endswith("others") else "global"
        done = await client.post(f"/api/auth/logout?scope={scope}", headers=own)
    else:
        which = f"/{session.id}" if act == "one" else "?scope=others"
        done = await client.delete(f"/api/settings/sessions{which}", headers=own)
    assert done.is_success
    for _ in range(2):
        refused = await confirm(client, token)
        assert (refused.status_code, refused.json()["code"]) == (410, "token_used")
    found = await db.get_one(User, user.id, populate_existing=True)
    assert (found.email, found.pending_email) == (OLD, None)
    assert await states(db) == ["expired"]


@pytest.mark.parametrize("scope", ["local", "global"])
async def test_change_when_whoever_asked_has_signed_out(
    client: AsyncClient, database: Database, db: SystemSession, user: User, headers: dict[str, str],
    scope: str,
) -> None:  # fmt: skip
    token = await change_token(client, database, headers)
    assert (await client.post(f"/api/auth/logout?scope={scope}", headers=headers)).status_code == 204
    assert (await confirm(client, token)).status_code == 200
    assert await address(db, user.id) == NEW


async def test_change_when_other_sessions_are_ended(
    client: AsyncClient, database: Database, db: SystemSession, user: User, headers: dict[str, str]
) -> None:
    """What one asked for oneself lives on."""
    await make_session(db, user)
    token = await change_token(client, database, headers)
    assert (await client.post("/api/auth/logout?scope=others", headers=headers)).status_code == 204
    profile = (await client.get("/api/settings/profile", headers=headers)).json()
    assert profile["pending_email"] == NEW
    assert (await confirm(client, token)).status_code == 200


async def test_change_when_the_password_is_reset(
    client: AsyncClient, database: Database, db: SystemSession, user: User, headers: dict[str, str]
) -> None:
    """It cannot be proved any more, so it is not shown any more either."""
    token = await change_token(client, database, headers)
    assert (await client.post("/api/auth/logout", headers=headers)).status_code == 204
    assert (await reset(client, await reset_token(client, database, OLD), OTHER_PASSWORD)).status_code == 200
    assert (await confirm(client, token)).json()["code"] == "token_used"
    found = await db.get_one(User, user.id, populate_existing=True)
    assert (found.email, found.pending_email) == (OLD, None)
    assert await states(db) == ["expired"]
    opened = (await sign_in(client, OLD, OTHER_PASSWORD)).json()
    profile = (await client.get("/api/settings/profile", headers=bearer(opened))).json()
    assert profile["pending_email"] is None


async def test_token_when_it_is_used_twice(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str]
) -> None:
    token = await change_token(client, database, headers)
    assert (await confirm(client, token)).status_code == 200
    again = await confirm(client, token)
    assert (again.status_code, again.json()["code"]) == (410, "token_used")
    undoing = token_of(await mail_of(client, database, OLD, "email_changed"))
    assert (await undo(client, undoing)).status_code == 200
    again = await undo(client, undoing)
    assert (again.status_code, again.json()["code"]) == (410, "token_used")


async def test_token_when_it_is_too_old(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str]
) -> None:
    token = await change_token(client, database, headers)
    with clock.travel(timedelta(hours=24, seconds=5)):
        assert (await confirm(client, token)).json()["code"] == "token_expired"
        assert await expire_changes(database) == 1
        assert await expire_changes(database) == 0
    assert await states(db) == ["expired"]
    found = await db.get_one(User, user.id, populate_existing=True)
    assert (found.email, found.pending_email) == (OLD, None)


async def test_change_when_it_still_has_time(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str]
) -> None:
    token = await change_token(client, database, headers)
    with clock.travel(timedelta(hours=23)):
        assert await expire_changes(database) == 0
        assert (await confirm(client, token)).status_code == 200


@pytest.mark.parametrize("path", ["confirm", "undo"])
async def test_token_when_it_is_forged(client: AsyncClient, path: str) -> None:
    use = "email_change" if path == "confirm" else "email_change_undo"
    other = derive_token(key_ring(), EMAIL_TOKEN_PREFIX, "password_reset", uuid7())
    unknown = derive_token(key_ring(), EMAIL_TOKEN_PREFIX, use, uuid7())
    for token in ("x", "luneo_ot_" + "A" * 64, other, unknown):
        answer = await client.post(f"/api/settings/email/{path}", json={"token": token})
        assert (answer.status_code, answer.json()["code"]) == (400, "token_invalid")
    for method in ("GET", "HEAD"):
        assert (await client.request(method, f"/api/settings/email/{path}")).status_code == 405


@pytest.mark.parametrize("same", [OLD, OLD.upper()])
async def test_change_when_the_address_is_the_same(
    client: AsyncClient, user: User, headers: dict[str, str], same: str
) -> None:
    answer = await ask(client, headers, same)
    assert (answer.status_code, answer.json()["code"]) == (422, "email_unchanged")


async def test_change_when_it_is_asked_for_again(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str]
) -> None:
    first = await change_token(client, database, headers)
    second = await change_token(client, database, headers, NEWEST)
    assert (await confirm(client, first)).json()["code"] == "token_used"
    assert (await confirm(client, second)).json()["email"] == NEWEST
    assert await states(db) == ["replaced", "confirmed"]


async def test_change_when_it_is_replaced_before_its_mail(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str]
) -> None:
    for new in (NEW, NEWEST):
        await ask(client, headers, new)
    assert await templates(client, database, NEWEST) == ["email_change"]
    assert await mailed(client, database, NEW) == []
    live = select(func.count()).where(OneTimeToken.voided_at.is_(None))
    assert await db.scalar(live) == 1


async def test_change_when_it_is_cancelled(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str]
) -> None:
    token = await change_token(client, database, headers)
    for _ in range(2):
        assert (await client.delete("/api/settings/email", headers=headers)).status_code == 204
    assert (await confirm(client, token)).json()["code"] == "token_used"
    assert await states(db) == []
    assert (await client.get("/api/settings/profile", headers=headers)).json()["pending_email"] is None
    assert (await ask(client, headers)).status_code == 202


async def test_answer_when_the_address_is_taken(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str],
    statements,
) -> None:  # fmt: skip
    await make_user(db, email=TAKEN, full_name="Somebody")
    seen = []
    for new in (NEW, TAKEN, NEW, TAKEN.upper()):
        with statements() as made:
            answer = await ask(client, headers, new)
        assert (answer.status_code, answer.json()) == (202, {"pending_email": new})
        seen.append(tuple(made))
    assert len(set(seen)) == 1
    assert await templates(client, database, TAKEN) == ["address_in_use"]
    assert await templates(client, database, OLD) == ["email_change_notice"]
    told = await events(db, "user.email_change_requested")
    assert {frozenset(event) for event in told} <= {frozenset({"user_id", "change_id"})}
    assert await count(db, OneTimeToken) == 0
    assert "Somebody" in (await mail_of(client, database, TAKEN, "address_in_use"))["text"]


async def test_change_when_somebody_takes_the_address_meanwhile(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str]
) -> None:
    token = await change_token(client, database, headers)
    await make_user(db, email=NEW)
    answer = await confirm(client, token)
    assert (answer.status_code, answer.json()["code"]) == (409, "email_taken")
    assert await address(db, user.id) == OLD
    assert await states(db) == ["pending"]


async def test_links_when_the_address_has_changed(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str]
) -> None:
    """Whoever reads the old mailbox is not let in by what was sent there before."""
    stale = await reset_token(client, database, OLD)
    link = await magic_link(client, database, OLD)
    await changed(client, database, headers)
    assert (await reset(client, stale, OTHER_PASSWORD)).json()["code"] == "token_used"
    assert (await verify_link(client, **link.by_token())).json()["code"] == "token_used"
    await forgot(client, OLD)
    assert (await templates(client, database, OLD)).count("password_reset") == 1


async def test_undo_when_an_intruder_has_settled_in(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str]
) -> None:
    undoing = await changed(client, database, headers)
    await give_factor(db, user.id, "K7QF-9XWT-3HJM")
    user.mfa_enabled_at = clock.now()
    linked = Identity(id=uuid7(), user_id=user.id, provider="github", provider_subject="1")
    linked.created_at = clock.now()
    db.add(linked)
    await db.commit()
    # The intruder may reset the password and ask for everything else; the way back stays open.
    assert (await ask(client, headers, NEWEST)).status_code == 202
    answer = await undo(client, undoing)
    assert (answer.status_code, answer.json()) == (200, {"status": "undone"})
    assert await address(db, user.id) == OLD
    for model in (Password, Identity, MfaFactor, MfaBackupCode):
        assert await count(db, model) == 0
    found = await db.get_one(User, user.id, populate_existing=True)
    assert (found.mfa_enabled_at, found.pending_email) == (None, None)
    assert (await client.get("/api/auth/me", headers=headers)).json()["code"] == "session_revoked"
    assert await states(db) == ["undone", "replaced"]
    assert (await templates(client, database, OLD)).count("email_change_undone") == 1
    assert (await templates(client, database, NEW)).count("email_change_undone") == 1
    assert await mailed(client, database, NEWEST) == []
    assert (await reset(client, await reset_token(client, database, OLD), OTHER_PASSWORD)).status_code == 200
    assert (await sign_in(client, OLD, OTHER_PASSWORD)).status_code == 200


async def test_undo_when_ways_in_are_older_than_the_change(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str]
) -> None:
    await give_factor(db, user.id, "K7QF-9XWT-3HJM")
    user.mfa_enabled_at = clock.now()
    db.add(
        Identity(id=uuid7(), user_id=user.id, provider="google", provider_subject="1", created_at=clock.now())
    )
    await db.commit()
    assert (await undo(client, await changed(client, database, headers))).status_code == 200
    for model in (Identity, MfaFactor, MfaBackupCode):
        assert await count(db, model) == 1
    assert (await db.get_one(User, user.id, populate_existing=True)).mfa_enabled_at is not None


async def test_undo_when_the_address_was_changed_again(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str]
) -> None:
    first = await changed(client, database, headers)
    second = await changed(client, database, headers, old=NEW, new=NEWEST)
    assert (await undo(client, first)).status_code == 200
    assert await address(db, user.id) == OLD
    assert await states(db) == ["undone", "undone"]
    assert (await undo(client, second)).json()["code"] == "token_used"
    assert (await templates(client, database, NEWEST)).count("email_change_undone") == 1


async def test_undo_when_the_password_was_reset_meanwhile(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str]
) -> None:
    undoing = await changed(client, database, headers)
    token = await reset_token(client, database, NEW)
    assert (await reset(client, token, OTHER_PASSWORD)).status_code == 200
    assert (await undo(client, undoing)).status_code == 200
    assert (await sign_in(client, OLD, OTHER_PASSWORD)).status_code == 401


@pytest.mark.parametrize(("days", "status"), [(6, 200), (8, 410)])
async def test_undo_when_days_have_passed(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str],
    days: int, status: int,
) -> None:  # fmt: skip
    undoing = await changed(client, database, headers)
    with clock.travel(timedelta(days=days)):
        assert (await undo(client, undoing)).status_code == status


async def test_undo_when_somebody_has_the_former_address(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str]
) -> None:
    undoing = await changed(client, database, headers)
    await make_user(db, email=OLD)
    answer = await undo(client, undoing)
    assert (answer.status_code, answer.json()["code"]) == (409, "email_taken")
    assert await address(db, user.id) == NEW
    assert (await sign_in(client, NEW)).status_code == 200


async def test_change_when_the_check_is_old(client: AsyncClient, db: SystemSession, user: User) -> None:
    session = await make_session(db, user, step_up=False)
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    assert (await ask(client, headers)).json()["code"] == "step_up_required"
    assert (await client.delete("/api/settings/email", headers=headers)).status_code == 204


@pytest.mark.parametrize("code", ["own_sign_in_required", "user_sso_managed"])
async def test_change_when_an_organisation_signs_them_in(
    client: AsyncClient, db: SystemSession, user: User, session: UserSession, headers: dict[str, str],
    code: str,
) -> None:  # fmt: skip
    if code == "own_sign_in_required":
        session.auth_method = "sso"
    else:
        user.managed_by_organization_id = (await db.execute(select(Organization.id))).scalar_one()
    await db.commit()
    answer = await ask(client, headers)
    assert answer.status_code == (403 if code == "own_sign_in_required" else 409)
    assert answer.json()["code"] == code
    assert await states(db) == []


async def test_change_when_it_came_too_often(
    client: AsyncClient, user: User, headers: dict[str, str]
) -> None:
    for number in range(5):
        assert (await ask(client, headers, f"c{number}@maison.example")).status_code == 202
    answer = await ask(client, headers)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")


@pytest.mark.parametrize("status", ["suspended", "pending_erasure"])
async def test_links_when_the_account_may_not_be_entered(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str],
    status: str,
) -> None:  # fmt: skip
    token = await change_token(client, database, headers)
    user.status = status
    await db.commit()
    assert (await confirm(client, token)).json()["code"] == "token_invalid"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"new_email": "x"},
        {"new_email": f" {NEW}"},
        {"new_email": f"{NEW}\r\nBcc: x@y.example"},
        {"new_email": "é@maison.example"},
        {"new_email": "a" * 250 + "@x.example"},
        {"new_email": NEW, "email": NEW},
        {"new_email": None},
        {"new_email": [NEW]},
    ],
)
async def test_change_when_the_body_is_wrong(
    client: AsyncClient, db: SystemSession, user: User, headers: dict[str, str], body: dict[str, Any]
) -> None:
    answer = await client.post("/api/settings/email", json=body, headers=headers)
    assert answer.status_code == 422
    assert await states(db) == []
