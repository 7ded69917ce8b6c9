"""A person's own second factor: started, proved, kept, renewed, turned off."""

import base64
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from httpx import AsyncClient, Response
from pyotp import TOTP
from sqlalchemy import func, select, text, update

from app.core import clock
from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.models.auth import MfaBackupCode, MfaFactor, SignInThrottle, User, UserSession
from app.models.notifications import Email
from app.models.team import Organization, TeamMember
from app.services.auth.second_factor.totp import step_of
from app.services.auth.two_factor.pruning import prune_failures, prune_second_factors
from tests.factories.accounts import (
    access_token_of,
    make_member,
    make_organization,
    make_session,
    make_user,
    refresh_token_of,
)
from tests.factories.second_factor import Authenticator, make_backup_codes, make_factor
from tests.support.accounts import PASSWORD, bearer, events, refresh, sign_in
from tests.support.events import handle_events
from tests.support.personas import Persona

PATH = "/api/settings/2fa"


async def start(client: AsyncClient, persona: Persona, **body: Any) -> Response:
    return await client.post(PATH, json=body, headers=persona.headers)


async def started(client: AsyncClient, persona: Persona) -> Authenticator:
    """An authenticator that waits for its first code."""
    body = (await start(client, persona)).json()
    return Authenticator(body["factor_id"], base64.b32decode(body["secret"]))


async def verify(client: AsyncClient, headers: dict[str, str], **body: Any) -> Response:
    return await client.post(f"{PATH}/verify", json=body, headers=headers)


async def disable(client: AsyncClient, headers: dict[str, str], **body: Any) -> Response:
    return await client.post(f"{PATH}/disable", json=body, headers=headers)


async def enabled(client: AsyncClient, persona: Persona) -> tuple[Authenticator, dict[str, Any]]:
    """An authenticator that is on, and the answer to its first code."""
    app_codes = await started(client, persona)
    answer = await verify(client, persona.headers, code=app_codes.code())
    assert answer.status_code == 200
    return app_codes, answer.json()


async def state(client: AsyncClient, headers: dict[str, str]) -> dict[str, Any]:
    answer = await client.get(PATH, headers=headers)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    body: dict[str, Any] = answer.json()
    return body


