"""Owns what readers see of the log: the plan's window, names opened by their keys, and that they read."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.audit import base64_text, known_keys
from app.core.crypto import key_ring
from app.core.database import DatabaseOf, Owner
from app.core.errors import FieldError, Invalid, NotFound
from app.core.events import emit
from app.core.limits import Limiter, LimitRule, enforce
from app.core.paging import PageQuery, Rows
from app.models.audit import AuditCheckpoint
from app.repositories.audit import EntryFilter, EntryRepository
from app.schemas.audit import (
    AuditEntry,
    AuditQuery,
    CheckpointProof,
    CheckpointRead,
    PublicKeyRead,
    PublicKeys,
    Verification,
)
from app.services.audit.events import AuditRead
from app.services.audit.paging import numbered_page, scope_of
from app.services.audit.personal import open_keys
from app.services.audit.pruning import shown_since
from app.services.audit.verifying import Proof, tell_verified, verify
from app.services.audit.views import shown, subjects_of

ONCE_AN_HOUR = LimitRule(1, 3600)


class AuditService:
    """Reads and proves the chain of the caller's organisation."""

    def __init__(
        self, session: Owner, principal: CurrentPrincipal, database: DatabaseOf, request: Request
    ) -> None:
        self.session = session
        self.principal = principal
        self.database = database
        self.request = request
        self.entries = EntryRepository(session)
        assert principal.organization_id is not None  # noqa: S101 - the routes ask for a permission in one
        self.organization_id: UUID = principal.organization_id

    async def list(self, query: AuditQuery) -> tuple[Rows[AuditEntry], datetime | None]:
        """A page of entries, newest first, and from when on the plan shows them (None: all).

        422 `range_not_valid`. That the log was read is kept at most once an hour per reader.
        """
        check_range(query.since, query.until)
        begin = await shown_since(self.session, self.organization_id)
        wanted = EntryFilter(
            action=query.action,
            actor_id=query.actor_id,
            actor_kind=query.actor_kind,
            target=_target(query),
            outcome=query.outcome,
            since=max((moment for moment in (begin, query.since) if moment is not None), default=None),
            until=query.until,
        )
        rows = await numbered_page(
            query,
            scope_of("audit", self.principal, query),
            fetch=lambda before, offset, limit: self.entries.page(
                wanted, before=before, offset=offset, limit=limit
            ),
            count=lambda cap: self.entries.count(wanted, cap),
        )
        async with self.database.system(autocommit=True) as session:
            keys = await open_keys(session, subjects_of(rows.items))
        await self._note_read({name: str(value) for name, value in query.filters().items()})
        return rows.map(lambda entry: shown(entry, keys)), begin

    async def get(self, entry_id: UUID) -> AuditEntry:
        """One entry; 404 also for what lies before the plan's window."""
        entry = await self.entries.find(entry_id, await shown_since(self.session, self.organization_id))
        if entry is None:
            raise NotFound
        async with self.database.system(autocommit=True) as session:
            keys = await open_keys(session, subjects_of([entry]))
        await self._note_read({"entry_id": str(entry_id)})
        return shown(entry, keys)

    async def verify(self, from_seq: int | None) -> Verification:
        """Recompute the chain; told each time, and by mail when it is broken."""
        await enforce(self.request, "audit_verify", key=str(self.organization_id))
        proof = await verify(self.session, self.organization_id, from_seq=from_seq)
        async with self.database.transaction(
            principal=self.principal, request_id=self.session.info["request_id"]
        ) as session:
            await tell_verified(session, self.organization_id, proof)
        return _verification(proof)

    async def checkpoints(self, query: PageQuery) -> Rows[CheckpointRead]:
        """A page of signed heads, newest first."""
        rows: Rows[AuditCheckpoint] = await numbered_page(
            query,
            scope_of("audit_checkpoints", self.principal, query),
            fetch=lambda before, offset, limit: self.entries.checkpoints(
                before=before, offset=offset, limit=limit
            ),
            count=self.entries.count_checkpoints,
        )
        return rows.map(_checkpoint)

    async def _note_read(self, filters: dict[str, str]) -> None:
        limiter: Limiter = self.request.app.state.limiter
        key = f"{self.organization_id}:{self.principal.limit_key}"
        if (await limiter.hit("audit_read", key, ONCE_AN_HOUR)).is_over:
            return
        async with self.database.transaction(
            principal=self.principal, request_id=self.session.info["request_id"]
        ) as session:
            await emit(session, AuditRead(filters=filters))


def check_range(since: datetime | None, until: datetime | None) -> None:
    """422 `range_not_valid` unless the range goes forward."""
    if since is not None and until is not None and since > until:
        detail = "`from` must not be after `to`."
        raise Invalid("range_not_valid", detail, errors=[FieldError("/from", "range_not_valid", detail)])


def public_keys() -> PublicKeys:
    """The keys that checkpoints are proved by, newest first."""
    return PublicKeys(
        keys=[
            PublicKeyRead(key_id=key.key_id, public_key=base64_text(key.public_key))
            for key in known_keys(key_ring())
        ]
    )


def _target(query: AuditQuery) -> dict[str, str] | None:
    if query.target_type is None:
        return None
    target = {"type": query.target_type}
    return target if query.target_id is None else {**target, "id": query.target_id}


def _checkpoint(row: AuditCheckpoint) -> CheckpointRead:
    return CheckpointRead(
        seq=row.seq,
        head_hash=base64_text(row.head_hash),
        signed_at=row.signed_at,
        key_id=row.key_id,
        signature=base64_text(row.signature),
    )


def _verification(proof: Proof) -> Verification:
    checkpoint = proof.checkpoint
    return Verification(
        ok=proof.is_ok,
        entries=proof.entries,
        from_seq=proof.from_seq,
        to_seq=proof.to_seq,
        complete=proof.next_seq is None,
        next_seq=proof.next_seq,
        first_bad_seq=proof.first_bad_seq,
        head_hash=base64_text(proof.head_hash),
        head_matches=proof.head_matches,
        pending=proof.pending,
        checkpoint=None
        if checkpoint is None
        else CheckpointProof(
            seq=checkpoint.seq, signed_at=checkpoint.signed_at, matches=proof.checkpoint_matches
        ),
        checked_at=clock.now(),
    )


Audits = Annotated[AuditService, Depends()]
