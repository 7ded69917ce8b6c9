"""The chain: right, gapless, provable; and what becomes of it when somebody tampers with it."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import DBAPIError

from app.core import clock
from app.core.database import Database, SystemSession
from app.core.events import emit
from app.core.ids import uuid7
from app.jobs.audit import append_entries, care_for_chains, prune_chains, sweep_inbox
from app.models.audit import SYSTEM_CHAIN, AuditCheckpoint, AuditHead, AuditInbox, AuditLog, SubjectKey
from app.services.audit.chaining import append
from app.services.audit.checkpoints import sign_head
from app.services.audit.personal import destroy_subject_key, open_keys, open_part
from app.services.audit.pruning import prune
from app.services.audit.verifying import Proof, verify
from app.services.auth.events import SignedOut
from tests.factories.billing import grant_plan
from tests.support.audit import entries, hash_apart, make_entry, tamper
from tests.support.events import handle_events
from tests.support.personas import Persona


async def proof(db: SystemSession, organization_id: UUID, **more: Any) -> Proof:
    found = await verify(db, organization_id, **more)
    await db.commit()
    return found


@pytest.fixture
async def chain(db: SystemSession, alice: Persona, bob: Persona) -> UUID:
    """Eight entries in Alice's organisation."""
    for number in range(8):
        await make_entry(
            db,
            alice.organization_id,
            actor=alice,
            subject=bob,
            changes={"role": ["viewer", "member"], "email": None, "seats": [number, number + 1]},
        )
    return alice.organization_id


async def test_chain_when_its_hashes_are_worked_out_apart(db: SystemSession, chain: UUID) -> None:
    rows = await entries(db, of=chain)
    assert [row.seq for row in rows] == list(range(1, 9))
    assert rows[0].prev_hash == bytes(32)
    for before, row in zip([None, *rows], rows, strict=False):
        assert row.entry_hash == hash_apart(row)
        assert before is None or row.prev_hash == before.entry_hash
    head = await db.get_one(AuditHead, chain)
    assert (head.seq, head.head_hash) == (8, rows[-1].entry_hash)


async def test_proof_when_nobody_has_tampered(db: SystemSession, chain: UUID) -> None:
    found = await proof(db, chain)
    assert found.is_ok
    assert (found.entries, found.from_seq, found.to_seq, found.next_seq) == (8, 1, 8, None)
    assert (found.first_bad_seq, found.head_matches, found.checkpoint_matches) == (None, True, None)


CHANGES = {
    "action": "UPDATE audit_logs SET action = 'team.nothing' WHERE seq = 4 AND organization_id = :chain",
    "time": "UPDATE audit_logs SET occurred_at = occurred_at - interval '1 microsecond'"
    " WHERE seq = 4 AND organization_id = :chain",
    "actor": "UPDATE audit_logs SET actor_id = NULL WHERE seq = 4 AND organization_id = :chain",
    "changes": 'UPDATE audit_logs SET changes = \'{"role": ["viewer", "owner"]}\''
    " WHERE seq = 4 AND organization_id = :chain",
    "personal": "UPDATE audit_logs SET personal = '[]' WHERE seq = 4 AND organization_id = :chain",
    "fraction": "UPDATE audit_logs SET changes = '{\"seats\": [1e400]}'"
    " WHERE seq = 4 AND organization_id = :chain",
    "link": "UPDATE audit_logs SET prev_hash = '\\x00' WHERE seq = 4 AND organization_id = :chain",
    "hash": "UPDATE audit_logs SET entry_hash = '\\x00' WHERE seq = 4 AND organization_id = :chain",
    "removed": "DELETE FROM audit_logs WHERE seq = 4 AND organization_id = :chain",
}


@pytest.mark.parametrize("how", CHANGES)
async def test_proof_when_an_entry_was_changed_or_removed(db: SystemSession, chain: UUID, how: str) -> None:
    await tamper(db, CHANGES[how], chain=chain)
    found = await proof(db, chain)
    assert not found.is_ok
    assert (found.first_bad_seq, found.to_seq) == (4, 3)


@pytest.mark.parametrize("seq", [1, 8])
async def test_proof_when_the_first_or_the_newest_entry_is_missing(
    db: SystemSession, chain: UUID, seq: int
) -> None:
    await tamper(
        db, "DELETE FROM audit_logs WHERE organization_id = :chain AND seq = :seq", chain=chain, seq=seq
    )
    found = await proof(db, chain)
    assert (found.is_ok, found.first_bad_seq, found.head_matches) == (False, seq, False)


