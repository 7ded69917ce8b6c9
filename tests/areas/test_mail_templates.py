"""Texts of mails that an organisation or the staff writes: judged, versioned, tried out, and sent."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.core import clock, isolation
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.isolated.mail_markup import faults
from app.core.isolated.mail_texts import judge, render_parts
from app.models.notifications import EmailTemplate
from app.services.notifications import composing
from app.services.notifications.samples import OVERRIDABLE, SAMPLES, essential_of, sample_of
from app.services.notifications.senders import SenderBoard
from app.services.notifications.sending import send
from app.services.notifications.templates import LOCALES, PARTS, VARIABLES, source
from app.services.notifications.texts import from_files
from tests.factories.accounts import access_token_of, make_session
from tests.factories.mail import email_of, make_email
from tests.support.events import handle_events
from tests.support.mail_providers import PlayedBrevo
from tests.support.personas import Persona

SHIPPED = "/api/notifications/templates/order_shipped/fr"
PLATFORM = "/api/notifications/operator/templates"
TEXTS = {
    "subject": "{{ number }} est en route",
    "html": '<p>Bonjour {{ name }}</p><p><a href="{{ action_url }}">Suivre</a></p>',
    "text": "Bonjour {{ name }}\n\n{{ action_url }}\n",
}


@pytest.fixture
async def staff(db: SystemSession, alice: Persona, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(get_settings(), "platform_staff_ids", [str(alice.user_id)])
    session = await make_session(db, alice.user_id, organization_id=alice.organization_id, aal=2)
    return {"Authorization": f"Bearer {access_token_of(session)}"}


async def write(client: AsyncClient, headers: dict[str, str], **parts: str) -> Any:
    return await client.put(SHIPPED, json={**TEXTS, **parts}, headers=headers)


def test_samples_when_they_are_compared_with_the_templates() -> None:
    named = set().union(*VARIABLES.values())
    assert named == set(SAMPLES)
    assert {"order_confirmation", "order_shipped", "order_delivered", "order_refunded"} == OVERRIDABLE


async def test_list_when_nothing_is_written(client: AsyncClient, alice: Persona) -> None:
    answer = await client.get("/api/notifications/templates", headers=alice.headers)
    body = answer.json()
    assert (answer.status_code, body["next_cursor"], body["total"]) == (200, None, None)
    assert {(item["key"], item["locale"]) for item in body["items"]} == {
        (key, locale) for key in OVERRIDABLE for locale in LOCALES
    }
    assert {(item["version"], item["is_overridden"]) for item in body["items"]} == {(0, False)}
    query = {"key": "order_shipped", "locale": "fr"}
    (one,) = (await client.get("/api/notifications/templates", params=query, headers=alice.headers)).json()[
        "items"
    ]
    assert one["subject"] == source("order_shipped", "fr", "subject").strip()


async def test_text_when_it_is_written_again_and_reset(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    for version in (1, 2):
        answer = await write(client, alice.headers, subject=f"{{{{ number }}}} {version}")
        assert (answer.status_code, answer.json()["version"]) == (200, version)
    read = (await client.get(SHIPPED, headers=alice.headers)).json()
    assert (read["is_overridden"], read["version"], read["subject"]) == (True, 2, "{{ number }} 2")
    assert read["variables"] == sample_of("order_shipped")
    strange = (await client.get(SHIPPED, headers=charlie.headers)).json()
    assert (strange["is_overridden"], strange["version"]) == (False, 0)
    for _ in range(2):
        assert (await client.delete(SHIPPED, headers=alice.headers)).status_code == 204
    assert (await client.get(SHIPPED, headers=alice.headers)).json()["version"] == 0
    assert (await write(client, alice.headers)).json()["version"] == 3
    rows = (await db.scalars(select(EmailTemplate).order_by(EmailTemplate.version))).all()
    assert [(row.version, row.is_active, row.created_by) for row in rows] == [
        (1, False, alice.user_id),
        (2, False, alice.user_id),
        (3, True, alice.user_id),
    ]


@pytest.mark.parametrize(
    ("part", "source_text", "code", "line"),
    [
        ("html", "<p>{{ action_url }}</p>\n{{ customer }}", "unknown_variable", 2),
        ("text", "{{ action_url }}\n{% if %}", "syntax_error", 2),
        ("html", "<p>no link</p>", "missing_variable", None),
        ("html", "{{ action_url }}<img src='https://a.example/pixel'>", "markup", None),
    ],
)
async def test_text_when_it_cannot_be_used(
    client: AsyncClient, alice: Persona, part: str, source_text: str, code: str, line: int | None
) -> None:
    answer = await write(client, alice.headers, **{part: source_text})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["line"]) == (422, "template_invalid", line)
    (fault,) = problem["errors"]
    assert (fault["pointer"], fault["code"]) == (f"/{part}", code)
    assert (await client.get(SHIPPED, headers=alice.headers)).json()["version"] == 0


@pytest.mark.commits
async def test_text_when_it_is_written_four_times_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    answers = await asyncio.gather(*(write(client, alice.headers) for _ in range(4)))
    assert sorted(answer.json()["version"] for answer in answers) == [1, 2, 3, 4]
    rows = (await db.scalars(select(EmailTemplate))).all()
    assert [row.version for row in rows if row.is_active] == [4]


@pytest.mark.parametrize("part", ["html", "text"])
async def test_text_when_it_is_larger_than_its_column(client: AsyncClient, alice: Persona, part: str) -> None:
    answer = await write(client, alice.headers, **{part: "é" * 40_000})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, f"/{part}")


@pytest.mark.parametrize(
    ("place", "status"),
    [("welcome/fr", 403), ("order_shipped/de", 404), ("nothing/fr", 404), ("../fr", 404)],
)
async def test_text_when_it_is_not_the_organizations(
    client: AsyncClient, alice: Persona, place: str, status: int
) -> None:
    answer = await client.put(f"/api/notifications/templates/{place}", json=TEXTS, headers=alice.headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "template_not_overridable"


async def test_texts_when_a_viewer_asks(client: AsyncClient, bob: Persona) -> None:
    for method, path in (("GET", SHIPPED), ("PUT", SHIPPED), ("POST", f"{SHIPPED}/test")):
        answer = await client.request(method, path, json=TEXTS, headers=bob.headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


async def test_preview_when_parts_are_tried(client: AsyncClient, alice: Persona) -> None:
    body = {"subject": "{{ number }}!", "variables": {"number": "CMD-7 <b>"}}
    answer = await client.post(f"{SHIPPED}/preview", json=body, headers=alice.headers)
    assert (answer.status_code, answer.json()["subject"]) == (200, "CMD-7 <b>!")
    assert "CMD-7 &lt;b&gt;" in answer.json()["html"]
    assert "<b>" not in answer.json()["html"]
    await write(client, alice.headers)
    mine = (await client.post(f"{SHIPPED}/preview", json={}, headers=alice.headers)).json()
    assert mine["subject"] == f"{SAMPLES['number']} est en route"
    strange = {"variables": {"customer": "x"}}
    answer = await client.post(f"{SHIPPED}/preview", json=strange, headers=alice.headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "template_invalid")
    assert answer.json()["errors"][0]["pointer"] == "/variables"


async def test_trial_when_a_text_is_tried_out(
    client: AsyncClient, database: Database, alice: Persona
) -> None:
    body = {"subject": "Mine: {{ number }}", "variables": {"number": "7"}}
    answer = await client.post(f"{SHIPPED}/test", json=body, headers=alice.headers)
    assert (answer.status_code, answer.json()) == (202, {"status": "queued"})
    assert (await client.get(answer.headers["location"], headers=alice.headers)).status_code == 200
    await handle_events(database)
    mails = (await client.get("/sandbox/mail.json")).json()["items"]
    assert [(mail["to"], mail["subject"]) for mail in mails] == [(alice.email, "[Essai] Mine: 7")]


async def test_trials_when_there_are_too_many(
    client: AsyncClient, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "limit_notification_test", "1/1h")
    found = [
        (await client.post(f"{SHIPPED}/test", json={}, headers=alice.headers)).status_code for _ in range(2)
    ]
    assert found == [202, 429]


async def test_texts_when_too_many_are_tried(
    client: AsyncClient, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "limit_mail_texts", "1/1m")
    tried = await client.post(f"{SHIPPED}/preview", json={}, headers=alice.headers)
    written = await write(client, alice.headers)
    assert (tried.status_code, written.status_code) == (200, 429)


async def test_texts_when_one_organization_tries_many_at_once(
    client: AsyncClient, alice: Persona, charlie: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its second one waits for the first, whoever tries it, and nobody else's does."""
    monkeypatch.setattr(isolation, "MAX_WAIT", 0.05)
    async with isolation._turn(str(alice.organization_id)):
        found = [
            (await client.post(f"{SHIPPED}/preview", json={}, headers=one.headers)).status_code
            for one in (alice, charlie)
        ]
    assert found == [503, 200]