def refused(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def person(db: SystemSession, persona: Persona) -> User:
    return await db.get_one(User, persona.user_id, populate_existing=True)


async def test_state_when_there_is_none(client: AsyncClient, alice: Persona) -> None:
    assert await state(client, alice.headers) == {
        "enabled": False,
        "factors": [],
        "pending": False,
        "backup_codes_remaining": 0,
        "required_by": [],
    }


@pytest.mark.parametrize("path", [PATH, f"{PATH}/enable"])
async def test_start_when_there_is_none(
    client: AsyncClient, db: SystemSession, alice: Persona, path: str
) -> None:
    answer = await client.post(path, headers=alice.headers)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["location"] == PATH
    body = answer.json()
    assert len(base64.b32decode(body["secret"])) == 20
    uri = urlsplit(body["otpauth_uri"])
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert uri.path == f"/Luneo:{alice.email.replace('@', '%40')}"
    assert parse_qs(uri.query) == {"secret": [body["secret"]], "issuer": ["Luneo"]}
    assert body["qr_svg"].startswith("<svg")
    assert "http" not in body["qr_svg"].replace("http://www.w3.org/2000/svg", "")
    now = await state(client, alice.headers)
    assert (now["enabled"], now["pending"], now["factors"]) == (False, True, [])
    assert (await person(db, alice)).mfa_enabled_at is None
    started_event = {
        "user_id": str(alice.user_id),
        "factor_id": body["factor_id"],
        "sessions_revoked": 0,
    }
    assert await events(db, "user.two_factor_started") == [started_event]


async def test_start_when_it_is_repeated(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    first = await started(client, alice)
    second = await started(client, alice)
    assert await db.scalar(select(func.count(MfaFactor.id))) == 1
    assert refused(await verify(client, alice.headers, code=first.code())) == (422, "code_invalid")
    assert refused(
        await verify(client, alice.headers, factor_id=str(first.factor_id), code=first.code())
    ) == (
        409,
        "two_factor_not_started",
    )
    answer = await verify(client, alice.headers, factor_id=str(second.factor_id), code=second.code())
    assert answer.status_code == 200


async def test_start_when_it_is_on(client: AsyncClient, alice: Persona) -> None:
    _, body = await enabled(client, alice)
    answer = await client.post(PATH, json={}, headers=bearer(body["session"]))
    assert refused(answer) == (409, "two_factor_already_enabled")


async def test_start_when_the_check_is_old(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    await db.execute(
        update(UserSession)
        .where(UserSession.id == alice.session_id)
        .values(step_up_at=clock.now() - timedelta(seconds=901))
    )
    await db.commit()
    assert refused(await start(client, alice)) == (401, "step_up_required")
    assert refused(await disable(client, alice.headers, code="123456")) == (401, "step_up_required")
    codes = await client.post(f"{PATH}/backup-codes", json={"code": "123456"}, headers=alice.headers)
    assert refused(codes) == (401, "step_up_required")


@pytest.mark.parametrize("body", [{"name": ""}, {"name": "x" * 61}, {"name": 1}, {"secret": "A" * 32}, []])
async def test_start_when_the_body_is_wrong(client: AsyncClient, alice: Persona, body: object) -> None:
    assert (await client.post(PATH, json=body, headers=alice.headers)).status_code == 422


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_verify_when_the_code_is_right(
    client: AsyncClient, db: SystemSession, alice: Persona, method: str
) -> None:
    elsewhere = await make_session(db, alice.user_id)
    app_codes = await started(client, alice)
    path = PATH if method == "PUT" else f"{PATH}/verify"
    before = await db.get_one(UserSession, alice.session_id)
    answer = await client.request(method, path, json={"code": app_codes.code()}, headers=alice.headers)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert (body["enabled"], body["sessions_revoked"]) == (True, 1)
    assert len(set(body["backup_codes"])) == 10
    assert body["session"]["session_id"] != str(alice.session_id)
    for ended in (alice.headers, {"Authorization": f"Bearer {access_token_of(elsewhere)}"}):
        assert refused(await client.get("/api/auth/me", headers=ended)) == (401, "session_revoked")
    assert (await refresh(client, refresh_token_of(elsewhere))).status_code == 401
    assert (await refresh(client, refresh_token_of(before))).status_code == 401
    row = await db.get_one(UserSession, body["session"]["session_id"])
    assert (row.aal, row.amr, row.auth_method) == (2, ["pwd", "otp", "mfa"], "password")
    assert (row.expires_at, row.organization_id) == (before.expires_at, before.organization_id)
    old = await db.get_one(UserSession, alice.session_id, populate_existing=True)
    assert (old.replaced_by, old.revoked_reason) == (row.id, "replaced")
    assert (await person(db, alice)).mfa_enabled_at is not None
    renewed = await refresh(client, body["session"]["refresh_token"])
    assert renewed.status_code == 200
    now = await state(client, bearer(renewed.json()))
    assert (now["enabled"], now["pending"], now["backup_codes_remaining"]) == (True, False, 10)
    (factor,) = now["factors"]
    assert set(factor) == {"id", "type", "name", "created_at", "last_used_at"}
    assert (factor["type"], factor["name"]) == ("totp", "Authenticator")


async def test_events_when_it_is_turned_on(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    await make_session(db, alice.user_id)
    _, body = await enabled(client, alice)
    (enabled_event,) = await events(db, "user.two_factor_enabled")
    assert enabled_event["sessions_revoked"] == 1
    reasons = {event["reason"] for event in await events(db, "session.revoked")}
    assert reasons == {"two_factor_enabled", "replaced"}
    assert len(await events(db, "session.revoked")) == 2
    await client.post(
        f"{PATH}/disable", json={"backup_code": body["backup_codes"][0]}, headers=bearer(body["session"])
    )
    await handle_events(database)
    sent = (await db.execute(select(Email.template_key))).scalars().all()
    assert sorted(sent) == ["backup_code_used", "two_factor_disabled", "two_factor_enabled"]


async def test_verify_when_the_code_is_wrong(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    app_codes = await started(client, alice)
    for _ in range(4):
        answer = await verify(client, alice.headers, code=app_codes.wrong_code())
        assert refused(answer) == (422, "code_invalid")
        assert answer.json()["errors"][0]["pointer"] == "/code"
    assert await db.scalar(select(func.count(MfaFactor.id))) == 1
    assert refused(await verify(client, alice.headers, code=app_codes.wrong_code())) == (422, "code_invalid")
    assert await db.scalar(select(func.count(MfaFactor.id))) == 0
    assert refused(await verify(client, alice.headers, code=app_codes.code())) == (
        409,
        "two_factor_not_started",
    )
    assert len(await events(db, "auth.mfa_failed")) == 5


async def test_verify_when_ten_codes_were_wrong(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    for _ in range(2):
        app_codes = await started(client, alice)
        for _ in range(5):
            await verify(client, alice.headers, code=app_codes.wrong_code())
    app_codes = await started(client, alice)
    answer = await verify(client, alice.headers, code=app_codes.code())
    assert refused(answer) == (429, "too_many_attempts")
    assert await db.scalar(select(MfaFactor.attempt_count)) == 0
    session = await db.get_one(UserSession, alice.session_id)
    with clock.travel(timedelta(minutes=16)):
        headers = {"Authorization": f"Bearer {access_token_of(session)}"}
        await db.execute(update(UserSession).values(step_up_at=clock.now()))
        await db.commit()
        secret = base64.b32decode((await client.post(PATH, json={}, headers=headers)).json()["secret"])
        answer = await verify(client, headers, code=Authenticator(uuid7(), secret).code())
    assert answer.status_code == 200


async def test_verify_when_nothing_was_started(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    answer = await verify(client, alice.headers, code="123456")
    assert refused(answer) == (409, "two_factor_not_started")
    answer = await verify(client, alice.headers, code="123456", factor_id=str(uuid7()))
    assert refused(answer) == (409, "two_factor_not_started")
    assert await db.scalar(select(func.count()).select_from(SignInThrottle)) == 0


async def test_verify_when_it_took_too_long(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    app_codes = await started(client, alice)
    session = await db.get_one(UserSession, alice.session_id)
    with clock.travel(timedelta(minutes=11)):
        headers = {"Authorization": f"Bearer {access_token_of(session)}"}
        assert (await state(client, headers))["pending"] is False
        answer = await verify(client, headers, code=app_codes.code())
    assert refused(answer) == (409, "two_factor_not_started")


async def test_verify_when_the_factor_is_somebody_elses(
    client: AsyncClient, alice: Persona, charlie: Persona
) -> None:
    theirs = await started(client, charlie)
    answer = await verify(client, alice.headers, code=theirs.code(), factor_id=str(theirs.factor_id))
    assert refused(answer) == (409, "two_factor_not_started")
    assert (await state(client, alice.headers))["pending"] is False
    assert (await state(client, charlie.headers))["pending"] is True


@pytest.mark.parametrize(
    "code",
    [123456, 123456.0, "12345", "1234567", "１２３４５６", " 12345", "12 345", "123456 ", "", None, True],
)
@pytest.mark.parametrize("path", [f"{PATH}/verify", f"{PATH}/disable", f"{PATH}/backup-codes"])
async def test_code_when_it_is_not_six_digits(
    client: AsyncClient, db: SystemSession, alice: Persona, path: str, code: object
) -> None:
    await make_factor(db, alice.user_id, status="pending")
    answer = await client.post(path, json={"code": code}, headers=alice.headers)
    assert answer.status_code == 422
    assert await db.scalar(select(MfaFactor.attempt_count)) == 0
    assert await db.scalar(select(func.count()).select_from(SignInThrottle)) == 0


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("by", ["code", "backup_code"])
async def test_disable_when_the_code_is_right(
    client: AsyncClient, db: SystemSession, alice: Persona, method: str, by: str
) -> None:
    app_codes, body = await enabled(client, alice)
    headers = bearer(body["session"])
    proof = {"code": app_codes.code(1)} if by == "code" else {"backup_code": body["backup_codes"][4]}
    path = PATH if method == "DELETE" else f"{PATH}/disable"
    answer = await client.request(method, path, json=proof, headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await state(client, headers))["enabled"] is False
    assert await db.scalar(select(func.count(MfaFactor.id))) == 0
    assert await db.scalar(select(func.count(MfaBackupCode.id))) == 0
    assert (await person(db, alice)).mfa_enabled_at is None
    assert (await client.get("/api/auth/me", headers=headers)).status_code == 200
    (event,) = await events(db, "user.two_factor_disabled")
    assert event["user_id"] == str(alice.user_id)
    again = await client.request(method, path, json=proof, headers=headers)
    assert refused(again) == (409, "two_factor_not_enabled")


async def test_codes_when_the_first_verification_used_one(client: AsyncClient, alice: Persona) -> None:
    app_codes = await started(client, alice)
    code, older = app_codes.code(), app_codes.code(-1)
    headers = bearer((await verify(client, alice.headers, code=code)).json()["session"])
    for stale in (code, older):
        assert refused(await disable(client, headers, code=stale)) == (401, "mfa_code_invalid")
        step_up = await client.post("/api/auth/step-up", json={"code": stale}, headers=headers)
        assert refused(step_up) == (401, "mfa_code_invalid")
        renewal = await client.post(f"{PATH}/backup-codes", json={"code": stale}, headers=headers)
        assert refused(renewal) == (401, "mfa_code_invalid")
    assert (await disable(client, headers, code=app_codes.code(1))).status_code == 204


async def test_disable_when_the_code_is_wrong(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    app_codes, body = await enabled(client, alice)
    headers = bearer(body["session"])
    for _ in range(10):
        answer = await disable(client, headers, code=app_codes.wrong_code())
        assert refused(answer) == (401, "mfa_code_invalid")
    assert refused(await disable(client, headers, code=app_codes.code(1))) == (429, "too_many_attempts")
    assert (await person(db, alice)).mfa_enabled_at is not None


@pytest.mark.parametrize("demand", ["require_mfa", "sso_enforced"])
async def test_disable_when_an_organization_demands_it(
    client: AsyncClient, db: SystemSession, alice: Persona, demand: str
) -> None:
    app_codes, body = await enabled(client, alice)
    headers = bearer(body["session"])
    organization = await make_organization(db, name="Maison Exigeante")
    member = await make_member(db, organization, user=await person(db, alice))
    setattr(organization, demand, True)
    await db.commit()
    required = [{"id": str(organization.id), "name": "Maison Exigeante"}]
    assert (await state(client, headers))["required_by"] == required
    answer = await disable(client, headers, code=app_codes.code(1))
    assert refused(answer) == (409, "mfa_required_by_organization")
    assert answer.json()["organizations"] == required
    # Whoever must come by single sign-on has their second factor there, unless everybody needs one.
    await db.execute(update(TeamMember).where(TeamMember.id == member.id).values(must_use_sso=True))
    await db.commit()
    status = (await disable(client, headers, code=app_codes.code(1))).status_code
    assert status == (409 if demand == "require_mfa" else 204)


async def test_disable_when_the_demanding_organization_is_gone(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    app_codes, body = await enabled(client, alice)
    organization = await make_organization(db)
    await make_member(db, organization, user=await person(db, alice))
    await db.execute(
        update(Organization)
        .where(Organization.id == organization.id)
        .values(require_mfa=True, deleted_at=clock.now())
    )
    await db.commit()
    assert (await disable(client, bearer(body["session"]), code=app_codes.code(1))).status_code == 204


async def test_organization_when_it_demands_what_was_just_enabled(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await db.execute(
        update(Organization).where(Organization.id == alice.organization_id).values(require_mfa=True)
    )
    await db.commit()
    answer = await client.get("/api/products", headers=alice.headers)
    assert refused(answer) == (403, "mfa_enrollment_required")
    assert (await state(client, alice.headers))["required_by"][0]["id"] == str(alice.organization_id)
    _, body = await enabled(client, alice)
    assert (await client.get("/api/products", headers=bearer(body["session"]))).status_code == 200


async def test_backup_codes_when_they_are_renewed(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    app_codes, body = await enabled(client, alice)
    headers = bearer(body["session"])
    path = f"{PATH}/backup-codes"
    wrong = await client.post(path, json={"code": app_codes.wrong_code()}, headers=headers)
    assert refused(wrong) == (401, "mfa_code_invalid")
    answer = await client.post(path, json={"code": app_codes.code(1)}, headers=headers)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    codes = answer.json()["backup_codes"]
    assert len(set(codes)) == 10
    assert not set(codes) & set(body["backup_codes"])
    assert await db.scalar(select(func.count(MfaBackupCode.id))) == 10
    old = await client.post(
        "/api/auth/step-up", json={"backup_code": body["backup_codes"][0]}, headers=headers
    )
    assert refused(old) == (401, "mfa_code_invalid")
    new = await client.post("/api/auth/step-up", json={"backup_code": codes[0]}, headers=headers)
    assert new.status_code == 200
    assert (await state(client, headers))["backup_codes_remaining"] == 9
    assert await events(db, "user.backup_codes_regenerated") == [{"user_id": str(alice.user_id)}]
    await handle_events(database)
    sent = (await db.execute(select(Email.template_key))).scalars().all()
    assert "backup_codes_regenerated" in sent


async def test_backup_codes_when_there_is_no_factor(client: AsyncClient, alice: Persona) -> None:
    answer = await client.post(f"{PATH}/backup-codes", json={"code": "123456"}, headers=alice.headers)
    assert refused(answer) == (409, "two_factor_not_enabled")
    by_backup = await client.post(
        f"{PATH}/backup-codes", json={"backup_code": "K7QF-9XWT-3HJM"}, headers=alice.headers
    )
    assert by_backup.status_code == 422


async def test_replay_when_secrets_were_shown(client: AsyncClient, alice: Persona) -> None:
    headers = alice.headers | {"Idempotency-Key": "start"}
    first = await client.post(PATH, json={}, headers=headers)
    replayed = await client.post(PATH, json={}, headers=headers)
    assert replayed.headers["idempotency-replayed"] == "true"
    shown = replayed.json()
    assert (shown["secret"], shown["otpauth_uri"], shown["qr_svg"]) == (None, None, None)
    assert shown["factor_id"] == first.json()["factor_id"]
    secret = base64.b32decode(first.json()["secret"])
    app_codes = Authenticator(shown["factor_id"], secret)
    enabling = {"code": app_codes.code()}
    headers = alice.headers | {"Idempotency-Key": "verify"}
    enabled_answer = await client.post(f"{PATH}/verify", json=enabling, headers=headers)
    assert enabled_answer.status_code == 200
    headers = bearer(enabled_answer.json()["session"]) | {"Idempotency-Key": "renew"}
    renewal = {"code": app_codes.code(1)}
    assert (await client.post(f"{PATH}/backup-codes", json=renewal, headers=headers)).status_code == 200
    replayed = await client.post(f"{PATH}/backup-codes", json=renewal, headers=headers)
    assert (replayed.status_code, replayed.json()) == (200, {"backup_codes": None})


async def test_database_when_it_is_read_by_a_thief(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    headers = alice.headers | {"Idempotency-Key": "start"}
    first = (await client.post(PATH, json={}, headers=headers)).json()
    app_codes = Authenticator(first["factor_id"], base64.b32decode(first["secret"]))
    code = app_codes.code()
    headers = alice.headers | {"Idempotency-Key": "verify"}
    body = (await client.post(f"{PATH}/verify", json={"code": code}, headers=headers)).json()
    await client.post(
        "/api/auth/step-up",
        json={"backup_code": body["backup_codes"][0]},
        headers=bearer(body["session"]),
    )
    tables = (
        await db.execute(
            text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        )
    ).scalars()
    dump = ""
    for table in tables:
        rows = await db.execute(text(f'SELECT row_to_json(t)::text FROM "{table}" AS t'))  # noqa: S608 - a catalogue's name
        dump += "\n".join(rows.scalars())
    assert str(app_codes.factor_id) in dump
    secrets = [first["secret"], app_codes.secret.hex(), base64.b64encode(app_codes.secret).decode(), code]
    for shown in body["backup_codes"]:
        selector, *rest = shown.split("-")
        assert selector in dump
        secrets += [shown, "".join(rest), shown.replace("-", "")]
    secrets += [body["session"]["access_token"], body["session"]["refresh_token"]]
    found = [secret for secret in secrets if secret.lower() in dump.lower() and len(secret) > 6]
    assert not found
    assert f'"{code}"' not in dump


async def test_secret_when_it_is_moved_to_another_row(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    mine, _ = await make_factor(db, alice.user_id), await make_factor(db, charlie.user_id)
    stolen = select(MfaFactor.secret_sealed).where(MfaFactor.user_id == alice.user_id).scalar_subquery()
    await db.execute(
        update(MfaFactor).where(MfaFactor.user_id == charlie.user_id).values(secret_sealed=stolen)
    )
    await db.commit()
    answer = await client.post("/api/auth/step-up", json={"code": mine.code()}, headers=charlie.headers)
    assert refused(answer) == (401, "mfa_code_invalid")


async def test_password_when_it_signs_in_afterwards(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, email="camille@maison.example", password=PASSWORD)
    session = await make_session(db, user)
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    body = (await client.post(PATH, json={"name": "Téléphone"}, headers=headers)).json()
    code = TOTP(body["secret"]).generate_otp(step_of(clock.now()))
    answer = await verify(client, headers, code=code)
    assert answer.status_code == 200
    assert (await sign_in(client, "camille@maison.example")).json()["status"] == "mfa_required"


async def test_routes_when_nobody_is_signed_in(client: AsyncClient) -> None:
    for method, path in [
        ("GET", PATH), ("POST", PATH), ("PUT", PATH), ("DELETE", PATH), ("POST", f"{PATH}/enable"),
        ("POST", f"{PATH}/verify"), ("POST", f"{PATH}/disable"), ("POST", f"{PATH}/backup-codes"),
    ]:  # fmt: skip
        assert refused(await client.request(method, path)) == (401, "unauthenticated")


async def test_pruning_when_nobody_finished(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, charlie: Persona
) -> None:
    await make_user(db, email="camille@maison.example", password=PASSWORD)
    owner = (await db.execute(select(User).where(User.email == "camille@maison.example"))).scalar_one()
    await make_factor(db, owner)
    await make_backup_codes(db, owner)
    await sign_in(client, "camille@maison.example")
    await started(client, alice)
    count = text("SELECT (SELECT count(*) FROM mfa_challenges), (SELECT count(*) FROM mfa_factors)")
    await prune_second_factors(database, clock.now() + timedelta(minutes=9))
    assert tuple((await db.execute(count)).one()) == (1, 2)
    await prune_second_factors(database, clock.now() + timedelta(hours=24))
    assert tuple((await db.execute(count)).one()) == (1, 1)
    await prune_second_factors(database, clock.now() + timedelta(hours=24, minutes=6))
    assert tuple((await db.execute(count)).one()) == (0, 1)


async def test_failures_when_they_are_a_day_old(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    now = clock.now()
    for key, failures, age in ((b"old", 9, 25), (b"fresh", 9, 23), (b"for good", 100, 25)):
        db.add(SignInThrottle(key=key, failed_count=failures, last_failed_at=now - timedelta(hours=age)))
    await db.commit()
    await prune_failures(database, now)
    assert set((await db.execute(select(SignInThrottle.key))).scalars()) == {b"fresh", b"for good"}
