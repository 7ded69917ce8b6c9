"""Owns people's data in entries: sealed under one key per person, and gone when that key is destroyed."""

import base64
import json
import secrets
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.core.audit import base64_text
from app.core.crypto import SealBroken, key_ring, seal, unseal
from app.core.database import ScopedSession, SystemSession
from app.repositories.audit import SubjectKeyRepository

logger = structlog.get_logger(__name__)

NONCE_BYTES = 12
KEY_BYTES = 32

Keys = Mapping[UUID, bytes]
"""Open keys by person."""


async def seal_parts(
    session: SystemSession, event_id: UUID, parts: Mapping[UUID, Mapping[str, Any]]
) -> list[dict[str, str]]:
    """The parts of an entry, each sealed under its person's key; there is none for a destroyed key."""
    keys = await _keys_for_sealing(session, parts.keys())
    return [
        {"subject": str(subject), "sealed": _sealed(keys[subject], event_id, subject, part)}
        for subject, part in parts.items()
        if subject in keys
    ]


async def open_keys(session: ScopedSession, subjects: Collection[UUID]) -> Keys:
    """The keys of those people whose key is there; one statement.

    A key that was sealed by a root key which is no longer in the ring counts as not there.
    """
    opened: dict[UUID, bytes] = {}
    for subject, key in (await SubjectKeyRepository(session).live(subjects)).items():
        try:
            opened[subject] = unseal(key_ring(), key, context=context_of(subject))
        except SealBroken:
            logger.error("subject_key_unreadable", subject_id=str(subject))
    return opened


def open_part(keys: Keys, event_id: UUID, part: Mapping[str, str]) -> dict[str, Any] | None:
    """What a part holds; None when its key was destroyed, or when somebody has tampered with it."""
    subject = UUID(part["subject"])
    key = keys.get(subject)
    if key is None:
        return None
    try:
        raw = _raw(part["sealed"])
        plain = AESGCM(key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound_to(event_id, subject))
    except (InvalidTag, ValueError):
        return None
    opened: dict[str, Any] = json.loads(plain)
    return opened


async def destroy_subject_key(session: SystemSession, subject_id: UUID) -> None:
    """Make everything that entries keep of a person unreadable, for good, in the caller's transaction.

    The chain stays valid, since it covers what is sealed. Entries that come later keep nothing of them.
    """
    await SubjectKeyRepository(session).destroy(subject_id, await session.now())


async def _keys_for_sealing(session: SystemSession, subjects: Collection[UUID]) -> Keys:
    keys = SubjectKeyRepository(session)
    known = await keys.live(subjects)
    if missing := sorted(set(subjects) - set(known)):
        for subject in missing:
            fresh = seal(key_ring(), secrets.token_bytes(KEY_BYTES), context=context_of(subject))
            await keys.make(subject, fresh)
    return await open_keys(session, subjects)


def _sealed(key: bytes, event_id: UUID, subject: UUID, part: Mapping[str, Any]) -> str:
    nonce = secrets.token_bytes(NONCE_BYTES)
    plain = json.dumps(part, ensure_ascii=False).encode()
    return base64_text(nonce + AESGCM(key).encrypt(nonce, plain, _bound_to(event_id, subject)))


def _raw(sealed: str) -> bytes:
    return base64.b64decode(sealed, validate=True)


def _bound_to(event_id: UUID, subject: UUID) -> bytes:
    return f"audit_logs:{event_id}:{subject}".encode()


def context_of(subject: UUID) -> str:
    """What binds a sealed key to its person."""
    return f"subject_keys.key_sealed:{subject}"
