"""Owns the proof of a chain: every hash recomputed, links and numbers compared, in steps without a lock."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from app.core.audit import checkpoint_message, entry_hash, is_signed, known_keys
from app.core.crypto import key_ring
from app.core.database import ScopedSession, SystemSession
from app.core.errors import FieldError, Invalid
from app.core.events import emit
from app.models.audit import GENESIS, AuditCheckpoint
from app.repositories.audit import ChainRepository, InboxRepository
from app.services.audit.events import AuditVerified

STEP = 5_000
MOST = 200_000
"""Entries of one verification; whoever has more goes on at `next_seq`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a verification found. `first_bad_seq` is where the chain first differs from what it should be.

    `head_matches` is None while the end was not reached, `checkpoint_matches` when there is no checkpoint, or
    its key is no longer in the ring.
    """

    entries: int
    from_seq: int
    to_seq: int
    next_seq: int | None
    first_bad_seq: int | None
    head_hash: bytes
    head_matches: bool | None
    checkpoint: AuditCheckpoint | None
    checkpoint_matches: bool | None
    pending: int

    @property
    def is_ok(self) -> bool:
        return (
            self.first_bad_seq is None
            and self.head_matches is not False
            and self.checkpoint_matches is not False
        )


@dataclass(slots=True)
class _Walk:
    """Where a verification stands: the last entry that was right, and the first that was not."""

    organization_id: UUID
    seq: int
    last_hash: bytes
    first_bad_seq: int | None = None
    entries: int = 0
    seen_at_checkpoint: bytes | None = None


async def verify(
    session: ScopedSession,
    organization_id: UUID,
    *,
    from_seq: int | None = None,
    newest: int | None = None,
    most: int = MOST,
) -> Proof:
    """Prove a chain from its base, or from an entry whose predecessor is trusted, or its `newest` entries.

    It reads the head first and goes no further; what is appended meanwhile is not its affair. `session` must
    not hold a transaction open, so that each step sees what is there. 422 `range_not_valid` for a beginning
    behind the end.
    """
    chain = ChainRepository(session, organization_id)
    checkpoint = await chain.newest_checkpoint()
    standing = await chain.standing()
    pending = await InboxRepository(session).count(organization_id)
    if standing is None:
        # Entries that are seen here and whose head is still missing were not just appended.
        is_lost = await chain.has_entries() and await chain.standing() is None
        return _empty(checkpoint, pending, is_lost=is_lost or checkpoint is not None)
    if from_seq is not None and from_seq > standing.seq + 1:
        detail = f"The chain ends at {standing.seq}."
        raise Invalid("range_not_valid", detail, errors=[FieldError("/from_seq", "range_not_valid", detail)])
    if newest is not None:
        from_seq = max(1, standing.seq - newest + 1)
    walk = await _begin(chain, standing, from_seq)
    first = walk.seq + 1
    await _walk(chain, walk, standing.seq, most, checkpoint.seq if checkpoint else None)
    is_complete = walk.first_bad_seq is not None or walk.seq >= standing.seq
    head_matches = None
    if is_complete:
        head_matches = walk.seq == standing.seq and walk.last_hash == standing.head_hash
    bad = walk.first_bad_seq
    if bad is None:
        bad = _strays(standing)
    if bad is None and head_matches is False:
        bad = standing.seq
    matches = _judge_checkpoint(checkpoint, standing, walk)
    if bad is None and matches is False and checkpoint is not None:
        bad = checkpoint.seq
    return Proof(
        entries=walk.entries,
        from_seq=first,
        to_seq=walk.seq,
        next_seq=None if is_complete else walk.seq + 1,
        first_bad_seq=bad,
        head_hash=standing.head_hash,
        head_matches=head_matches,
        checkpoint=checkpoint,
        checkpoint_matches=matches,
        pending=pending,
    )


def _empty(checkpoint: AuditCheckpoint | None, pending: int, *, is_lost: bool) -> Proof:
    """A chain without a head; one that has entries, or was signed before, has lost it."""
    return Proof(
        entries=0,
        from_seq=1,
        to_seq=0,
        next_seq=None,
        first_bad_seq=1 if is_lost else None,
        head_hash=GENESIS,
        head_matches=not is_lost,
        checkpoint=checkpoint,
        checkpoint_matches=None if checkpoint is None else False,
        pending=pending,
    )


async def _begin(chain: ChainRepository, standing: Row[Any], from_seq: int | None) -> _Walk:
    """Before the first entry that is to be proved."""
    before = from_seq - 1 if from_seq is not None else standing.base_seq
    if before <= standing.base_seq:
        return _Walk(chain.organization_id, standing.base_seq, standing.base_hash)
    known = await chain.hash_at(before)
    if known is not None:
        return _Walk(chain.organization_id, before, known)
    now = await chain.standing()
    if now is not None and now.base_seq >= before:
        return _Walk(chain.organization_id, now.base_seq, now.base_hash)
    return _Walk(chain.organization_id, before - 1, b"", first_bad_seq=before)


async def _walk(chain: ChainRepository, walk: _Walk, up_to: int, most: int, signed_seq: int | None) -> None:
    """Go on until the end, the first fault, or `most` entries."""
    while walk.first_bad_seq is None and walk.seq < up_to and walk.entries < most:
        rows = await chain.step(walk.seq, up_to, min(STEP, most - walk.entries))
        # Hashing takes its time; others are answered meanwhile.
        await asyncio.to_thread(_compare, walk, rows, signed_seq)
        if walk.first_bad_seq is None and rows:
            continue
        if await _was_pruned(chain, walk):
            continue
        walk.first_bad_seq = walk.first_bad_seq or walk.seq + 1


def _compare(walk: _Walk, rows: Sequence[Row[Any]], signed_seq: int | None) -> None:
    """Recompute entries in their order, up to the first that is not what it should be."""
    for row in rows:
        expected = entry_hash(walk.last_hash, walk.seq + 1, row)
        if row.seq != walk.seq + 1 or row.prev_hash != walk.last_hash or row.entry_hash != expected:
            walk.first_bad_seq = walk.seq + 1
            return
        walk.seq, walk.last_hash = row.seq, row.entry_hash
        walk.entries += 1
        if row.seq == signed_seq:
            walk.seen_at_checkpoint = row.entry_hash


async def _was_pruned(chain: ChainRepository, walk: _Walk) -> bool:
    """Whether what is missing was pruned meanwhile; if so, the walk goes on behind it."""
    now = await chain.standing()
    if now is None or now.base_seq <= walk.seq:
        return False
    walk.seq, walk.last_hash, walk.first_bad_seq = now.base_seq, now.base_hash, None
    return True


def _strays(standing: Row[Any]) -> int | None:
    """An entry before the base or behind the head, which belongs to no chain."""
    if standing.first_seq is not None and standing.first_seq <= standing.base_seq:
        return int(standing.first_seq)
    if standing.last_seq is not None and standing.last_seq > standing.seq:
        return int(standing.seq) + 1
    return None


def _judge_checkpoint(checkpoint: AuditCheckpoint | None, standing: Row[Any], walk: _Walk) -> bool | None:
    """Whether the newest checkpoint was signed by this service, and about this chain."""
    keys = {key.key_id: key.public_key for key in known_keys(key_ring())}
    if checkpoint is None or checkpoint.key_id not in keys:
        return None
    message = checkpoint_message(
        checkpoint.organization_id, checkpoint.seq, checkpoint.head_hash, checkpoint.signed_at
    )
    is_ours = keys[checkpoint.key_id] == checkpoint.public_key
    if not (is_ours and is_signed(checkpoint.public_key, checkpoint.signature, message)):
        return False
    seen = standing.base_hash if checkpoint.seq == standing.base_seq else walk.seen_at_checkpoint
    # A head before the checkpoint means that the end of the chain was cut off together with its head.
    return checkpoint.seq <= standing.seq and (seen is None or seen == checkpoint.head_hash)


async def tell_verified(session: SystemSession, organization_id: UUID, proof: Proof) -> None:
    """Tell what a verification found; the mail to those who must act follows from it."""
    verified = AuditVerified(
        organization_id=organization_id,
        ok=proof.is_ok,
        result="valid" if proof.is_ok else "broken",
        from_seq=proof.from_seq,
        to_seq=proof.to_seq,
        first_bad_seq=proof.first_bad_seq,
    )
    await emit(session, verified, organization_id=organization_id)
