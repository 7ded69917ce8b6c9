"""Files of entries: who may ask, what is in them, that they prove themselves, and when they go."""

import asyncio
import csv
import io
import json
import subprocess
import sys
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select

from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.jobs.audit import close_old_exports, export_entries
from app.models.audit import AuditExport
from app.models.files import StoredFile
from app.services.audit.checkpoints import sign_head
from app.services.audit.personal import destroy_subject_key
from app.services.audit.writing import COLUMNS, safe_cell
from tests.factories.accounts import access_token_of, make_session
from tests.factories.billing import grant_plan
from tests.support.audit import entries, make_entry
from tests.support.events import handle_events
from tests.support.personas import Persona

EXPORTS = "/api/audit-logs/exports"
RANGE = {"from": "2026-01-01T00:00:00Z", "to": "2126-01-01T00:00:00Z"}


@pytest.fixture
async def owner(db: SystemSession, alice: Persona) -> Persona:
    """Alice, whose plan has exports."""
    await grant_plan(db, alice.organization_id, "enterprise")
    return alice


async def ask(client: AsyncClient, who: Persona, form: str = "jsonl", **more: Any) -> Response:
    return await client.post(EXPORTS, headers=who.headers, json={"format": form, **RANGE, **more})


async def made(client: AsyncClient, database: Database, who: Persona, **body: Any) -> dict[str, Any]:
    """A finished export."""
    answer = await ask(client, who, **body)
    assert answer.status_code == 202, answer.text
    await handle_events(database)
    found: dict[str, Any] = (await client.get(answer.headers["location"], headers=who.headers)).json()
    return found


async def download(client: AsyncClient, who: Persona, export: dict[str, Any]) -> Response:
    return await client.get(f"{EXPORTS}/{export['id']}/download", headers=who.headers)