async def test_proof_when_the_newest_entry_was_changed_with_its_hash(db: SystemSession, chain: UUID) -> None:
    last = (await entries(db, of=chain))[-1]
    last.action = "team.nothing"
    forged = hash_apart(last)
    db.expunge(last)
    await tamper(
        db,
        "UPDATE audit_logs SET action = 'team.nothing', entry_hash = :forged"
        " WHERE organization_id = :chain AND seq = 8",
        chain=chain,
        forged=forged,
    )
    found = await proof(db, chain)
    assert (found.is_ok, found.first_bad_seq, found.head_matches) == (False, 8, False)


INSERTIONS = {
    "behind": (9, 9),
    "before": (0, 0),
    "far behind": (20, 9),
}


@pytest.mark.parametrize("where", INSERTIONS)
async def test_proof_when_an_entry_was_inserted(db: SystemSession, chain: UUID, where: str) -> None:
    seq, bad = INSERTIONS[where]
    await tamper(
        db,
        "INSERT INTO audit_logs SELECT organization_id, :seq, :id, prev_hash, entry_hash, occurred_at,"
        " created_at, action, outcome, actor_kind, actor_id, subject_id, targets, context, changes, personal"
        " FROM audit_logs WHERE organization_id = :chain AND seq = 8",
        chain=chain,
        seq=seq,
        id=uuid7(),
    )
    found = await proof(db, chain)
    assert (found.is_ok, found.first_bad_seq) == (False, bad)


async def test_proof_when_an_entry_was_inserted_in_the_middle(db: SystemSession, chain: UUID) -> None:
    """To make room, what follows is moved on."""
    await tamper(
        db, "UPDATE audit_logs SET seq = seq + 100 WHERE organization_id = :chain AND seq > 4", chain=chain
    )
    await tamper(
        db,
        "INSERT INTO audit_logs SELECT organization_id, 5, :id, prev_hash, entry_hash, occurred_at,"
        " created_at, action, outcome, actor_kind, actor_id, subject_id, targets, context, changes, personal"
        " FROM audit_logs WHERE organization_id = :chain AND seq = 4",
        chain=chain,
        id=uuid7(),
    )
    await tamper(
        db, "UPDATE audit_logs SET seq = seq - 99 WHERE organization_id = :chain AND seq > 100", chain=chain
    )
    found = await proof(db, chain)
    assert (found.is_ok, found.first_bad_seq) == (False, 5)


async def test_proof_when_the_end_was_cut_off_with_its_head(db: SystemSession, chain: UUID) -> None:
    """Somebody who rewrites the head, too, is shown by the checkpoint."""
    await sign_head(db, chain)
    await db.commit()
    await tamper(db, "DELETE FROM audit_logs WHERE organization_id = :chain AND seq > 5", chain=chain)
    last = (await entries(db, of=chain))[-1]
    await tamper(
        db,
        "UPDATE audit_heads SET seq = 5, head_hash = :hash WHERE organization_id = :chain",
        chain=chain,
        hash=last.entry_hash,
    )
    found = await proof(db, chain)
    assert (found.head_matches, found.checkpoint_matches) == (True, False)
    assert (found.is_ok, found.first_bad_seq) == (False, 8)


async def test_proof_when_the_whole_chain_is_gone(db: SystemSession, chain: UUID) -> None:
    await sign_head(db, chain)
    await db.commit()
    await tamper(db, "DELETE FROM audit_logs WHERE organization_id = :chain", chain=chain)
    await tamper(db, "DELETE FROM audit_heads WHERE organization_id = :chain", chain=chain)
    found = await proof(db, chain)
    assert (found.is_ok, found.first_bad_seq) == (False, 1)


@pytest.mark.parametrize("is_signed", [True, False])
async def test_proof_when_only_the_head_is_gone(db: SystemSession, chain: UUID, is_signed: bool) -> None:
    """Entries without a head are no empty chain, also before anything was signed."""
    if is_signed:
        await sign_head(db, chain)
        await db.commit()
    await tamper(db, "DELETE FROM audit_heads WHERE organization_id = :chain", chain=chain)
    found = await proof(db, chain)
    assert (found.is_ok, found.first_bad_seq, found.head_matches) == (False, 1, False)


@pytest.mark.parametrize(
    "forgery",
    [
        "UPDATE audit_checkpoints SET signature = sha512(signature) WHERE organization_id = :chain",
        "UPDATE audit_checkpoints SET public_key = sha256(public_key) WHERE organization_id = :chain",
        "UPDATE audit_checkpoints SET head_hash = sha256(head_hash) WHERE organization_id = :chain",
    ],
)
async def test_proof_when_a_checkpoint_was_forged(db: SystemSession, chain: UUID, forgery: str) -> None:
    await sign_head(db, chain)
    await db.commit()
    assert (await proof(db, chain)).checkpoint_matches is True
    await tamper(db, forgery, chain=chain)
    found = await proof(db, chain)
    assert (found.is_ok, found.checkpoint_matches) == (False, False)


