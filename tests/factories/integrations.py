"""API keys for tests."""

from datetime import datetime
from typing import Any
from uuid import UUID

from app.core.config import get_settings
from app.core.crypto.api_keys import hash_api_key, make_api_key
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.integrations import ApiKey
from tests.support.personas import Persona


async def make_api_key_row(
    db: SystemSession,
    *,
    owner: Persona,
    permissions: list[str] | None = None,
    created_by: UUID | None = None,
    name: str = "Warehouse",
    expires_at: datetime | None = None,
    **values: Any,
) -> tuple[ApiKey, str]:
    """A key of the owner's organisation, made by the owner unless somebody else is named, and its row."""
    secret = make_api_key(get_settings())
    key = ApiKey(
        organization_id=owner.organization_id,
        id=uuid7(),
        created_by=created_by or owner.user_id,
        name=name,
        key_hash=hash_api_key(secret),
        key_prefix=secret[:15],
        last4=secret[-4:],
        permissions=["admin"] if permissions is None else permissions,
        expires_at=expires_at,
        **values,
    )
    db.add(key)
    await db.commit()
    await db.refresh(key)
    return key, secret