def prove(folder: Path) -> tuple[int, str]:
    """What the file's own program says, run by a Python that knows nothing of this service."""
    done = subprocess.run(
        [sys.executable, "-I", "verify.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


async def unpacked(
    client: AsyncClient, who: Persona, export: dict[str, Any], folder: Path
) -> list[dict[str, Any]]:
    """The manifest and the entries of a file, which is unpacked into the folder."""
    answer = await download(client, who, export)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"].startswith("attachment")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert set(archive.namelist()) == {"entries.jsonl", "verify.py"}
        archive.extractall(folder)
    return [json.loads(line) for line in (folder / "entries.jsonl").read_text().strip().split("\n")]


@pytest.fixture
async def chain(db: SystemSession, owner: Persona, bob: Persona) -> UUID:
    """Six entries with a checkpoint in between; the names in `changes` show the order that JCS asks for."""
    for number in range(6):
        await make_entry(
            db,
            owner.organization_id,
            actor=owner,
            subject=bob,
            action="team.member_removed" if number % 2 else "team.member_joined",
            changes={"\U0001f600": [number, "\u2028\n\"'"], "email": None, "￿": [None, True]},
        )
        if number == 3:
            await sign_head(db, owner.organization_id)
            await db.commit()
    return owner.organization_id


async def test_file_when_it_proves_itself(
    client: AsyncClient, database: Database, db: SystemSession, owner: Persona, chain: UUID, tmp_path: Path
) -> None:
    export = await made(client, database, owner)
    assert (export["status"], export["row_count"], len(export["sha256"])) == ("ready", 7, 64)
    first, *lines = await unpacked(client, owner, export, tmp_path)
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5, 6, 7]
    assert lines[0]["readable"][str(owner.user_id)]["actor"]["email"] == owner.email
    manifest = first["manifest"]
    assert manifest["checkpoint"]["seq"] == 4
    assert (manifest["base"]["seq"], manifest["is_contiguous"], manifest["row_count"]) == (0, True, 7)
    assert prove(tmp_path) == (0, "OK: 7 entries\n")


FORGERIES: dict[str, Any] = {
    "changed": lambda lines: lines[3].update(action="team.nothing"),
    "removed": lambda lines: lines.pop(3),
    "first removed": lambda lines: lines.pop(1),
    "last removed": lambda lines: lines.pop(),
    "doubled": lambda lines: lines.insert(3, lines[3]),
    "swapped": lambda lines: lines.insert(3, lines.pop(4)),
    "signature": lambda lines: lines[0]["manifest"]["checkpoint"].update(signature="A" * 86 + "=="),
    "checkpoint": lambda lines: lines[0]["manifest"]["checkpoint"].update(seq=3),
    "head": lambda lines: lines[0]["manifest"]["head"].update(hash=lines[1]["entry_hash"]),
    "key": lambda lines: lines[0]["manifest"]["public_keys"][0].update(public_key="A" * 43 + "="),
    "line of something else": lambda lines: lines.append({"seq": 8}),
    "no entry at all": lambda lines: lines.insert(3, [1]),
    "hash that is none": lambda lines: lines[3].update(prev_hash="A"),
    "empty": lambda lines: lines.clear(),
}


async def test_file_when_somebody_changed_it(
    client: AsyncClient, database: Database, owner: Persona, chain: UUID, tmp_path: Path
) -> None:
    export = await made(client, database, owner)
    await unpacked(client, owner, export, tmp_path)
    path = tmp_path / "entries.jsonl"
    whole = path.read_text()
    for name, forge in FORGERIES.items():
        lines = [json.loads(line) for line in whole.strip().split("\n")]
        forge(lines)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        code, said = prove(tmp_path)
        assert (code, said[:7]) == (1, "BROKEN:"), name


async def test_file_when_it_is_filtered(
    client: AsyncClient, database: Database, owner: Persona, chain: UUID, tmp_path: Path
) -> None:
    export = await made(client, database, owner, action="team.member_removed", outcome="success")
    first, *lines = await unpacked(client, owner, export, tmp_path)
    assert [line["seq"] for line in lines] == [2, 4, 6]
    assert first["manifest"]["is_contiguous"] is False
    assert first["manifest"]["filters"]["action"] == "team.member_removed"
    assert prove(tmp_path) == (0, "OK: 3 entries\n")


async def test_file_when_nothing_fits(
    client: AsyncClient, database: Database, owner: Persona, tmp_path: Path
) -> None:
    export = await made(client, database, owner, action="team.nothing")
    assert len(await unpacked(client, owner, export, tmp_path)) == 1
    assert prove(tmp_path) == (0, "OK: 0 entries\n")


async def test_file_when_a_person_was_erased(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    owner: Persona,
    bob: Persona,
    chain: UUID,
    tmp_path: Path,
) -> None:
    await destroy_subject_key(db, bob.user_id)
    await db.commit()
    export = await made(client, database, owner)
    _, *lines = await unpacked(client, owner, export, tmp_path)
    assert lines[0]["readable"][str(bob.user_id)] == {"erased": True}
    assert bob.email not in str(lines)
    assert prove(tmp_path)[0] == 0


async def test_csv_when_cells_look_like_formulas(
    client: AsyncClient, database: Database, db: SystemSession, owner: Persona, bob: Persona
) -> None:
    for name in ("=1+1", "+1", "-1", "@SUM", "\t=1", "\r=1", 'plain, with "marks"\nand lines'):
        await make_entry(db, owner.organization_id, actor=owner, subject=bob, name=name, user_agent=name)
    export = await made(client, database, owner, form="csv")
    answer = await download(client, owner, export)
    assert answer.headers["content-type"] == "text/csv"
    names, *lines = csv.reader(io.StringIO(answer.text, newline=""))
    assert tuple(names) == COLUMNS
    cells = [dict(zip(names, line, strict=True)) for line in lines]
    assert [cell["actor_name"] for cell in cells] == [
        "'=1+1",
        "'+1",
        "'-1",
        "'@SUM",
        "'\t=1",
        "'\r=1",
        'plain, with "marks"\nand lines',
    ]
    assert all(cell["user_agent"] == cell["actor_name"] for cell in cells)
    assert cells[0]["ip_address"] == "192.0.2.7"
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for line in lines for cell in line)
    await destroy_subject_key(db, bob.user_id)
    await db.commit()
    again = await made(client, database, owner, form="csv")
    assert bob.email not in (await download(client, owner, again)).text


