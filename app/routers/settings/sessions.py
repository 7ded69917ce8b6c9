"""The routes of the caller's sessions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.paging import Page, PageQuery, Rows
from app.core.requests import StrictRoute
from app.schemas.auth import SessionRead, SessionReference
from app.schemas.base import PathId
from app.schemas.settings import SessionsToEnd
from app.services.auth.sessions import Sessions
from app.services.auth.sign_out import SignOuts

router = APIRouter(route_class=StrictRoute, prefix="/api/settings", tags=["settings"])

SignedIn = Annotated[Principal, Depends(allow())]


@router.get("/sessions", response_model=Page[SessionRead])
async def list_sessions(
    _: SignedIn, sessions: Sessions, query: Annotated[PageQuery, Query()]
) -> Rows[SessionRead]:
    """The caller's signed-in devices, newest activity first.

    Only those that live. `is_current` is the one that asks.
    """
    return await sessions.list(query)


@router.delete("/sessions/{session_id}", status_code=204)
async def delete_session(_: SignedIn, sign_outs: SignOuts, session_id: PathId) -> None:
    """Sign one of the caller's devices out; the present one may be among them.

    Its tokens stop working at once.
    """
    await sign_outs.end_one(session_id)


@router.delete("/sessions", status_code=204, responses=problems({422: ["session_id_missing"]}))
async def delete_sessions(
    _: SignedIn,
    sign_outs: SignOuts,
    query: Annotated[SessionsToEnd, Query()],
    body: SessionReference | None = None,
) -> None:
    """Sign out all devices (`scope=all`), all but this one (`scope=others`), or one.

    One device may be named by `id` or in the body, as older clients do.
    """
    await sign_outs.end_chosen(query, body)
