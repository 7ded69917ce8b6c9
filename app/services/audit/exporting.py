"""Owns files of entries: asked for once at a time, made by a job, kept for a week, then gone."""

import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy import Row

from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.audit import base64_text, known_keys, moment
from app.core.config import get_settings
from app.core.crypto import key_ring
from app.core.database import Database, Owner, SystemSession
from app.core.errors import Conflict, FieldError, Gone, Invalid, NotFound, translate_constraint
from app.core.events import emit
from app.core.ids import uuid7
from app.core.limits import enforce
from app.core.paging import Keyset, PageQuery, Pager, Rows, Sort
from app.models.audit import GENESIS, AuditCheckpoint, AuditExport
from app.models.files import StoredFile
from app.repositories.audit import (
    ChainRepository,
    EntryFilter,
    EntryRepository,
    ExportedEntries,
    ExportRepository,
    Extent,
)
from app.schemas.audit import AuditExportCreate, AuditExportRead
from app.services.audit.events import AuditExported, AuditExportRequested
from app.services.audit.personal import open_keys
from app.services.audit.pruning import shown_since
from app.services.audit.reading import check_range
from app.services.audit.views import subjects_of
from app.services.audit.writing import Parts, write_csv, write_jsonl
from app.services.auth.recipients import moment as mailed_moment
from app.services.billing.entitlements import require_feature
from app.services.files.buckets import EXPORTS, FileOwner
from app.services.files.storing import FileService

FEATURE = "audit_export"
STEP = 500
STUCK_AFTER = timedelta(hours=6)
NEWEST_FIRST = "-created_at"

MEDIA_TYPES = {"jsonl": ("zip", "application/zip"), "csv": ("csv", "text/csv")}
"""Extension and media type of each form."""

PAGER = Pager(
    "audit_exports",
    Keyset(AuditExport.created_at, AuditExport.id),
    {NEWEST_FIRST: Sort(AuditExport.created_at, is_descending=True, has_cursor=True)},
)


def _running() -> Conflict:
    return Conflict("export_running", "Another export is being made; wait until it is ready.")


translate_constraint("audit_exports_running_key", _running())


class AuditExportService:
    """Asks for files of the caller's organisation, and hands them out."""

    def __init__(self, session: Owner, principal: CurrentPrincipal, request: Request) -> None:
        self.session = session
        self.principal = principal
        self.request = request
        self.exports = ExportRepository(session)
        assert principal.organization_id is not None  # noqa: S101 - the routes ask for a permission in one
        self.organization_id: UUID = principal.organization_id

    async def create(self, body: AuditExportCreate) -> AuditExportRead:
        """Ask for a file of what the plan shows of the range.

        402 `feature_not_in_plan`, 422 `range_not_valid` and `range_too_large`, 409 `export_running`.
        """
        check_range(body.since, body.until)
        await require_feature(self.session, self.organization_id, FEATURE)
        begin = await shown_since(self.session, self.organization_id)
        since = max(begin, body.since) if begin is not None else body.since
        filters = {
            "from": moment(since),
            "to": moment(body.until),
            "action": body.action,
            "actor_id": str(body.actor_id) if body.actor_id else None,
            "outcome": body.outcome,
        }
        await self._refuse_too_many(filter_of(filters))
        # To be told to wait uses none of the few of a day; of several at once the constraint lets one pass.
        if await self.exports.is_running():
            raise _running()
        await enforce(self.request, "audit_export", key=str(self.organization_id))
        assert self.principal.user_id is not None  # noqa: S101 - no key comes here
        export = await self.exports.add(
            AuditExport(id=uuid7(), requested_by=self.principal.user_id, format=body.format, filters=filters)
        )
        await emit(
            self.session,
            AuditExportRequested(organization_id=self.organization_id, export_id=export.id),
        )
        return _read(export, None)

    async def list(self, query: PageQuery) -> Rows[AuditExportRead]:
        """A page of exports, the newest first."""
        rows: Rows[AuditExport] = await PAGER.rows(self.session, self.exports.select(), query, NEWEST_FIRST)
        files = await self.exports.files([row.file_id for row in rows.items if row.file_id is not None])
        return rows.map(lambda row: _read(row, files.get(row.file_id) if row.file_id else None))

    async def get(self, export_id: UUID) -> AuditExportRead:
        """One export; 404."""
        export = await self._find(export_id)
        return _read(export, await self._file(export))

    async def file(self, export_id: UUID) -> StoredFile:
        """The finished file; 404, 409 `export_not_ready`, 410 `export_expired`."""
        export = await self._find(export_id)
        if status_of(export) == "expired":
            raise Gone("export_expired", "This file is gone; ask for another.")
        file = await self._file(export)
        if file is None:
            raise Conflict("export_not_ready", "There is no file yet; see the status of the export.")
        return file

    async def _find(self, export_id: UUID) -> AuditExport:
        export = await self.exports.get(export_id)
        if export is None:
            raise NotFound
        return export

    async def _file(self, export: AuditExport) -> StoredFile | None:
        if export.file_id is None:
            return None
        return (await self.exports.files([export.file_id])).get(export.file_id)

    async def _refuse_too_many(self, wanted: EntryFilter) -> None:
        most = get_settings().audit_export_max_rows
        if await EntryRepository(self.session).count(wanted, most + 1) > most:
            detail = f"That is more than {most} entries; narrow the range."
            raise Invalid("range_too_large", detail, errors=[FieldError("/from", "range_too_large", detail)])