async def test_proof_when_it_takes_several_calls(db: SystemSession, chain: UUID) -> None:
    first = await proof(db, chain, most=5)
    assert first.is_ok
    assert (first.to_seq, first.next_seq, first.head_matches) == (5, 6, None)
    rest = await proof(db, chain, from_seq=first.next_seq)
    assert (rest.is_ok, rest.from_seq, rest.to_seq, rest.head_matches) == (True, 6, 8, True)


async def test_proof_when_the_trusted_entry_is_missing(db: SystemSession, chain: UUID) -> None:
    await tamper(db, "DELETE FROM audit_logs WHERE organization_id = :chain AND seq = 4", chain=chain)
    found = await proof(db, chain, from_seq=5)
    assert (found.is_ok, found.first_bad_seq, found.entries) == (False, 4, 0)
    assert (await proof(db, chain, newest=4)).first_bad_seq == 4
    assert (await proof(db, chain, newest=3)).is_ok


async def test_proof_when_a_chain_is_empty(db: SystemSession, charlie: Persona) -> None:
    found = await proof(db, charlie.organization_id)
    assert (found.is_ok, found.entries, found.head_hash) == (True, 0, bytes(32))


@pytest.mark.parametrize("table", [AuditLog, AuditCheckpoint])
@pytest.mark.parametrize("how", ["update", "delete", "truncate"])
async def test_database_when_somebody_changes_what_is_kept(
    db: SystemSession, chain: UUID, table: type[Any], how: str
) -> None:
    await sign_head(db, chain)
    await db.commit()
    statement: Any = {
        "update": update(table).values(organization_id=table.organization_id),
        "delete": delete(table),
        "truncate": text(f"TRUNCATE {table.__tablename__}"),
    }[how]
    with pytest.raises(DBAPIError, match=f"{table.__tablename__} refuses {how.upper()}"):
        await db.execute(statement)
    await db.rollback()
    assert await db.scalar(select(func.count()).select_from(table)) in (1, 8)


async def test_entries_when_a_persons_key_is_destroyed(
    db: SystemSession, chain: UUID, alice: Persona, bob: Persona
) -> None:
    await destroy_subject_key(db, bob.user_id)
    await db.commit()
    assert (await proof(db, chain)).is_ok
    (row, *_) = await entries(db, of=chain)
    keys = await open_keys(db, [alice.user_id, bob.user_id])
    mine, theirs = (open_part(keys, row.id, part) for part in row.personal)
    assert mine is not None
    assert mine["actor"]["email"] == alice.email
    assert theirs is None
    await make_entry(db, chain, actor=alice, subject=bob)
    newest = (await entries(db, of=chain))[-1]
    assert [part["subject"] for part in newest.personal] == [str(alice.user_id)]
    key = await db.get_one(SubjectKey, bob.user_id, populate_existing=True)
    assert (key.key_sealed, key.destroyed_at is not None) == (None, True)


async def test_part_when_it_is_moved_to_another_entry(db: SystemSession, chain: UUID, alice: Persona) -> None:
    row, other, *_ = await entries(db, of=chain)
    keys = await open_keys(db, [alice.user_id])
    assert open_part(keys, row.id, row.personal[0]) is not None
    assert open_part(keys, other.id, row.personal[0]) is None


async def test_checkpoint_when_a_chain_grew(db: SystemSession, database: Database, chain: UUID) -> None:
    await care_for_chains(database)
    await handle_events(database)
    (kept,) = (await db.scalars(select(AuditCheckpoint))).all()
    assert (kept.organization_id, kept.seq) == (chain, 8)
    told = [row.action for row in await entries(db, of=chain)][8:]
    assert told == ["audit.verified", "audit.checkpoint_signed"]
    await care_for_chains(database)
    await handle_events(database)
    assert len((await db.scalars(select(AuditCheckpoint))).all()) == 1, "the night's own entries are no news"
    await make_entry(db, chain)
    await care_for_chains(database)
    assert len((await db.scalars(select(AuditCheckpoint))).all()) == 2
    assert (await proof(db, chain)).is_ok


async def test_prune_when_entries_are_too_old(db: SystemSession, database: Database, alice: Persona) -> None:
    chain, now = alice.organization_id, clock.now()
    for days in (500, 400, 366, 364, 10):
        await make_entry(db, chain, actor=alice, occurred_at=now - timedelta(days=days))
    await sign_head(db, chain)
    await db.commit()
    await prune_chains(database)
    await handle_events(database)
    db.expire_all()
    rows = await entries(db, of=chain)
    assert [row.seq for row in rows] == [4, 5, 6, 7]
    assert rows[-1].action == "audit.pruned"
    assert {"type": "entry", "id": "3"} in rows[-1].targets
    head = await db.get_one(AuditHead, chain, populate_existing=True)
    assert head.base_seq == 3
    assert (await proof(db, chain)).is_ok
    with clock.travel(timedelta(days=400)):
        await prune_chains(database)
    assert (await proof(db, chain)).is_ok


