"""Owns the questions to the texts that people agree to."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Select, select, tuple_

from app.models.privacy import PolicyDocument
from app.repositories.base import Repository


class PolicyRepository(Repository[PolicyDocument]):
    """Published texts; they are everybody's."""

    model: ClassVar[type[PolicyDocument]] = PolicyDocument

    def published(self, now: datetime, *, name: str | None, locale: str | None) -> Select[Any]:
        """Rows without their bodies, to be paged by `published_at`, which is `created_at` to the pager."""
        columns: list[Any] = [
            PolicyDocument.id,
            PolicyDocument.name,
            PolicyDocument.version,
            PolicyDocument.locale,
            PolicyDocument.title,
            PolicyDocument.sha256,
            PolicyDocument.is_material,
            PolicyDocument.published_at,
            PolicyDocument.published_at.label("created_at"),
        ]
        statement: Select[Any] = select(*columns).where(PolicyDocument.published_at <= now)
        if name is not None:
            statement = statement.where(PolicyDocument.name == name)
        if locale is not None:
            statement = statement.where(PolicyDocument.locale == locale)
        return statement

    async def find(self, name: str, version: str | None, locale: str, now: datetime) -> PolicyDocument | None:
        """A published text; the newest one without a version."""
        statement = self.select().where(
            PolicyDocument.name == name, PolicyDocument.locale == locale, PolicyDocument.published_at <= now
        )
        if version is not None:
            statement = statement.where(PolicyDocument.version == version)
        newest = statement.order_by(PolicyDocument.published_at.desc(), PolicyDocument.version.desc())
        found: PolicyDocument | None = (await self.session.execute(newest.limit(1))).scalar_one_or_none()
        return found

    async def versions_among(
        self, wanted: Collection[tuple[str, str]], now: datetime
    ) -> set[tuple[str, str]]:
        """Those of the pairs of name and version that are published."""
        statement = (
            select(PolicyDocument.name, PolicyDocument.version)
            .where(
                tuple_(PolicyDocument.name, PolicyDocument.version).in_(list(wanted)),
                PolicyDocument.published_at <= now,
            )
            .distinct()
        )
        return {(row[0], row[1]) for row in (await self.session.execute(statement)).all()}
