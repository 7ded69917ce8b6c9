"""Questions to the order settings."""

from typing import ClassVar

from app.models.orders import OrderSettings
from app.repositories.base import Repository


class OrderSettingsRepository(Repository[OrderSettings]):
    """One row per organisation."""

    model: ClassVar[type[OrderSettings]] = OrderSettings

    async def find(self) -> OrderSettings | None:
        """The organisation's row, if it was made already."""
        return await self.one()

    async def make(self) -> None:
        """Make the row with the defaults, unless somebody else just did."""
        await self.upsert(keys=["organization_id"], values={})