def test_cell_when_it_is_harmless() -> None:
    assert safe_cell("a=1") == "a=1"
    assert safe_cell("") == ""


async def test_export_when_it_is_not_for_the_caller(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    owner: Persona,
    bob: Persona,
    charlie: Persona,
    chain: UUID,
) -> None:
    export = await made(client, database, owner)
    await grant_plan(db, charlie.organization_id, "premium")
    for path in (EXPORTS, f"{EXPORTS}/{export['id']}", f"{EXPORTS}/{export['id']}/download"):
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, headers=bob.headers)).status_code == 403
    assert (await ask(client, bob)).status_code == 403
    assert (await client.get(EXPORTS, headers=charlie.headers)).json()["items"] == []
    assert (await client.get(f"{EXPORTS}/{export['id']}", headers=charlie.headers)).status_code == 404
    assert (await download(client, charlie, export)).status_code == 404


async def test_export_when_the_second_check_is_old(
    client: AsyncClient, db: SystemSession, owner: Persona
) -> None:
    session = await make_session(db, owner.user_id, organization_id=owner.organization_id, step_up=False)
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    answer = await client.post(EXPORTS, headers=headers, json={"format": "csv", **RANGE})
    assert (answer.status_code, answer.json()["code"]) == (401, "step_up_required")


async def test_export_when_the_plan_has_none(client: AsyncClient, alice: Persona) -> None:
    answer = await ask(client, alice)
    assert (answer.status_code, answer.json()["code"]) == (402, "feature_not_in_plan")
    assert answer.json()["feature"] == "audit_export"


@pytest.mark.parametrize(
    "body",
    [
        {"format": "xml"},
        {"from": "yesterday"},
        {"from": None},
        {"action": "team.%"},
        {"sort": "seq"},
        {"actor_id": "x"},
        {"actor_id": 1},
        {"since": "2026-01-01T00:00:00Z"},
    ],
)
async def test_export_when_the_body_is_not_valid(
    client: AsyncClient, owner: Persona, body: dict[str, Any]
) -> None:
    sent = {"format": "csv", **RANGE, **body}
    assert (await client.post(EXPORTS, headers=owner.headers, json=sent)).status_code == 422


