"""Shows the texts that people agree to, to everybody."""

import re
from typing import Annotated, Any

from fastapi import Depends

from app.core import clock
from app.core.database import Unscoped
from app.core.errors import NotFound
from app.core.paging import Keyset, Pager, Rows, Sort
from app.models.privacy import PURPOSES, PolicyDocument
from app.repositories.privacy import PolicyRepository
from app.schemas.privacy import PolicyQuery, PolicyRead, PolicyText

LATEST = "latest"
VERSION = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

NEWEST_FIRST = "-published_at"

PAGER = Pager(
    "policies",
    Keyset(PolicyDocument.published_at, PolicyDocument.id),
    {NEWEST_FIRST: Sort(PolicyDocument.published_at, is_descending=True, has_cursor=True)},
)


class PolicyService:
    """Reads what is published."""

    def __init__(self, session: Unscoped) -> None:
        self.session = session
        self.policies = PolicyRepository(session)

    async def list(self, query: PolicyQuery) -> Rows[PolicyRead]:
        """Every version of every text, newest first, without the texts."""
        statement = self.policies.published(clock.now(), name=query.name, locale=query.locale)
        rows = await PAGER.rows(self.session, statement, query, NEWEST_FIRST, is_scalar=False)
        return rows.map(lambda row: PolicyRead.model_validate(_facts(row)))

    async def get(self, name: str, version: str, locale: str) -> PolicyText:
        """A text; `latest` is the newest version. 404."""
        if name not in PURPOSES or not (version == LATEST or VERSION.fullmatch(version)):
            raise NotFound()
        wanted = None if version == LATEST else version
        found = await self.policies.find(name, wanted, locale, clock.now())
        if found is None:
            raise NotFound()
        return PolicyText.model_validate({**_facts(found), "body": found.body})


def _facts(row: Any) -> dict[str, Any]:
    return {
        "name": row.name,
        "version": row.version,
        "locale": row.locale,
        "title": row.title,
        "sha256": row.sha256.hex(),
        "is_material": row.is_material,
        "published_at": row.published_at,
    }


Policies = Annotated[PolicyService, Depends()]
