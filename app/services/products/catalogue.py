"""The catalogue: listing, creating, changing and deleting products, and correcting their stock."""

from collections.abc import Collection, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.currencies import is_supported
from app.core.database import Owner
from app.core.errors import Conflict, FieldError, Invalid, NotFound, translate_constraint, version_mismatch
from app.core.etags import is_stale
from app.core.events import emit
from app.core.ids import uuid7
from app.core.paging import Keyset, Page, Pager, Sort
from app.core.search_terms import search_query, search_terms
from app.models.products import Product, StockMovement
from app.repositories.products import MovementRepository, ProductRepository
from app.repositories.products.catalogue import terms_vector
from app.schemas.product_options import dump_options, load_options
from app.schemas.products import (
    MovementQuery,
    MovementRead,
    ProductCreate,
    ProductQuery,
    ProductRead,
    ProductUpdate,
    StockAdjust,
)
from app.services.billing.usage import check_products
from app.services.orders.settings import OrderSettingsService
from app.services.products.customization import minimum_price
from app.services.products.events import ProductCreated, ProductDeleted, ProductUpdated, facts_of
from app.services.products.slugs import free_slug, slug_of
from app.services.products.stock import StockService

SLUG_TRIES = 20
"""So many products of one name at most may be created at the same moment."""


def slug_taken() -> Conflict:
    """409 for a slug that another product has."""
    return Conflict("slug_taken", "Another product has this slug; choose another one.")


translate_constraint("products_slug", slug_taken())
translate_constraint("products_sku", Conflict("sku_taken", "Another product has this SKU; choose another."))
translate_constraint(
    "products_external_ref",
    Conflict("external_ref_taken", "Another product has this reference; change that one."),
)
translate_constraint(
    "products_never_oversold",
    Conflict("stock_below_reserved", "Orders hold more pieces than there are; correct the stock first."),
)
translate_constraint("products_metadata", Invalid("metadata_too_large", "`metadata` is too large."))

PRODUCTS = Pager(
    "products",
    Keyset(Product.created_at, Product.id),
    {
        "-created_at": Sort(Product.created_at, True, has_cursor=True),
        "created_at": Sort(Product.created_at, False, has_cursor=True),
        "name": Sort(Product.name, False),
        "-name": Sort(Product.name, True),
        "price": Sort(Product.price, False),
        "-price": Sort(Product.price, True),
    },
)

SEARCHED = frozenset({"name", "sku", "category"})
NOT_WRITABLE = frozenset({"stock", "reserved"})
COLUMNS = {"metadata": "metadata_"}
"""The attributes whose name differs from the field's, because the mapper keeps that name for itself."""


