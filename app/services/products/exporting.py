"""The catalogue as a CSV file."""

from collections.abc import AsyncIterator

from app.core.access import CurrentPrincipal
from app.core.database import DatabaseOf
from app.repositories.products.exporting import product_parts


class ProductExportService:
    """Hands out the organisation's products part by part."""

    def __init__(self, database: DatabaseOf, principal: CurrentPrincipal) -> None:
        self.database = database
        self.principal = principal

    def parts(self) -> AsyncIterator[bytes]:
        """The file's parts, the newest products first; it ends after 50,000."""
        return product_parts(self.database, self.principal)
