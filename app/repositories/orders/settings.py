"""Questions to the order settings."""

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import func, update

from app.models.orders import OrderSettings
from app.repositories.base import Repository


class OrderSettingsRepository(Repository[OrderSettings]):
    """One row per organisation."""

    model: ClassVar[type[OrderSettings]] = OrderSettings

    async def find(self) -> OrderSettings | None:
        """The organisation's row, if it was made already."""
        return await self.one()

    async def of(self, organization_id: UUID) -> OrderSettings | None:
        """The row of an organisation, for a session that sees those of all."""
        return await self.one(OrderSettings.organization_id == organization_id)

    async def make(self) -> None:
        """Make the row with the defaults, unless somebody else just did."""
        await self.upsert(keys=["organization_id"], values={})

    async def lock(self) -> OrderSettings | None:
        """The organisation's row; nobody else changes it until the transaction ends."""
        return await self.one(lock=True)

    async def change(self, values: Mapping[str, Any]) -> OrderSettings:
        """Change the row, which the caller has locked, as its next version."""
        statement = (
            update(OrderSettings)
            .values(**values, version=OrderSettings.version + 1, updated_at=func.clock_timestamp())
            .returning(OrderSettings)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        changed: OrderSettings = (await self.session.execute(statement)).scalar_one()
        return changed
