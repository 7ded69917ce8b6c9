"""The texts of mails that an organisation writes itself."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.limits import limited
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.schemas.base import Text
from app.schemas.notifications.templates import (
    RenderedTemplate,
    TemplateList,
    TemplatePreview,
    TemplateQuery,
    TemplateRead,
    TemplateWrite,
    TrialMail,
)
from app.services.notifications.writing import OwnTemplates

router = APIRouter(route_class=StrictRoute, prefix="/api/notifications", tags=["notifications"])

Manager = Annotated[Principal, Depends(allow(Permission.notifications_manage))]
Key = Annotated[Text, Path(max_length=60, description="`key` of the mail.", examples=["order_confirmation"])]
Locale = Annotated[Text, Path(max_length=5, description="The language: `fr` or `en`.", examples=["fr"])]

TRIED = [Depends(limited("mail_texts", by="principal"))]
OWN_ONLY = {403: ["template_not_overridable"], 404: ["not_found"]}
JUDGED = {**OWN_ONLY, 422: ["template_invalid"], 503: ["processing_busy"]}


@router.get("/templates")
async def list_email_templates(
    _: Manager, templates: OwnTemplates, query: Annotated[TemplateQuery, Query()]
) -> TemplateList:
    """List the texts of mails that the organisation may write.

    Mails to the organisation's own customers, each in every language.
    """
    return await templates.list(query)


@router.get("/templates/{key}/{locale}", responses=problems(OWN_ONLY))
async def get_email_template(_: Manager, templates: OwnTemplates, key: Key, locale: Locale) -> TemplateRead:
    """Get the texts of a mail, and what they may name.

    Your own texts where you wrote some, and else those that you would change.
    """
    return await templates.get(key, locale)


@router.put("/templates/{key}/{locale}", dependencies=TRIED, responses=problems(JUDGED))
async def write_email_template(
    _: Manager, templates: OwnTemplates, key: Key, locale: Locale, body: TemplateWrite
) -> TemplateRead:
    """Write the texts of a mail.

    They are rendered with a sample first: unknown variables, faults of syntax, line breaks in the subject,
    and markup that fetches or runs something are refused. They are in use from now on, as a new version.
    """
    return await templates.write(key, locale, body)


@router.delete("/templates/{key}/{locale}", status_code=204, responses=problems(OWN_ONLY))
async def reset_email_template(_: Manager, templates: OwnTemplates, key: Key, locale: Locale) -> None:
    """Set the texts of a mail back to the platform's.

    Your own versions are kept, and none is used any more. Again is no fault.
    """
    await templates.reset(key, locale)


@router.post("/templates/{key}/{locale}/preview", dependencies=TRIED, responses=problems(JUDGED))
async def preview_email_template(
    _: Manager, templates: OwnTemplates, key: Key, locale: Locale, body: TemplatePreview
) -> RenderedTemplate:
    """Render a mail without sending it.

    Parts that are absent are those in use; variables that are absent have the values of the sample.
    """
    return await templates.preview(key, locale, body)


@router.post(
    "/templates/{key}/{locale}/test",
    status_code=202,
    dependencies=[Depends(limited("notification_test", by="principal"))],
    responses=problems(JUDGED),
)
async def try_email_template(
    _: Manager, templates: OwnTemplates, key: Key, locale: Locale, body: TemplatePreview, response: Response
) -> TrialMail:
    """Send a mail to oneself.

    It goes to the caller's own address and to nobody else; its subject says that it is a trial. The history
    shows how it ended.
    """
    await templates.test(key, locale, body)
    response.headers["Location"] = "/api/notifications/history?channel=email"
    return TrialMail()
