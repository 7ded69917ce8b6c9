"""The rows of an import: what is wrong with each, and what each would make of its product."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from app.core.currencies import is_supported
from app.core.errors import FieldError, faults_at
from app.core.ids import uuid7
from app.models.products import Product
from app.repositories.products.importing import WRITTEN, Taken
from app.schemas.product_options import dump_options, load_options
from app.schemas.products import ImportRow, ProductCreate
from app.services.products.customization import minimum_price
from app.services.products.slugs import free_slug, slug_of

FIELDS = {"metadata_": "metadata"}
"""The fields whose names differ from the attributes', because the mapper keeps that name for itself."""

SENTENCES = {
    "sku_repeated": "An earlier row has the same SKU.",
    "slug_taken": "Another product has this slug.",
    "external_ref_taken": "Another product stands for this reference.",
    "currency_not_supported": "Prices cannot be in this currency.",
    "option_price_below_zero": "Some choice makes the price negative.",
    "inventory_not_tracked": "Turn `track_inventory` on first.",
    "stock_below_reserved": "Orders hold more pieces than there would be.",
}


@dataclass(slots=True)
class Row:
    """One row: its place, what was sent, its product (None: a new one), and the values that it leads to."""

    number: int
    sent: ImportRow
    raw: Mapping[str, Any]
    product: Product | None = None
    id: UUID = field(default_factory=uuid7)
    values: dict[str, Any] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    stock_delta: int = 0

    @property
    def is_unchanged(self) -> bool:
        """Whether the product is as the row wants it already."""
        return self.product is not None and not self.changed and self.stock_delta == 0

    def fault(self, name: str, code: str) -> FieldError:
        """A fault of one of the row's fields."""
        return FieldError(f"/rows/{self.number}/{name}", code, SENTENCES[code])


def read_rows(raw_rows: Sequence[Any]) -> tuple[list[Row], list[FieldError]]:
    """The rows that are valid by themselves, and what is wrong with the others."""
    rows: list[Row] = []
    faults: list[FieldError] = []
    skus: set[str] = set()
    for number, raw in enumerate(raw_rows):
        try:
            row = Row(number, ImportRow.model_validate(raw), raw)
        except ValidationError as error:
            faults += faults_at(("rows", number), error)
            continue
        if row.sent.sku.upper() in skus:
            faults.append(row.fault("sku", "sku_repeated"))
            continue
        skus.add(row.sent.sku.upper())
        rows.append(row)
    return rows, faults


def resolve(row: Row, currency: str) -> list[FieldError]:
    """Work out what the row makes of its product; answers what is wrong with that.

    `currency` is that of new products whose row names none.
    """
    if row.product is None:
        try:
            row.values = _new_values(ProductCreate.model_validate(row.raw), currency)
        except ValidationError as error:
            return faults_at(("rows", row.number), error)
        row.stock_delta = row.values["stock"]
    else:
        row.id = row.product.id
        row.values = {name: getattr(row.product, name) for name in WRITTEN} | _sent_values(row.sent)
        row.changed = [
            FIELDS.get(name, name)
            for name in WRITTEN
            if name != "stock" and row.values[name] != getattr(row.product, name)
        ]
        row.stock_delta = row.values["stock"] - row.product.stock
    return list(_faults(row))


def _new_values(created: ProductCreate, currency: str) -> dict[str, Any]:
    values = created.model_dump(exclude={"sku", "options", "metadata"})
    return {
        **values,
        "currency": created.currency or currency,
        "options": dump_options(created.options),
        "metadata_": created.metadata,
    }


def _sent_values(sent: ImportRow) -> dict[str, Any]:
    values = sent.changes(without=frozenset({"sku", "options", "metadata"}))
    if "options" in sent.model_fields_set:
        values["options"] = dump_options(sent.options)
    if "metadata" in sent.model_fields_set:
        values["metadata_"] = sent.metadata
    return values


def _faults(row: Row) -> Iterator[FieldError]:
    """What the row's values may not be, judged together and against what orders hold."""
    values = row.values
    if not is_supported(values["currency"]):
        yield row.fault("currency", "currency_not_supported")
    if minimum_price(values["price"], load_options(values["options"])) < 0:
        yield row.fault("options", "option_price_below_zero")
    if row.product is None:
        return
    if not values["track_inventory"]:
        if row.stock_delta:
            yield row.fault("stock", "inventory_not_tracked")
    elif not values["allow_backorder"] and values["stock"] < row.product.reserved:
        yield row.fault("stock", "stock_below_reserved")


def wanted_names(rows: Sequence[Row]) -> tuple[set[str], set[str]]:
    """The slugs and the external references that the rows ask for, or that slugs are made from."""
    slugs = {row.values["slug"] or slug_of(row.values["name"]) for row in rows}
    return slugs, {row.values["external_ref"] for row in rows if row.values["external_ref"]}


def settle_names(rows: Sequence[Row], taken: Collection[Taken]) -> list[FieldError]:
    """Make the slugs that were not sent; answers which names another product or row has."""
    faults: list[FieldError] = []
    slugs = {name.slug: name.id for name in taken}
    references = {name.external_ref: name.id for name in taken if name.external_ref}
    for row in rows:
        for name, owners in (("slug", slugs), ("external_ref", references)):
            value = row.values[name]
            if value is not None and owners.setdefault(value, row.id) != row.id:
                faults.append(row.fault(name, f"{name}_taken"))
    for row in rows:
        if row.values["slug"] is None:
            slug = free_slug(slug_of(row.values["name"]), slugs)
            row.values["slug"] = slug
            slugs[slug] = row.id
    return faults
