"""Makes versions of texts, and consents to them."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.privacy import Consent, PolicyDocument
from app.services.privacy.consents import subject_ref
from tests.support.personas import Persona

VERSION = "2026-01-15"
"""The first version of every text."""


async def make_policy(db: SystemSession, *, name: str = "terms", **more: Any) -> PolicyDocument:
    """The next version of a text in French: material, and published on its day."""
    count = await db.scalar(select(func.count()).select_from(PolicyDocument))
    day = datetime(2026, 2, 1, tzinfo=UTC) + timedelta(days=count or 0)
    body = more.pop("body", f"The text of {day:%Y-%m-%d}.")
    values: dict[str, Any] = {
        "version": f"{day:%Y-%m-%d}",
        "locale": "fr",
        "title": "Title",
        "is_material": True,
        "published_at": day,
        **more,
    }
    policy = PolicyDocument(
        id=uuid7(), name=name, body=body, sha256=hashlib.sha256(body.encode()).digest(), **values
    )
    db.add(policy)
    await db.commit()
    return policy


async def make_consent(db: SystemSession, *, owner: Persona, **more: Any) -> Consent:
    """A row of a person's ledger: analytics are granted in the settings."""
    values: dict[str, Any] = {
        "purpose": "analytics",
        "is_granted": True,
        "policy_version": VERSION,
        "policy_sha256": b"h" * 32,
        "source": "settings",
        **more,
    }
    consent = Consent(id=uuid7(), user_id=owner.user_id, subject_ref=subject_ref(owner.user_id), **values)
    db.add(consent)
    await db.commit()
    return consent
