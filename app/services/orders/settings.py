"""The order settings of an organisation, made with their defaults on first use."""

from collections.abc import Collection

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import version_mismatch
from app.core.etags import is_stale
from app.models.orders import OrderSettings
from app.repositories.orders.settings import OrderSettingsRepository
from app.schemas.orders.settings import OrderSettingsUpdate
from app.services.orders.faults import refuse_currency


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

    async def lock(self) -> OrderSettings:
        """The settings, which nobody else changes until the transaction ends; nor the lists of rates."""
        settings = await self.rows.lock()
        if settings is None:
            await self.rows.make()
            settings = await self.rows.lock()
        if settings is None:
            raise LookupError("the order settings were made and cannot be read")
        return settings

    async def update(self, body: OrderSettingsUpdate, etags: Collection[int] | None) -> OrderSettings:
        """Change the settings that were sent; when nothing differs, nothing is written.

        `etags` are the versions of `If-Match`, None without one. 412 `version_mismatch`; 422
        `currency_not_supported`.
        """
        settings = await self.lock()
        if is_stale(settings.version, body.version, etags):
            raise version_mismatch(settings.version)
        sent = body.changes(without=frozenset({"version"}))
        refuse_currency(sent.get("currency"))
        if "seller" in sent:
            sent["seller"] = body.seller.model_dump(mode="json", exclude_none=True)
        changed = {name: value for name, value in sent.items() if value != getattr(settings, name)}
        return await self.rows.change(changed) if changed else settings
