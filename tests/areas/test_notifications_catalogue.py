"""The catalogue of notices: every event has its words in both languages, and the team is told."""

import dataclasses
import json
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.core.database import Database, SystemSession
from app.core.events import REGISTRY
from app.core.ids import uuid7
from app.jobs.app import load_areas
from app.models.notifications import Notification
from app.models.team import TeamMember
from app.services.notifications.categories import CATEGORIES
from app.services.notifications.inbox.notices import MAKERS, Fact, Notice
from app.services.notifications.templates import VARIABLES
from app.services.orders.events import DisputeFacts, DisputeState
from tests.invariants.test_events import fields_of, sample
from tests.support.events import handle_events
from tests.support.personas import Persona

VALUES: dict[str, Any] = {
    "kind": "subscription",
    "currency": "EUR",
    "ok": False,
    "is_new_device": True,
    "disabled_reason": "gone",
    "order_number": "ORD-1",
}
"""What decides whether, or how, an event is told."""

load_areas()


async def notices(db: SystemSession, name: str, owner: Persona, **values: Any) -> list[Notice]:
    event = REGISTRY[name]
    fields = fields_of(event, sample)
    known = {field.name for field in dataclasses.fields(event)}
    fields |= {word: value for word, value in {**VALUES, **values}.items() if word in known}
    fact = Fact(
        event_id=uuid7(),
        type=name,
        organization_id=owner.organization_id,
        actor_id=None,
        data=json.loads(json.dumps(event(**fields).data())),
        private={"email": owner.email, "invited_by": str(owner.user_id), "is_first": False},
    )
    return await MAKERS[name](db, fact)


@pytest.mark.parametrize("kind", sorted(MAKERS))
async def test_notice_when_its_event_happens(db: SystemSession, alice: Persona, kind: str) -> None:
    (notice,) = await notices(db, kind, alice)
    assert notice.category in CATEGORIES
    assert set(notice.words) == {"fr", "en"}
    assert notice.words["fr"].title != notice.words["en"].title
    for words in notice.words.values():
        assert words.title
        assert not {"{", "}"} & set(f"{words.title}{words.message}{words.action}")
    assert notice.path is None or notice.path.startswith("/")
    assert notice.holders is not None or notice.people
    assert notice.is_for_anybody or notice.organization_id == alice.organization_id
    named = {"name", "title", "message", "action_url", "action_label"}
    for facts in (notice.facts.get("fr", {}), notice.facts.get("en", {})):
        assert notice.mail == "never" or VARIABLES[notice.template] <= named | set(facts)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("invoice.paid", {"kind": "order"}),
        ("invoice.payment_failed", {"attempt": 2, "attempts_told_before": 1, "is_last_attempt": False}),
        ("auth.signed_in", {"is_new_device": False}),
        ("auth.locked", {"user_id": None}),
        ("audit.verified", {"ok": True}),
    ],
)
async def test_notice_when_nobody_is_to_be_told(
    db: SystemSession, alice: Persona, kind: str, values: dict[str, Any]
) -> None:
    assert await notices(db, kind, alice, **values) == []


@pytest.mark.parametrize(("attempt", "is_last"), [(1, False), (3, False), (4, True)])
async def test_notice_when_an_attempt_to_pay_is_told(
    db: SystemSession, alice: Persona, attempt: int, is_last: bool
) -> None:
    values = {"attempt": attempt, "attempts_told_before": attempt - 1, "is_last_attempt": is_last}
    assert len(await notices(db, "invoice.payment_failed", alice, **values)) == 1


@pytest.mark.parametrize(
    ("state", "level", "fr", "en"),
    [
        ("inquiry", "warning", "Question de la banque sur la", "The bank asks about"),
        ("inquiry_closed", "info", "Question de la banque close", "is closed"),
        ("open", "error", "contestée", "disputed"),
        ("won", "success", "Contestation gagnée", "won"),
        ("lost", "error", "Contestation perdue", "lost"),
    ],
)
async def test_notice_when_a_dispute_stands_otherwise(
    db: SystemSession, alice: Persona, state: DisputeState, level: str, fr: str, en: str
) -> None:
    facts = DisputeFacts(state=state, amount=1234, currency="EUR")
    (notice,) = await notices(db, "order.disputed", alice, dispute=facts, total_amount=99900)
    assert notice.level == level
    assert fr in notice.words["fr"].title
    assert en in notice.words["en"].title
    assert "12,34\u00a0EUR" in notice.words["fr"].message
    assert "EUR\u00a012.34" in notice.words["en"].message


async def test_notice_when_another_amount_was_paid(db: SystemSession, alice: Persona) -> None:
    (notice,) = await notices(db, "order.paid", alice, total_amount=12345, amount_paid=12000)
    assert "EUR\u00a0120.00" in notice.words["en"].message


async def told(db: SystemSession, database: Database, who: Persona) -> list[tuple[str | None, UUID | None]]:
    await handle_events(database)
    rows = await db.execute(
        select(Notification.event_type, Notification.organization_id)
        .where(Notification.user_id == who.user_id)
        .order_by(Notification.created_at)
    )
    return [(row.event_type, row.organization_id) for row in rows]


async def test_invited_person_when_they_have_an_account(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, charlie: Persona
) -> None:
    """They find it in the application, too, once however often it is mailed, and outside of the team."""
    answer = await client.post(
        "/api/team/invite", headers=alice.headers, json={"email": charlie.email, "role": "viewer"}
    )
    assert answer.status_code == 201, answer.text
    assert await told(db, database, charlie) == [("team.member_invited", None)]
    assert await told(db, database, alice) == []


async def test_member_when_their_membership_changes(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, bob: Persona
) -> None:
    """A new role is told inside the organisation; the end is told outside, where it stays."""
    member = (
        await db.scalars(
            select(TeamMember).where(
                TeamMember.user_id == bob.user_id, TeamMember.organization_id == alice.organization_id
            )
        )
    ).one()
    url = f"/api/team/members/{member.id}"
    changed = await client.patch(url, headers=alice.headers, json={"role": "manager"})
    assert changed.status_code == 200, changed.text
    assert await told(db, database, bob) == [("team.member_role_changed", alice.organization_id)]
    assert (await client.delete(url, headers=alice.headers)).status_code in (200, 204)
    assert await told(db, database, bob) == [("team.member_removed", None)]
