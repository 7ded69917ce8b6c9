"""Owns the form of exported files: lines of JSON with their proof in a ZIP, or CSV for spreadsheets."""

import asyncio
import csv
import io
import json
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from app.core.audit import base64_text, moment
from app.services.audit.personal import Keys, open_part

TEMPLATE = Path(__file__).resolve().parents[2] / "templates" / "audit" / "verify.py.txt"

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins like this for a formula."""

COLUMNS = (
    "seq",
    "id",
    "occurred_at",
    "action",
    "outcome",
    "actor_kind",
    "actor_id",
    "actor_name",
    "actor_email",
    "ip_address",
    "user_agent",
    "country",
    "session_id",
    "api_key_id",
    "request_id",
    "subject_id",
    "subject_name",
    "subject_email",
    "targets",
    "changes",
    "entry_hash",
)

ERASED = {"erased": True}

Parts = AsyncIterator[tuple[Sequence[Row[Any]], Keys]]
"""Entries in the chain's order, some at a time, with the open keys of their people."""


async def write_jsonl(path: Path, manifest: Mapping[str, Any], parts: Parts) -> int:
    """A ZIP of `entries.jsonl`, whose first line is the manifest, and `verify.py`; answers the entries."""
    count = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("verify.py", verify_program())
        with archive.open("entries.jsonl", "w", force_zip64=True) as lines:
            await asyncio.to_thread(lines.write, _line({"manifest": manifest}))
            async for rows, keys in parts:
                await asyncio.to_thread(lines.write, b"".join(_line(entry_of(row, keys)) for row in rows))
                count += len(rows)
    return count


async def write_csv(path: Path, parts: Parts) -> int:
    """A CSV file (RFC 4180, UTF-8) whose first line names the columns; answers the entries."""
    count = 0
    with path.open("wb") as file:
        file.write(_csv_lines([COLUMNS]))
        async for rows, keys in parts:
            lines = [[safe_cell(cell) for cell in _cells(row, keys)] for row in rows]
            await asyncio.to_thread(file.write, _csv_lines(lines))
            count += len(rows)
    return count


@lru_cache(maxsize=1)
def verify_program() -> str:
    """The program beside the entries; it needs nothing but Python."""
    return TEMPLATE.read_text(encoding="utf-8")


def entry_of(row: Row[Any], keys: Keys) -> dict[str, Any]:
    """An entry with all that its hash covers, and beside it what its sealed parts hold."""
    return {
        "organization_id": str(row.organization_id),
        "seq": row.seq,
        "id": str(row.id),
        "occurred_at": moment(row.occurred_at),
        "action": row.action,
        "outcome": row.outcome,
        "actor_kind": row.actor_kind,
        "actor_id": str(row.actor_id) if row.actor_id else None,
        "subject_id": str(row.subject_id) if row.subject_id else None,
        "targets": row.targets,
        "context": row.context,
        "changes": row.changes,
        "personal": row.personal,
        "prev_hash": base64_text(row.prev_hash),
        "entry_hash": base64_text(row.entry_hash),
        "readable": {part["subject"]: open_part(keys, row.id, part) or ERASED for part in row.personal},
    }


def safe_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe is put before one."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _cells(row: Row[Any], keys: Keys) -> list[str]:
    opened: dict[str, Any] = {}
    lost: set[UUID] = set()
    for part in row.personal:
        plain = open_part(keys, row.id, part)
        opened.update(plain or {})
        if plain is None:
            lost.add(UUID(part["subject"]))
    actor, subject = opened.get("actor", {}), opened.get("subject", {})
    caller = opened.get("caller", {})
    nobody = "erased" if lost and not caller else ""
    values = {
        "seq": row.seq,
        "id": row.id,
        "occurred_at": moment(row.occurred_at),
        "actor_name": "erased" if row.actor_id in lost else actor.get("name"),
        "actor_email": "erased" if row.actor_id in lost else actor.get("email"),
        "ip_address": caller.get("ip_address") or nobody,
        "user_agent": caller.get("user_agent") or nobody,
        "country": caller.get("country"),
        "subject_name": "erased" if row.subject_id in lost else subject.get("name"),
        "subject_email": "erased" if row.subject_id in lost else subject.get("email"),
        "targets": " ".join(f"{target['type']}:{target['id']}" for target in row.targets),
        "changes": json.dumps(row.changes, ensure_ascii=False) if row.changes is not None else None,
        "entry_hash": base64_text(row.entry_hash),
        **row.context,
    }
    plain_columns = ("action", "outcome", "actor_kind", "actor_id", "subject_id")
    values |= {name: getattr(row, name) for name in plain_columns}
    return ["" if values.get(name) is None else str(values[name]) for name in COLUMNS]


def _csv_lines(lines: Sequence[Sequence[str]]) -> bytes:
    written = io.StringIO(newline="")
    csv.writer(written).writerows(lines)
    return written.getvalue().encode()


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