async def test_platform_texts_when_the_staff_writes_them(
    client: AsyncClient, alice: Persona, staff: dict[str, str]
) -> None:
    listed = (await client.get(PLATFORM, headers=staff)).json()["items"]
    assert {item["key"] for item in listed} == set(VARIABLES)
    platform = {**TEXTS, "subject": "Plate-forme {{ number }}"}
    answer = await client.put(f"{PLATFORM}/order_shipped/fr", json=platform, headers=staff)
    assert (answer.status_code, answer.json()["is_overridden"]) == (200, True)
    read = (await client.get(SHIPPED, headers=alice.headers)).json()
    assert (read["subject"], read["is_overridden"]) == ("Plate-forme {{ number }}", False)
    await write(client, alice.headers)
    assert (await client.get(SHIPPED, headers=alice.headers)).json()["subject"] == TEXTS["subject"]
    assert (await client.delete(f"{PLATFORM}/order_shipped/fr", headers=staff)).status_code == 204
    await client.delete(SHIPPED, headers=alice.headers)
    assert (await client.get(SHIPPED, headers=alice.headers)).json()["version"] == 0


async def test_platform_texts_when_an_owner_writes_them(client: AsyncClient, alice: Persona) -> None:
    answer = await client.put(f"{PLATFORM}/order_shipped/fr", json=TEXTS, headers=alice.headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


SENT = {name: SAMPLES[name] for name in VARIABLES["order_shipped"]}


async def test_mails_when_the_texts_of_one_organization_are_slow(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    alice: Persona,
    charlie: Persona,
    brevo: PlayedBrevo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While one of its mails is rendered the next one waits, and those of others are sent."""
    monkeypatch.setattr(composing, "PATIENCE", 0.05)
    for who in (alice, charlie):
        await write(client, who.headers)
    found = []
    async with isolation._turn(str(alice.organization_id)):
        for who in (alice, charlie):
            email_id = await make_email(
                db,
                template="order_shipped",
                locale="fr",
                category="order_customer",
                organization_id=who.organization_id,
                variables=SENT,
            )
            await send(database, [brevo.sender], email_id, board=SenderBoard())
            found.append((await email_of(db, email_id)).status)
    assert found == ["queued", "sent"]


async def test_mail_when_its_organization_wrote_the_text(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    alice: Persona,
    charlie: Persona,
    brevo: PlayedBrevo,
) -> None:
    await write(client, alice.headers)
    for organization_id in (alice.organization_id, charlie.organization_id):
        email_id = await make_email(
            db,
            template="order_shipped",
            locale="fr",
            category="order_customer",
            organization_id=organization_id,
            variables=SENT,
        )
        await send(database, [brevo.sender], email_id, board=SenderBoard())
        assert (await email_of(db, email_id)).template_version == (organization_id == alice.organization_id)
    assert brevo.mails[0]["subject"] == f"{SAMPLES['number']} est en route"
    assert brevo.mails[1]["subject"] != brevo.mails[0]["subject"]


async def test_mail_when_a_written_text_fails_on_what_is_sent(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, brevo: PlayedBrevo
) -> None:
    """It was judged by a sample; the buyer gets the mail all the same, in our own words."""
    spiteful = "{{ action_url }}{% if name != '" + SAMPLES["name"] + "' %}{{ 'a' * 10 ** 9 }}{% endif %}"
    assert (await write(client, alice.headers, html=spiteful)).status_code == 200
    email_id = await make_email(
        db,
        template="order_shipped",
        locale="fr",
        category="order_customer",
        organization_id=alice.organization_id,
        variables={**SENT, "name": "Noé"},
    )
    await send(database, [brevo.sender], email_id, board=SenderBoard())
    assert (await email_of(db, email_id)).template_version == 0
    assert "Noé" in brevo.mails[0]["htmlContent"]


async def test_mail_when_every_process_for_texts_is_taken(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    alice: Persona,
    brevo: PlayedBrevo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await write(client, alice.headers)
    email_id = await make_email(
        db,
        template="order_shipped",
        locale="fr",
        category="order_customer",
        organization_id=alice.organization_id,
        variables=SENT,
    )
    monkeypatch.setattr(get_settings(), "isolated_processes", 1)
    monkeypatch.setattr(composing, "PATIENCE", 0.05)
    async with isolation._slot(1):
        await send(database, [brevo.sender], email_id, board=SenderBoard())
    email = await email_of(db, email_id)
    assert (email.status, email.provider, brevo.calls) == ("queued", None, 0)
    with clock.travel(timedelta(seconds=31)):
        await send(database, [brevo.sender], email_id, board=SenderBoard())
    assert brevo.mails[0]["subject"] == f"{SAMPLES['number']} est en route"


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("key", sorted(VARIABLES))
def test_files_when_they_are_judged_as_written_texts(key: str, locale: str) -> None:
    """What is read can be sent back as it is, also by the staff, who may write all."""
    texts = from_files(key, locale)
    parts = {part: getattr(texts, part) for part in PARTS}
    judge(parts, VARIABLES[key], essential_of(key))
    html = render_parts(parts, sample_of(key), {"html": "{{ content }}"}, {})["html"]
    assert list(faults(html)) == []
