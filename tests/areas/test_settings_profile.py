"""The profile: reading, changing, what it refuses, and who hears of it."""

import json
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import delete, select

from app.core.database import Database, SystemSession
from app.models.realtime import EventLog
from app.models.settings import Profile
from tests.support.accounts import events
from tests.support.events import handle_events
from tests.support.personas import Persona

URL = "/api/settings/profile"


async def change(client: AsyncClient, who: Persona, body: Any, **headers: str) -> Response:
    # Escaped, so that lone surrogates arrive as a careless client would send them.
    text = json.dumps(body).encode()
    sent = {**who.headers, "Content-Type": "application/json", **headers}
    return await client.patch(URL, content=text, headers=sent)


async def stored(db: SystemSession, who: Persona) -> Profile:
    return await db.get_one(Profile, who.user_id, populate_existing=True)


async def test_profile_when_it_is_read(client: AsyncClient, alice: Persona) -> None:
    answer = await client.get(URL, headers=alice.headers)
    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"1"'
    assert body.pop("created_at") <= body.pop("updated_at")
    assert body.pop("email_confirmed_at") is not None
    assert body == {
        "id": str(alice.user_id),
        "email": "alice@luneo.test",
        "pending_email": None,
        "full_name": "Alice",
        "name": "Alice",
        "company": None,
        "bio": None,
        "city": None,
        "locale": "fr",
        "timezone": "Europe/Paris",
        "avatar_url": None,
        "version": 1,
    }


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_profile_when_it_is_changed(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, method: str
) -> None:
    body = {
        "name": "  Ame\u0301lie Dupré ",
        "company": " ",
        "bio": " <script>alert(1)</script>\nsecond line ",
        "locale": "en",
        "timezone": "America/Argentina/Buenos_Aires",
        "email": "Alice@Luneo.test",
    }
    answer = await client.request(method, URL, json=body, headers=alice.headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["etag"] == '"2"'
    changed = answer.json()
    assert changed["full_name"] == changed["name"] == "Amélie Dupré"
    assert changed["bio"] == "<script>alert(1)</script>\nsecond line"
    assert (changed["locale"], changed["timezone"]) == ("en", "America/Argentina/Buenos_Aires")
    assert changed["company"] is None
    row = await stored(db, alice)
    assert (row.full_name, row.version) == ("Amélie Dupré", 2)
    assert (await stored(db, bob)).version == 1
    assert await events(db, "user.profile_updated") == [
        {"user_id": str(alice.user_id), "fields": ["bio", "full_name", "locale", "timezone"]}
    ]


async def test_profile_when_a_field_is_cleared(client: AsyncClient, alice: Persona) -> None:
    await change(client, alice, {"city": "Lyon", "bio": "Hello"})
    answer = await change(client, alice, {"city": None, "bio": " \n ", "full_name": None})
    body = answer.json()
    assert (body["city"], body["bio"], body["full_name"], body["version"]) == (None, None, None, 3)


async def test_profile_when_nothing_differs(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    answer = await change(client, alice, {"full_name": "Alice", "locale": "fr"})
    assert (answer.status_code, answer.json()["version"]) == (200, 1)
    assert await events(db, "user.profile_updated") == []


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"city": "Lyon", "version": 7}, {}),
        ({"city": "Lyon"}, {"If-Match": '"7"'}),
        ({"city": "Lyon"}, {"If-Match": '"x"'}),
        ({"city": "Lyon", "version": 1}, {"If-Match": '"2"'}),
    ],
)
async def test_profile_when_the_version_is_stale(
    client: AsyncClient, db: SystemSession, alice: Persona, body: dict[str, Any], headers: dict[str, str]
) -> None:
    answer = await change(client, alice, body, **headers)
    assert (answer.status_code, answer.json()["code"]) == (412, "version_mismatch")
    assert answer.json()["version"] == 1
    assert (await stored(db, alice)).city is None


async def test_profile_when_the_version_is_current(client: AsyncClient, alice: Persona) -> None:
    first = await change(client, alice, {"city": "Lyon"}, **{"If-Match": '"1"'})
    assert first.json()["version"] == 2
    second = await change(client, alice, {"city": "Nice", "version": 2})
    assert second.json()["version"] == 3
    third = await change(client, alice, {"city": "Pau"}, **{"If-Match": "*"})
    assert third.json()["version"] == 4


FIXED = [
    *("id", "role", "plan", "status", "subscription_type", "stripe_customer_id", "email_confirmed_at"),
    *("avatar_url", "cover_url", "avatar_file_id", "created_at", "updated_at", "user_id", "pending_email"),
]