AuditExports = Annotated[AuditExportService, Depends()]


def status_of(export: AuditExport) -> str:
    """The status as it is now, also before the sweep has come by."""
    is_over = export.expires_at is not None and export.expires_at <= clock.now()
    return "expired" if export.status == "ready" and is_over else export.status


def filter_of(filters: dict[str, str | None]) -> EntryFilter:
    """Which entries an export's filters mean."""
    since, until, actor_id = filters["from"], filters["to"], filters["actor_id"]
    return EntryFilter(
        action=filters["action"],
        actor_id=UUID(actor_id) if actor_id else None,
        outcome=filters["outcome"],
        since=datetime.fromisoformat(since) if since else None,
        until=datetime.fromisoformat(until) if until else None,
    )


async def make_file(database: Database, organization_id: UUID, export_id: UUID) -> None:
    """Make the file of an export that is not finished, store it and tell of it; nothing for every other.

    A file that was stored and could not be told of falls due by its lease.
    """
    async with database.transaction() as session:
        export = await ExportRepository(session).working(organization_id, export_id)
        if export is None:
            return
        export.status = "running"
        form, wanted = export.format, filter_of(export.filters)
        filters = dict(export.filters)
    extension, media_type = MEDIA_TYPES[form]
    files = FileService(database)
    with tempfile.TemporaryDirectory(prefix="luneo-audit-") as folder:
        path = Path(folder) / f"audit.{extension}"
        count = await _write(database, organization_id, wanted, filters, path, form)
        owner = FileOwner(organization_id=organization_id)
        placed = await files.place(
            path, bucket=EXPORTS, owner=owner, extension=extension, media_type=media_type
        )
    async with database.transaction() as session:
        export = await ExportRepository(session).working(organization_id, export_id)
        if export is None:
            return
        name = f"audit-{clock.now():%Y-%m-%d}.{extension}"
        file = await files.record(session, placed, file_name=name, uploaded_by=export.requested_by)
        export.status, export.row_count, export.file_id = "ready", count, file.id
        export.expires_at = clock.now() + timedelta(days=get_settings().audit_export_days)
        exported = AuditExported(
            export_id=export_id, user_id=export.requested_by, format=form, row_count=count
        )
        until = {"until": mailed_moment(export.expires_at)}
        await emit(session, exported, organization_id=organization_id, private=until)