async def test_prune_when_the_plan_shows_more(db: SystemSession, database: Database, alice: Persona) -> None:
    await grant_plan(db, alice.organization_id, "enterprise")
    now = clock.now()
    for days in (1096, 1094):
        await make_entry(db, alice.organization_id, actor=alice, occurred_at=now - timedelta(days=days))
    await prune_chains(database)
    assert [row.seq for row in await entries(db, of=alice.organization_id)] == [2]


async def test_chain_when_an_event_is_handled_again(
    db: SystemSession, database: Database, alice: Persona
) -> None:
    """An entry whose event was handled twice, before and after it was chained, is one."""
    event_id = await make_entry(db, alice.organization_id, actor=alice)
    (row,) = await entries(db, of=alice.organization_id)
    again = {name: getattr(row, name) for name in ("action", "outcome", "actor_kind", "context", "targets")}
    db.add(
        AuditInbox(organization_id=alice.organization_id, id=event_id, occurred_at=row.occurred_at, **again)
    )
    await db.commit()
    assert await append(db, alice.organization_id) == (1, 1)
    await db.commit()
    assert len(await entries(db, of=alice.organization_id)) == 1
    assert await db.scalar(select(func.count()).select_from(AuditInbox)) == 0


async def test_sweep_when_a_job_was_missed(db: SystemSession, database: Database, alice: Persona) -> None:
    db.add(
        AuditInbox(
            organization_id=SYSTEM_CHAIN,
            id=uuid7(),
            occurred_at=clock.now(),
            created_at=clock.now() - timedelta(seconds=6),
            action="auth.sign_in_failed",
            outcome="failure",
            actor_kind="anonymous",
            context={},
        )
    )
    await db.commit()
    await sweep_inbox(database)
    await sweep_inbox(database)
    await handle_events(database)
    assert [row.seq for row in await entries(db, of=SYSTEM_CHAIN)] == [1]


@pytest.mark.commits
async def test_chain_when_many_write_and_two_append(
    db: SystemSession, database: Database, alice: Persona
) -> None:
    chain = alice.organization_id

    async def write(times: int) -> None:
        for _ in range(times):
            async with database.transaction(principal=alice.principal) as session:
                await emit(session, SignedOut(user_id=alice.user_id, scope="local"))

    await asyncio.gather(*(write(25) for _ in range(4)))
    done = asyncio.Event()

    async def keep_appending() -> None:
        while not done.is_set():
            await append_entries(database, organization_id=str(chain))

    appending = [asyncio.ensure_future(keep_appending()) for _ in range(2)]
    await handle_events(database)
    done.set()
    await asyncio.gather(*appending)
    await append_entries(database, organization_id=str(chain))
    rows = await entries(db, of=chain)
    assert [row.seq for row in rows] == list(range(1, 101))
    assert all(row.entry_hash == hash_apart(row) for row in rows)
    assert (await proof(db, chain)).is_ok


@pytest.mark.commits
async def test_proof_when_the_chain_grows_and_is_pruned_meanwhile(
    db: SystemSession, database: Database, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verification takes no lock, and still never takes what is going on for tampering."""
    monkeypatch.setattr("app.services.audit.verifying.STEP", 3)
    monkeypatch.setattr("app.services.audit.pruning.STEP", 7)
    chain, long_ago = alice.organization_id, clock.now() - timedelta(days=400)
    for _ in range(60):
        await make_entry(db, chain, actor=alice, occurred_at=long_ago)
    done = asyncio.Event()
    proofs: list[Proof] = []

    async def keep_verifying() -> None:
        while not done.is_set():
            async with database.system(autocommit=True) as session:
                proofs.append(await verify(session, chain))

    verifying = [asyncio.ensure_future(keep_verifying()) for _ in range(3)]
    for number in range(12):
        seen = len(proofs)
        while len(proofs) == seen:  # noqa: ASYNC110 - what verifies tells nobody
            await asyncio.sleep(0.001)
        async with database.transaction() as session:
            await prune(session, chain)
        await make_entry(db, chain, actor=alice, occurred_at=clock.now() if number > 2 else long_ago)
    done.set()
    await asyncio.gather(*verifying)
    assert all(found.is_ok for found in proofs)
    assert len({found.from_seq for found in proofs}) > 1
    assert (await proof(db, chain)).is_ok
