"""The link in a mail that ends mails of its kind."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from app.core.access import public
from app.core.errors import problems
from app.core.limits import limited
from app.core.requests import StrictRoute
from app.schemas.notifications.preferences import SubscriptionRead
from app.services.notifications.unsubscribing import Unsubscribing

router = APIRouter(route_class=StrictRoute, prefix="/api/notifications", tags=["notifications"])

MailProgram = Annotated[None, Depends(public("mail programs call it without a session"))]
Token = Annotated[str, Path(max_length=200, description="The token of the mail.", examples=["AZcx…"])]

LIMITED = [Depends(limited("unsubscribe_ip", by="address"))]
PROBLEMS = problems({404: ["not_found"]})


@router.get("/unsubscribe/{token}", dependencies=LIMITED, responses=PROBLEMS)
async def get_unsubscription(_: MailProgram, unsubscribing: Unsubscribing, token: Token) -> SubscriptionRead:
    """Show what the link of a mail is about.

    Nothing is changed: programs that look into mails open every address.
    """
    return await unsubscribing.show(token)


@router.post("/unsubscribe/{token}", dependencies=LIMITED, responses=PROBLEMS)
async def unsubscribe(_: MailProgram, unsubscribing: Unsubscribing, token: Token) -> SubscriptionRead:
    """End the mails of the category that the link is about (RFC 8058).

    Any body will do, such as `List-Unsubscribe=One-Click`, and so does none. Again is no fault. The link of
    news withdraws the consent to them.
    """
    return await unsubscribing.end(token)