class ProductService:
    """What a team does with its catalogue."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.products = ProductRepository(session)
        self.movements = MovementRepository(session)

    async def list(self, query: ProductQuery) -> Page[ProductRead]:
        """A page of products. 422 `query_empty` when nothing of `q` can be searched for."""
        filters = {name: value for name, value in query.filters().items() if value != []}
        filters.pop("sort")
        asked = filters.pop("q", None)
        tsquery = None if asked is None else search_query(self._organization_id, asked)
        if asked is not None and tsquery is None:
            raise _invalid("/q", "query_empty", "Search for letters or digits.")
        statement = self.products.matching(filters, tsquery)
        rows = await PRODUCTS.rows(self.session, statement, query, query.sort)
        return Page[ProductRead].model_validate(rows)

    async def get(self, product_id: UUID) -> ProductRead:
        """One product. 404."""
        return ProductRead.model_validate(await self._find(product_id))

    async def create(self, body: ProductCreate) -> ProductRead:
        """Add a product; its first pieces are written down as a correction of stock.

        402 `plan_limit_reached`; 409 `sku_taken`, `slug_taken`, `external_ref_taken`; 422
        `currency_not_supported`, `option_price_below_zero`.
        """
        currency = body.currency
        if currency is None:
            settings = await OrderSettingsService(self.session, self.principal).get()
            currency = settings.currency
        _check_currency(currency)
        options = dump_options(body.options)
        _check_price(body.price, options)
        await check_products(self.session, self._organization_id)
        product = await self._insert(
            body.slug,
            {
                **body.model_dump(exclude={"slug", "currency", "options", "metadata"}),
                "currency": currency,
                "options": options,
                "metadata_": body.metadata,
                "user_id": self.principal.user_id,
                "search": self._vector(body.name, body.sku, body.category),
            },
        )
        if product.stock:
            await self._stock.record_correction(product, product.stock, "initial stock")
        await emit(self.session, ProductCreated(**facts_of(product)))
        return ProductRead.model_validate(product)

    async def update(
        self, product_id: UUID, body: ProductUpdate, etags: Collection[int] | None
    ) -> ProductRead:
        """Change the fields that were sent, if the product still has the version that was read.

        `etags` are the versions of `If-Match`, None without one. When nothing differs, nothing is written.
        404; 409 as `create`, and `stock_below_reserved`; 412 `version_mismatch`; 422 `version_required`,
        `field_not_writable`.
        """
        _check_writable(body)
        product = await self._find(product_id)
        _check_version(product.version, body.version, etags)
        changed = self._changed(product, body)
        if not changed:
            return ProductRead.model_validate(product)
        values = {COLUMNS.get(name, name): value for name, value in changed.items()}
        if "currency" in changed:
            _check_currency(changed["currency"])
        if changed.keys() & {"price", "options"}:
            _check_price(changed.get("price", product.price), changed.get("options", product.options))
        if changed.keys() & SEARCHED:
            texts = [changed.get(name, getattr(product, name)) for name in ("name", "sku", "category")]
            values["search"] = self._vector(*texts)
        updated = await self.products.change(product_id, product.version, values)
        if updated is None:
            raise version_mismatch((await self._find(product_id)).version)
        await emit(self.session, ProductUpdated(**facts_of(updated), changed=sorted(changed)))
        return ProductRead.model_validate(updated)

    async def delete(self, product_id: UUID) -> None:
        """Take a product out of the catalogue; orders keep what they copied and hold. 404."""
        deleted = await self.products.mark_deleted(product_id)
        if deleted is None:
            raise NotFound()
        await emit(self.session, ProductDeleted(**facts_of(deleted)))

    async def adjust_stock(self, product_id: UUID, body: StockAdjust) -> ProductRead:
        """Correct the stock by hand, as `StockService.adjust` says."""
        product = await self._stock.adjust(
            product_id, delta=body.delta, to=body.set, expected=body.expected_stock, reason=body.reason
        )
        return ProductRead.model_validate(product)

    async def list_movements(self, product_id: UUID, query: MovementQuery) -> Page[MovementRead]:
        """A page of the history of a product's stock, newest first. 404."""
        await self._find(product_id)
        pager = Pager(
            f"stock_movements:{product_id}",
            Keyset(StockMovement.created_at, StockMovement.id),
            {"-created_at": Sort(StockMovement.created_at, True, has_cursor=True)},
        )
        statement = self.movements.of_product(product_id)
        rows = await pager.rows(self.session, statement, query, "-created_at")
        return Page[MovementRead].model_validate(rows)

    @property
    def _organization_id(self) -> UUID:
        assert self.principal.organization_id is not None  # noqa: S101 - every route asks for a permission
        return self.principal.organization_id

    @property
    def _stock(self) -> StockService:
        return StockService(self.session, self.principal)

    async def _find(self, product_id: UUID) -> Product:
        product = await self.products.get(product_id)
        if product is None:
            raise NotFound()
        return product

    async def _insert(self, slug: str | None, values: dict[str, Any]) -> Product:
        """Insert a product; without a slug, with the first free one that is made from its name."""
        if slug is not None:
            return await self.products.add(Product(id=uuid7(), slug=slug, **values))
        base = slug_of(values["name"])
        await self.products.wait_for_slugs(base)
        for _ in range(SLUG_TRIES):
            made = free_slug(base, await self.products.slugs_like(base))
            product = Product(id=uuid7(), slug=made, **values)
            if await self.products.add_unless_slug_taken(product):
                return product
        raise slug_taken()

    def _changed(self, product: Product, body: ProductUpdate) -> dict[str, Any]:
        """The sent fields whose value is another one than the product's."""
        sent = body.changes(without=NOT_WRITABLE | {"version"})
        if "options" in sent:
            sent["options"] = dump_options(body.options)
        return {
            name: value for name, value in sent.items() if value != getattr(product, COLUMNS.get(name, name))
        }

    def _vector(self, *texts: str | None) -> Any:
        return terms_vector(search_terms(self._organization_id, *texts))


def _check_currency(currency: str) -> None:
    if not is_supported(currency):
        raise _invalid("/currency", "currency_not_supported", "Prices cannot be in this currency.")


def _check_price(price: int, options: Sequence[dict[str, Any]]) -> None:
    if minimum_price(price, load_options(list(options))) < 0:
        raise _invalid("/options", "option_price_below_zero", "Some choice makes the price negative.")


def _check_writable(body: ProductUpdate) -> None:
    errors = [
        FieldError(f"/{name}", "field_not_writable", "Use PATCH /api/products/{product_id}/stock.")
        for name in sorted(NOT_WRITABLE & body.model_fields_set)
    ]
    if errors:
        raise Invalid("field_not_writable", "Stock is corrected at its own address.", errors=errors)


def _check_version(present: int, version: int | None, etags: Collection[int] | None) -> None:
    if version is None and etags is None:
        raise _invalid("/version", "version_required", "Send the `version` that you read, or `If-Match`.")
    if is_stale(present, version, etags):
        raise version_mismatch(present)


def _invalid(pointer: str, code: str, detail: str) -> Invalid:
    return Invalid(code, detail, errors=[FieldError(pointer, code, detail)])


Products = Annotated[ProductService, Depends()]