@pytest.mark.parametrize("field", FIXED)
async def test_profile_when_a_field_is_not_writable(
    client: AsyncClient, db: SystemSession, alice: Persona, field: str
) -> None:
    for value in ("enterprise", None):
        answer = await change(client, alice, {"city": "Lyon", field: value})
        body = answer.json()
        assert (answer.status_code, body["code"]) == (422, "field_not_writable")
        assert [item["pointer"] for item in body["errors"]] == [f"/{field}"]
    assert (await stored(db, alice)).city is None


@pytest.mark.parametrize("email", ["other@luneo.test", "", None, "alice@luneo.test "])
async def test_profile_when_the_address_is_another(
    client: AsyncClient, db: SystemSession, alice: Persona, email: str | None
) -> None:
    answer = await change(client, alice, {"city": "Lyon", "email": email})
    body = answer.json()
    assert (answer.status_code, body["code"]) == (422, "field_not_writable")
    assert body["errors"][0]["pointer"] == "/email"
    assert "/api/settings/email" in body["errors"][0]["detail"]
    assert (await stored(db, alice)).city is None


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"nickname": "Al"}, "/nickname", "extra_forbidden"),
        ({"name": "A", "full_name": "B"}, "", "names_differ"),
        ({"full_name": "A\u0007"}, "/full_name", "not_one_line"),
        ({"full_name": "A\nB"}, "/full_name", "not_one_line"),
        ({"city": "x" * 121}, "/city", "too_long"),
        ({"company": 7}, "/company", "string_type"),
        ({"bio": "x" * 2001}, "/bio", "too_long"),
        ({"bio": "\u0958" * 1500}, "/bio", "too_long"),
        ({"bio": "a\tb"}, "/bio", "control_character"),
        ({"bio": "a\u0085b"}, "/bio", "control_character"),
        ({"bio": "a\u0000b"}, "/bio", "invalid"),
        ({"bio": "\ud800"}, "/bio", "invalid"),
        ({"locale": "de"}, "/locale", "literal_error"),
        ({"locale": None}, "/locale", "literal_error"),
        ({"timezone": None}, "/timezone", "string_type"),
        ({"timezone": "Europe/Atlantis"}, "/timezone", "time_zone_unknown"),
        ({"timezone": "../../etc/passwd"}, "/timezone", "time_zone_unknown"),
        ({"timezone": "localtime"}, "/timezone", "time_zone_unknown"),
        ({"version": True}, "/version", "invalid"),
        ({"version": 0}, "/version", "greater_than_equal"),
        ({"version": 2**40}, "/version", "less_than_equal"),
        ([], "", "model_attributes_type"),
    ],
)
async def test_profile_when_the_body_is_not_valid(
    client: AsyncClient, db: SystemSession, alice: Persona, body: Any, pointer: str, code: str
) -> None:
    answer = await change(client, alice, {"city": "Lyon", **body} if body else body)
    found = answer.json()
    assert (answer.status_code, found["code"]) == (422, "validation_error"), answer.text
    assert [(item["pointer"], item["code"]) for item in found["errors"]] == [(pointer, code)]
    assert (await stored(db, alice)).version == 1


async def test_ensure_when_there_is_no_profile(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await db.execute(delete(Profile).where(Profile.user_id == alice.user_id))
    await db.commit()
    assert (await client.get(URL, headers=alice.headers)).status_code == 404
    assert (await change(client, alice, {"city": "Lyon"})).status_code == 404
    made = await client.post("/api/profile/ensure", headers=alice.headers)
    assert (made.status_code, made.json()["version"], made.json()["locale"]) == (200, 1, "fr")
    assert made.headers["etag"] == '"1"'


async def test_ensure_when_there_is_a_profile(client: AsyncClient, alice: Persona) -> None:
    await change(client, alice, {"city": "Lyon"})
    made = await client.post("/api/profile/ensure", headers=alice.headers)
    assert (made.json()["city"], made.json()["version"]) == ("Lyon", 2)


async def test_organizations_when_a_members_profile_changes(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, bob: Persona
) -> None:
    """Both organisations of Bob hear the names of the fields, and nothing else of him."""
    await change(client, bob, {"city": "Lyon"})
    await handle_events(database)
    told = await logged(db, "user.updated")
    assert {row["organization_id"] for row in told} >= {str(alice.organization_id)}
    assert len(told) == 2
    assert {str(row["data"]) for row in told} == {str({"user_id": str(bob.user_id), "fields": ["city"]})}


async def logged(db: SystemSession, kind: str) -> list[dict[str, Any]]:
    """The envelopes of the events of one type, in the log."""
    statement = select(EventLog.body).where(EventLog.type == kind).order_by(EventLog.pos)
    return [json.loads(body) for body in (await db.execute(statement)).scalars()]
