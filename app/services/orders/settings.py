"""The order settings of an organisation, made with their defaults on first use."""

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.models.orders import OrderSettings
from app.repositories.orders.settings import OrderSettingsRepository


class OrderSettingsService:
    """How the organisation numbers, prices and keeps its orders."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.principal = principal
        self.rows = OrderSettingsRepository(session)

    async def get(self) -> OrderSettings:
        """The settings. The first call of an organisation makes them, also when several come at once."""
        settings = await self.rows.find()
        if settings is None:
            settings = await self.make()
        return settings

    async def make(self) -> OrderSettings:
        """The settings of an organisation that is known to have none yet."""
        await self.rows.make()
        settings = await self.rows.find()
        if settings is None:
            raise LookupError("the order settings were made and cannot be read")
        return settings