async def give_up_export(session: SystemSession, organization_id: UUID, export_id: UUID, code: str) -> None:
    """Say that an export has failed, so that another may be asked for."""
    export = await ExportRepository(session).working(organization_id, export_id)
    if export is not None:
        export.status, export.error_code = "failed", code


async def close_exports(database: Database, session: SystemSession, limit: int) -> int:
    """Let files go whose time is over, and exports that got stuck fail; how many there were."""
    now = clock.now()
    found = await ExportRepository(session).over(now, now - STUCK_AFTER, limit)
    for export in found:
        if export.status == "ready":
            if export.file_id is not None:
                await FileService(database).release(session, export.file_id)
            export.status, export.file_id = "expired", None
        else:
            export.status, export.error_code = "failed", "timed_out"
    await session.flush()
    return len(found)


async def _write(
    database: Database,
    organization_id: UUID,
    wanted: EntryFilter,
    filters: dict[str, Any],
    path: Path,
    form: str,
) -> int:
    """Write the file; RuntimeError when entries were pruned while it was written, so that it is made anew."""
    async with database.system() as session:
        chain = ChainRepository(session, organization_id)
        checkpoint = await chain.newest_checkpoint()
        standing = await chain.standing()
        entries = ExportedEntries(session, organization_id, wanted, standing.seq if standing else 0)
        extent = await entries.extent()
        parts = _parts(database, entries)
        if form == "csv":
            count = await write_csv(path, parts)
        else:
            manifest = await _manifest(organization_id, filters, entries, extent, standing, checkpoint)
            count = await write_jsonl(path, manifest, parts)
    if count != extent.rows:
        raise RuntimeError("entries were pruned while they were exported")
    return count


async def _manifest(
    organization_id: UUID,
    filters: dict[str, Any],
    entries: ExportedEntries,
    extent: Extent,
    standing: Row[Any] | None,
    checkpoint: AuditCheckpoint | None,
) -> dict[str, Any]:
    """What the file says of itself, and what its entries are proved by."""
    first = extent.first_seq or 1
    base_hash = await entries.prev_hash(first) if extent.rows else GENESIS
    return {
        "format": "luneo.audit.v1",
        "organization_id": str(organization_id),
        "filters": filters,
        "exported_at": moment(clock.now()),
        "row_count": extent.rows,
        "is_contiguous": extent.rows == (extent.last_seq or 0) - first + 1,
        "base": {"seq": first - 1, "hash": base64_text(base_hash or GENESIS)},
        "head": {"seq": standing.seq, "hash": base64_text(standing.head_hash)} if standing else None,
        "checkpoint": {
            "seq": checkpoint.seq,
            "head_hash": base64_text(checkpoint.head_hash),
            "signed_at": moment(checkpoint.signed_at),
            "key_id": checkpoint.key_id,
            "signature": base64_text(checkpoint.signature),
        }
        if checkpoint
        else None,
        "public_keys": [
            {"key_id": key.key_id, "algorithm": "Ed25519", "public_key": base64_text(key.public_key)}
            for key in known_keys(key_ring())
        ],
    }


async def _parts(database: Database, entries: ExportedEntries) -> Parts:
    """The entries part by part; each with the keys that are there at that moment."""
    async for rows in entries.parts(STEP):
        async with database.system(autocommit=True) as session:
            keys = await open_keys(session, subjects_of(rows))
        yield rows, keys


def _read(export: AuditExport, file: StoredFile | None) -> AuditExportRead:
    status = status_of(export)
    is_ready = status == "ready" and file is not None
    address = f"{get_settings().api_url}/api/audit-logs/exports/{export.id}/download"
    return AuditExportRead(
        id=export.id,
        format=export.format,  # type: ignore[arg-type]  # the database holds the closed list
        filters=export.filters,
        status=status,  # type: ignore[arg-type]  # as above
        row_count=export.row_count,
        sha256=file.sha256 if is_ready and file else None,
        error_code=export.error_code,
        expires_at=export.expires_at,
        download_url=address if is_ready else None,
        created_at=export.created_at,
    )