async def test_export_when_the_range_is_not_valid(
    client: AsyncClient, owner: Persona, chain: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    backwards = await ask(client, owner, **{"from": RANGE["to"], "to": RANGE["from"]})
    assert (backwards.status_code, backwards.json()["code"]) == (422, "range_not_valid")
    monkeypatch.setattr(get_settings(), "audit_export_max_rows", 5)
    large = await ask(client, owner)
    assert (large.status_code, large.json()["code"]) == (422, "range_too_large")
    assert (await ask(client, owner, action="team.member_removed")).status_code == 202


async def test_export_when_the_plan_shows_less(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, tmp_path: Path
) -> None:
    await grant_plan(db, alice.organization_id, "premium")
    now = clock.now()
    for days in (91, 89):
        await make_entry(db, alice.organization_id, actor=alice, occurred_at=now - timedelta(days=days))
    export = await made(client, database, alice, **{"from": "2020-01-01T00:00:00Z"})
    _, *lines = await unpacked(client, alice, export, tmp_path)
    assert [line["seq"] for line in lines] == [2]
    assert prove(tmp_path)[0] == 0


async def test_export_when_one_is_running(client: AsyncClient, database: Database, owner: Persona) -> None:
    first = await ask(client, owner)
    second = await ask(client, owner)
    assert (first.status_code, second.status_code, second.json()["code"]) == (202, 409, "export_running")
    early = await download(client, owner, first.json())
    assert (early.status_code, early.json()["code"]) == (409, "export_not_ready")
    await handle_events(database)
    assert (await ask(client, owner)).status_code == 202


@pytest.mark.commits
async def test_export_when_many_ask_at_once(client: AsyncClient, db: SystemSession, owner: Persona) -> None:
    answers = await asyncio.gather(*(ask(client, owner) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]


async def test_export_when_it_is_asked_for_too_often(
    client: AsyncClient, database: Database, owner: Persona
) -> None:
    """What was refused because one is being made does not count."""
    for _ in range(5):
        assert (await ask(client, owner)).status_code == 202
        assert (await ask(client, owner)).status_code == 409
        await handle_events(database)
    assert (await ask(client, owner)).status_code == 429


async def test_export_when_it_is_told(
    client: AsyncClient, database: Database, db: SystemSession, owner: Persona
) -> None:
    export = await made(client, database, owner)
    (entry,) = await entries(db, "audit.exported")
    assert (entry.actor_id, entry.subject_id) == (owner.user_id, owner.user_id)
    assert entry.targets[0] == {"type": "audit_export", "id": export["id"]}
    mail = (await client.get("/sandbox/mail.json", params={"to": owner.email})).json()["items"][0]
    assert mail["template"] == "audit_export_ready"


async def test_export_when_its_time_is_over(
    client: AsyncClient, database: Database, db: SystemSession, owner: Persona
) -> None:
    export = await made(client, database, owner)
    with clock.travel(timedelta(days=6, hours=23)):
        await close_old_exports(database)
    assert (await download(client, owner, export)).status_code == 200
    with clock.travel(timedelta(days=7, seconds=1)):
        session = await make_session(db, owner.user_id, organization_id=owner.organization_id)
        headers = {"Authorization": f"Bearer {access_token_of(session)}"}
        path = f"{EXPORTS}/{export['id']}"
        late = await client.get(f"{path}/download", headers=headers)
        assert (late.status_code, late.json()["code"]) == (410, "export_expired")
        await close_old_exports(database)
        assert (await client.get(path, headers=headers)).json()["status"] == "expired"
        assert (await client.get(f"{path}/download", headers=headers)).status_code == 410
    assert (await db.scalars(select(StoredFile).where(StoredFile.bucket == "exports"))).all() == []


async def test_export_when_making_it_fails(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    owner: Persona,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The folder for temporary files is gone: a fault of the machine."""
    answer = await ask(client, owner)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    await handle_events(database)
    path = answer.headers["location"]
    assert (await client.get(path, headers=owner.headers)).json()["status"] == "running"
    export_id = answer.json()["id"]
    await export_entries(database, organization_id=str(owner.organization_id), export_id=export_id, attempt=3)
    failed = (await client.get(path, headers=owner.headers)).json()
    assert (failed["status"], failed["error_code"], failed["download_url"]) == (
        "failed",
        "internal_error",
        None,
    )
    assert (await download(client, owner, failed)).status_code == 409
    assert (await ask(client, owner)).status_code == 202


async def test_export_when_its_worker_never_came_back(
    client: AsyncClient, database: Database, db: SystemSession, owner: Persona
) -> None:
    answer = await ask(client, owner)
    with clock.travel(timedelta(hours=6, minutes=1)):
        await close_old_exports(database)
    row = await db.get_one(
        AuditExport, (owner.organization_id, UUID(answer.json()["id"])), populate_existing=True
    )
    assert (row.status, row.error_code) == ("failed", "timed_out")
    await handle_events(database)
    await db.refresh(row)
    assert row.status == "failed", "what was given up is not made any more"
