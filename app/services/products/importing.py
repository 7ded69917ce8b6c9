"""Importing products by their SKUs: all rows or none, with a fixed number of statements."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.config import get_settings
from app.core.database import Owner
from app.core.errors import FieldError, Invalid, NotFound
from app.core.events import Event, emit_all
from app.core.search_terms import search_terms
from app.models.products import Product
from app.repositories.products.importing import ImportRepository
from app.schemas.products import ImportReport, ProductImport
from app.services.billing.usage import check_products
from app.services.orders.settings import OrderSettingsService
from app.services.products.events import ProductCreated, ProductUpdated, facts_of
from app.services.products.import_rows import Row, read_rows, resolve, settle_names, wanted_names
from app.services.products.stock import StockService


class ImportService:
    """Makes and changes many products at once."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        if principal.organization_id is None:
            raise NotFound()
        self.session = session
        self.principal = principal
        self.organization_id: UUID = principal.organization_id
        self.products = ImportRepository(session)

    async def run(self, body: ProductImport, *, is_dry: bool) -> ImportReport:
        """Make the products whose SKUs are new, and change the others where they differ.

        What a row does not name stays as it is. 422 `too_many_rows`, and `import_rejected` with every fault
        of every row; 402 `plan_limit_reached`; 409 as creating a product, when somebody creates the same at
        this moment. Imports follow each other: rows of two that come together would wait for each other.
        """
        most = get_settings().product_import_max_rows
        if len(body.rows) > most:
            raise Invalid("too_many_rows", f"One import has at most {most} rows; send several.")
        rows = await self._judge(body.rows)
        created = sum(row.product is None for row in rows)
        if created:
            await check_products(self.session, self.organization_id, created)
        if not is_dry:
            await self._write([row for row in rows if not row.is_unchanged])
        unchanged = sum(row.is_unchanged for row in rows)
        return ImportReport(
            created=created,
            updated=len(rows) - created - unchanged,
            unchanged=unchanged,
            dry_run=is_dry,
        )

    async def _judge(self, raw_rows: Sequence[Any]) -> list[Row]:
        """The rows with what they lead to; the known products are locked. 422 `import_rejected`."""
        rows, faults = read_rows(raw_rows)
        await self.products.wait_for_others()
        known = {
            (product.sku or "").upper(): product
            for product in await self.products.locked({row.sent.sku.upper() for row in rows})
        }
        for row in rows:
            row.product = known.get(row.sent.sku.upper())
        currency = (await OrderSettingsService(self.session, self.principal).get()).currency
        for row in rows:
            faults += resolve(row, currency)
        whole = [row for row in rows if row.values]
        faults += settle_names(whole, await self.products.taken(*wanted_names(whole)))
        if faults:
            raise Invalid(
                "import_rejected", "Nothing was imported; see `errors`.", errors=sorted(faults, key=_place)
            )
        return rows

    async def _write(self, rows: Sequence[Row]) -> None:
        """Insert and change products, and write down and tell what happened to each."""
        if not rows:
            return
        await self.products.add_all([self._new(row) for row in rows if row.product is None])
        written = {
            product.id: product
            for product in await self.products.rewrite([self._values(row) for row in rows])
        }
        moved = [(written[row.id], row.stock_delta) for row in rows if row.stock_delta]
        await StockService(self.session, self.principal).record_import(moved)
        told = [event for row in rows if (event := _event(row, written[row.id])) is not None]
        await emit_all(self.session, told)

    def _new(self, row: Row) -> Product:
        return Product(id=row.id, user_id=self.principal.user_id, sku=row.sent.sku, **row.values)

    def _values(self, row: Row) -> dict[str, Any]:
        sku = row.sent.sku if row.product is None else row.product.sku
        terms = search_terms(self.organization_id, row.values["name"], sku, row.values["category"])
        return {**row.values, "id": row.id, "terms": terms, "step": 1 if row.changed else 0}


def _event(row: Row, product: Product) -> Event | None:
    """What is told of the row; a change of stock alone is told by its movement."""
    if row.product is None:
        return ProductCreated(**facts_of(product))
    return ProductUpdated(**facts_of(product), changed=sorted(row.changed)) if row.changed else None


def _place(fault: FieldError) -> int:
    """The number of the row that a fault is about."""
    return int(fault.pointer.split("/")[2])


Imports = Annotated[ImportService, Depends()]
