"""The routes of privacy: the caller's consents, and the texts that they are about."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from app.core.access import Principal, allow, public
from app.core.errors import problems
from app.core.limits import limited
from app.core.paging import Page, Rows
from app.core.requests import StrictRoute
from app.schemas.privacy import (
    ConsentCreate,
    ConsentQuery,
    ConsentRead,
    CurrentConsents,
    PolicyLanguage,
    PolicyQuery,
    PolicyRead,
    PolicyText,
)
from app.services.privacy.consents import Consents
from app.services.privacy.policies import Policies

router = APIRouter(route_class=StrictRoute, prefix="/api/privacy", tags=["privacy"])

SignedIn = Annotated[Principal, Depends(allow())]
Anybody = Annotated[None, Depends(public("everybody may read what they are asked to agree to"))]

PolicyName = Annotated[
    str, Path(max_length=40, description="The name of the text.", examples=["privacy_policy"])
]
PolicyVersion = Annotated[
    str, Path(max_length=20, description="A version, or `latest`.", examples=["latest", "2026-01-15"])
]

LIST_PROBLEMS = problems({422: ["page_too_deep", "cursor_invalid"]})


@router.get("/consents", response_model=Page[ConsentRead], responses=LIST_PROBLEMS)
async def list_consents(
    _: SignedIn, consents: Consents, query: Annotated[ConsentQuery, Query()]
) -> Rows[ConsentRead]:
    """List everything that the caller agreed to or refused, newest first.

    Nothing is ever overwritten: a withdrawal is an entry of its own. `/consents/current` says what holds now.
    """
    return await consents.list(query)


@router.get("/consents/current")
async def get_current_consents(_: SignedIn, consents: Consents) -> CurrentConsents:
    """How every purpose stands for the caller.

    The newest row of a purpose is the decision. `is_outdated`: a material version was published since.
    """
    return await consents.current()


@router.post(
    "/consents",
    status_code=201,
    dependencies=[Depends(limited("consent", by="principal"))],
    responses=problems({409: ["consent_needed_for_service"], 422: ["policy_version_unknown"]}),
)
async def create_consent(
    _: SignedIn, consents: Consents, body: ConsentCreate, response: Response
) -> ConsentRead:
    """Agree to a purpose, refuse it or withdraw.

    A row is added and nothing is ever changed. `terms` and `privacy_policy` are needed and cannot be
    withdrawn.
    """
    made = await consents.add(body)
    response.headers["Location"] = f"/api/privacy/consents?purpose={made.purpose}"
    return made


@router.get(
    "/policies",
    response_model=Page[PolicyRead],
    dependencies=[Depends(limited("public_read_ip", by="address"))],
    responses=LIST_PROBLEMS,
)
async def list_policies(
    _: Anybody, policies: Policies, query: Annotated[PolicyQuery, Query()]
) -> Rows[PolicyRead]:
    """List the published versions of the texts that people agree to, newest first.

    Each with the hash of its text. The text itself is at `/policies/{name}/{version}`.
    """
    return await policies.list(query)


@router.get(
    "/policies/{name}/{version}",
    dependencies=[Depends(limited("public_read_ip", by="address"))],
    responses=problems({404: ["not_found"]}),
)
async def get_policy(
    _: Anybody,
    policies: Policies,
    name: PolicyName,
    version: PolicyVersion,
    query: Annotated[PolicyLanguage, Query()],
) -> PolicyText:
    """Read a text in one version and language.

    `latest` is the newest version that is published.
    """
    return await policies.get(name, version, query.locale)
