"""The texts, the mails and the dead addresses of the whole platform."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.core.access import Principal, staff
from app.core.errors import problems
from app.core.paging import Page, Rows
from app.core.requests import StrictRoute
from app.routers.notifications.templates import Key, Locale
from app.schemas.base import PathId
from app.schemas.notifications.operator import (
    EmailQuery,
    EmailRead,
    RetryAccepted,
    SuppressionCreate,
    SuppressionQuery,
    SuppressionRead,
)
from app.schemas.notifications.templates import TemplateList, TemplateQuery, TemplateRead, TemplateWrite
from app.services.notifications.operating import MailOperations
from app.services.notifications.writing import PlatformTemplates

router = APIRouter(route_class=StrictRoute, prefix="/api/notifications/operator", tags=["notifications"])

Staff = Annotated[Principal, Depends(staff(step_up=True))]

STAFF_ONLY = ["permission_denied"]
PAGED = ["page_too_deep", "cursor_invalid"]


@router.get("/templates", responses=problems({403: STAFF_ONLY}))
async def list_platform_templates(
    _: Staff, templates: PlatformTemplates, query: Annotated[TemplateQuery, Query()]
) -> TemplateList:
    """List the texts of all mails.

    For the platform's staff, in a session with a second factor and a recent second check, as all of these.
    """
    return await templates.list(query)


@router.put(
    "/templates/{key}/{locale}",
    responses=problems(
        {403: STAFF_ONLY, 404: ["not_found"], 422: ["template_invalid"], 503: ["processing_busy"]}
    ),
)
async def write_platform_template(
    _: Staff, templates: PlatformTemplates, key: Key, locale: Locale, body: TemplateWrite
) -> TemplateRead:
    """Write the texts of a mail for the whole platform.

    Organisations that have written their own keep them.
    """
    return await templates.write(key, locale, body)


@router.delete(
    "/templates/{key}/{locale}",
    status_code=204,
    responses=problems({403: STAFF_ONLY, 404: ["not_found"]}),
)
async def reset_platform_template(_: Staff, templates: PlatformTemplates, key: Key, locale: Locale) -> None:
    """Set the texts of a mail back to those that come with the service.

    The older texts are kept as versions. Again is no fault.
    """
    await templates.reset(key, locale)


@router.get("/emails", response_model=Page[EmailRead], responses=problems({403: STAFF_ONLY, 422: PAGED}))
async def list_emails(
    _: Staff, operations: MailOperations, query: Annotated[EmailQuery, Query()]
) -> Rows[EmailRead]:
    """List mails, newest first.

    Addresses are masked, and what a mail says is not shown. Mails are kept for thirty days.
    """
    return await operations.list_emails(query)


@router.post(
    "/emails/{email_id}/retry",
    status_code=202,
    responses=problems({403: STAFF_ONLY, 409: ["not_retryable"]}),
)
async def retry_email(
    _: Staff, operations: MailOperations, email_id: PathId, response: Response
) -> RetryAccepted:
    """Try a mail again that was given up.

    What a mail says is forgotten an hour after it failed; from then on it cannot be tried again. The list
    shows how it ended.
    """
    response.headers["Location"] = "/api/notifications/operator/emails"
    return await operations.retry(email_id)


@router.get(
    "/suppressions",
    response_model=Page[SuppressionRead],
    responses=problems({403: STAFF_ONLY, 422: PAGED}),
)
async def list_suppressions(
    _: Staff, operations: MailOperations, query: Annotated[SuppressionQuery, Query()]
) -> Rows[SuppressionRead]:
    """List the addresses that are not written to.

    They are known by a hash alone.
    """
    return await operations.list_suppressions(query)


@router.post("/suppressions", status_code=201, responses=problems({403: STAFF_ONLY}))
async def create_suppression(
    _: Staff, operations: MailOperations, body: SuppressionCreate, response: Response
) -> SuppressionRead:
    """Write to an address no more.

    A complaint does not stop mails about the account and its safety; the other reasons stop all.
    """
    made = await operations.suppress(body)
    response.headers["Location"] = f"/api/notifications/operator/suppressions/{made.id}"
    return made


@router.delete("/suppressions/{suppression_id}", status_code=204, responses=problems({403: STAFF_ONLY}))
async def delete_suppression(_: Staff, operations: MailOperations, suppression_id: PathId) -> None:
    """Write to an address again.

    The entry is removed, and mails go to the address again until it bounces anew.
    """
    await operations.release(suppression_id)
