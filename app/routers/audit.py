"""The routes of the audit log."""

from datetime import UTC
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from app.core.access import Principal, allow, public
from app.core.errors import problems
from app.core.file_answers import file_answer, file_success
from app.core.limits import limited
from app.core.paging import Page, PageQuery, Rows
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.schemas.audit import (
    AuditAction,
    AuditEntry,
    AuditExportCreate,
    AuditExportRead,
    AuditQuery,
    CheckpointRead,
    PublicKeys,
    Verification,
    VerifyQuery,
)
from app.schemas.base import PathId
from app.services.audit.catalog import AuditCatalog
from app.services.audit.exporting import AuditExports
from app.services.audit.reading import Audits, public_keys
from app.services.files.serving import bytes_of, facts_of

router = APIRouter(route_class=StrictRoute, prefix="/api/audit-logs", tags=["audit"])

Reader = Annotated[Principal, Depends(allow(Permission.audit_read, key=True))]
Prover = Annotated[Principal, Depends(allow(Permission.audit_read))]
Exporter = Annotated[Principal, Depends(allow(Permission.audit_export))]
CertainExporter = Annotated[Principal, Depends(allow(Permission.audit_export, step_up=True))]
Anybody = Annotated[Principal | None, Depends(public("whoever holds a checkpoint may prove it"))]

PAGED = ["page_too_deep", "cursor_invalid"]

BEGIN: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "X-Audit-From": {
                "description": "From when on your plan shows entries.",
                "schema": {"type": "string", "format": "date-time"},
            }
        }
    }
}


@router.get(
    "",
    response_model=Page[AuditEntry],
    responses={**problems({422: ["range_not_valid", *PAGED]}), **BEGIN},
)
async def list_audit_entries(
    _: Reader, audits: Audits, query: Annotated[AuditQuery, Query()], response: Response
) -> Rows[AuditEntry]:
    """List entries of the audit log.

    Newest first, as far back as the plan shows them: `X-Audit-From` says from when. Reading is recorded, at
    most once an hour. Names and addresses are those of the time; those of erased people cannot be read.
    """
    rows, begin = await audits.list(query)
    if begin is not None:
        response.headers["X-Audit-From"] = f"{begin.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return rows


@router.get("/catalog", response_model=Page[AuditAction], responses=problems({422: PAGED}))
async def list_audit_actions(
    _: Reader, catalog: AuditCatalog, query: Annotated[PageQuery, Query()]
) -> Rows[AuditAction]:
    """List the actions that are recorded.

    Each with what it is about, and which of its fields are people's data.
    """
    return catalog.list(query)


@router.get("/verify", responses=problems({422: ["range_not_valid"], 429: ["rate_limited"]}))
async def verify_audit_log(_: Prover, audits: Audits, query: Annotated[VerifyQuery, Query()]) -> Verification:
    """Recompute the chain.

    Up to 200 000 entries; `next_seq` says where to go on. It shows every entry that was changed, removed or
    inserted outside of the service. What shows a chain that was rewritten as a whole is a checkpoint that
    you have kept elsewhere.
    """
    return await audits.verify(query.from_seq)


@router.get("/checkpoints", response_model=Page[CheckpointRead], responses=problems({422: PAGED}))
async def list_audit_checkpoints(
    _: Reader, audits: Audits, query: Annotated[PageQuery, Query()]
) -> Rows[CheckpointRead]:
    """List the signed heads of the chain, newest first.

    One is signed each night that the chain has grown. Keep copies elsewhere: they show a chain that was
    rewritten as a whole.
    """
    return await audits.checkpoints(query)


@router.get("/keys", dependencies=[Depends(limited("public_read_ip", by="address"))])
async def list_audit_keys(_: Anybody) -> PublicKeys:
    """Get the public keys that checkpoints are proved by.

    Ed25519. Everybody may read them, so that a checkpoint can be proved without an account.
    """
    return public_keys()


@router.post(
    "/exports",
    status_code=202,
    responses=problems(
        {
            401: ["step_up_required"],
            402: ["feature_not_in_plan"],
            409: ["export_running"],
            422: ["range_not_valid", "range_too_large"],
            429: ["rate_limited"],
        }
    ),
)
async def create_audit_export(
    _: CertainExporter, exports: AuditExports, body: AuditExportCreate, response: Response
) -> AuditExportRead:
    """Ask for a file of entries.

    As `jsonl`, a ZIP with one entry per line, everything that its proof takes, and a program that proves it;
    or as `csv` for spreadsheets. A mail says when it is ready. One is made at a time; it is kept for 7 days.
    """
    export = await exports.create(body)
    response.headers["Location"] = f"/api/audit-logs/exports/{export.id}"
    return export


@router.get("/exports", response_model=Page[AuditExportRead], responses=problems({422: PAGED}))
async def list_audit_exports(
    _: Exporter, exports: AuditExports, query: Annotated[PageQuery, Query()]
) -> Rows[AuditExportRead]:
    """List the files that were asked for, newest first.

    Whoever asked for them in this organisation. `status` says whether a file is ready.
    """
    return await exports.list(query)


@router.get("/exports/{export_id}")
async def get_audit_export(_: Exporter, exports: AuditExports, export_id: PathId) -> AuditExportRead:
    """Get the state of a file of entries.

    When `status` is `ready`, its file can be downloaded, until `expires_at`.
    """
    return await exports.get(export_id)


@router.get(
    "/exports/{export_id}/download",
    response_class=Response,
    responses={
        **problems({409: ["export_not_ready"], 410: ["export_expired"]}),
        **file_success("application/zip", "text/csv"),
    },
)
async def download_audit_export(
    _: Exporter, exports: AuditExports, export_id: PathId, request: Request
) -> Response:
    """Download a file of entries.

    With ranges and entity tags, so that a download that broke off can go on.
    """
    file = await exports.file(export_id)
    return await file_answer(request, facts_of(file, cache_control="no-store"), partial(bytes_of, file))


@router.get("/{entry_id}")
async def get_audit_entry(_: Reader, audits: Audits, entry_id: PathId) -> AuditEntry:
    """Get an entry of the audit log.

    404 also for what is older than the plan shows. Reading is recorded, at most once an hour.
    """
    return await audits.get(entry_id)
