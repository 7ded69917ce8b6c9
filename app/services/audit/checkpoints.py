"""Owns signed heads: made each night, told to customers' webhooks, and proved by the published keys."""

from uuid import UUID

from app.core.audit import base64_text, checkpoint_message, signing_key
from app.core.crypto import key_ring
from app.core.database import SystemSession
from app.core.events import emit
from app.core.ids import uuid7
from app.models.audit import AuditCheckpoint
from app.repositories.audit import ChainRepository
from app.services.audit.events import AuditCheckpointSigned


async def sign_head(session: SystemSession, organization_id: UUID) -> AuditCheckpoint | None:
    """Sign the head of a chain and tell of it; None when the newest checkpoint is about this head already."""
    chain = ChainRepository(session, organization_id)
    head = await chain.lock_head()
    last = await chain.newest_checkpoint()
    if head.seq == 0 or (last is not None and last.seq >= head.seq):
        return None
    signed_at = await session.now()
    key = signing_key(key_ring())
    message = checkpoint_message(organization_id, head.seq, head.head_hash, signed_at)
    checkpoint = AuditCheckpoint(
        organization_id=organization_id,
        id=uuid7(),
        seq=head.seq,
        head_hash=head.head_hash,
        signed_at=signed_at,
        key_id=key.key_id,
        public_key=key.public_key,
        signature=key.sign(message),
    )
    session.add(checkpoint)
    await session.flush()
    signed = AuditCheckpointSigned(
        seq=checkpoint.seq,
        head_hash=base64_text(checkpoint.head_hash),
        signed_at=signed_at,
        key_id=checkpoint.key_id,
        signature=base64_text(checkpoint.signature),
    )
    await emit(session, signed, organization_id=organization_id)
    return checkpoint
