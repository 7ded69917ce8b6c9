"""What callers send and get about products, their stock and its history."""

import json
import re
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, SkipValidation, StrictBool, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from app.core.csv_rows import read_rows
from app.core.money import MAX_AMOUNT
from app.core.paging import PageQuery
from app.schemas.base import (
    Currency,
    Input,
    Line,
    Output,
    Patch,
    QueryInt,
    StrictInt,
    Text,
    Timestamp,
    absent,
)
from app.schemas.metadata import Metadata
from app.schemas.product_options import MAX_PRICE, ProductOptions

MAX_STOCK = 1_000_000_000
MAX_VERSION = 2_147_483_647

Status = Literal["draft", "active", "archived"]
SortOrder = Literal["-created_at", "created_at", "name", "-name", "price", "-price"]

Name = Annotated[Line, Field(min_length=1, max_length=200, examples=["Weekender bag"])]
Slug = Annotated[str, Field(max_length=80, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", examples=["weekender-bag"])]
Sku = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$", examples=["BAG-01"])]
ExternalRef = Annotated[
    Line, Field(min_length=1, max_length=200, description="Id of the product in a connected shop.")
]
Description = Annotated[Text, Field(max_length=20_000)]
Category = Annotated[Line, Field(min_length=1, max_length=80, examples=["Bags"])]
TaxCategory = Annotated[str, Field(max_length=40, pattern=r"^[a-z0-9_]{1,40}$", examples=["standard"])]
Grams = Annotated[StrictInt, Field(ge=0, le=1_000_000, description="Weight in grams.")]
Price = Annotated[StrictInt, Field(ge=0, le=MAX_PRICE, description="Minor units of `currency`.")]
Quantity = Annotated[StrictInt, Field(ge=0, le=MAX_STOCK)]
Days = Annotated[StrictInt, Field(ge=0, le=365, description="Days until it can be sent.")]


class ProductQuery(PageQuery):
    """The filters of the list; all that are sent must hold."""

    q: Text | None = Field(
        None, min_length=1, max_length=200, description="Beginnings of words of the name, SKU or category."
    )
    status: list[Status] = Field([], max_length=10, description="Repeat it for several.")
    category: Category | None = Field(None, description="Only products of this category.")
    sku: Sku | None = Field(None, description="The whole SKU; case does not matter.")
    slug: Slug | None = Field(None, description="Only the product with this slug.")
    in_stock: bool | None = Field(
        None, description="True: it can be ordered, being untracked, on back order or available."
    )
    price_min: QueryInt | None = Field(None, ge=0, le=MAX_AMOUNT, description="Minor units, inclusive.")
    price_max: QueryInt | None = Field(None, ge=0, le=MAX_AMOUNT, description="Minor units, inclusive.")
    sort: SortOrder = Field("-created_at", description="Order of the list; `-` means descending.")


class MovementQuery(PageQuery):
    """The history of stock has one order, newest first."""


class ProductCreate(Input):
    """A new product."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "Weekender bag", "price": 24900, "currency": "EUR", "status": "active"}]
        }
    )

    name: Name
    price: Price
    currency: Currency | None = Field(None, description="Default: that of the order settings.")
    slug: Slug | None = Field(None, description="Default: made from the name.")
    sku: Sku | None = None
    external_ref: ExternalRef | None = None
    description: Description | None = None
    category: Category | None = None
    tax_category: TaxCategory = "standard"
    weight_g: Grams | None = None
    options: ProductOptions = Field(default_factory=list, description="Fields that make it personal.")
    metadata: Metadata = Field(default_factory=dict)
    status: Status = "draft"
    track_inventory: StrictBool = Field(True, description="Whether pieces are counted.")
    allow_backorder: StrictBool = Field(False, description="Whether it sells when no piece is left.")
    stock: Quantity = Field(0, description="Pieces on hand at first.")
    low_stock_threshold: Quantity | None = Field(None, description="Tell when so few are available.")
    lead_time_days: Days | None = None


class ProductChanges(Patch):
    """The fields of a product that can be changed."""

    name: Name = Field(default_factory=absent)
    price: Price = Field(default_factory=absent)
    currency: Currency = Field(default_factory=absent)
    slug: Slug = Field(default_factory=absent)
    sku: Sku | None = None
    external_ref: ExternalRef | None = None
    description: Description | None = None
    category: Category | None = None
    tax_category: TaxCategory = Field(default_factory=absent)
    weight_g: Grams | None = None
    options: ProductOptions = Field(default_factory=absent)
    metadata: Metadata = Field(default_factory=absent)
    status: Status = Field(default_factory=absent)
    track_inventory: StrictBool = Field(default_factory=absent)
    allow_backorder: StrictBool = Field(default_factory=absent)
    low_stock_threshold: Quantity | None = None
    lead_time_days: Days | None = None


class ProductUpdate(ProductChanges):
    """The fields to change, and the `version` that they were read at (or `If-Match`)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"price": 19900, "version": 1}]})

    version: Annotated[StrictInt, Field(ge=1, le=MAX_VERSION)] | None = Field(
        None, description="The version that you read; due unless `If-Match` is sent."
    )
    # Known here only so that the refusal can say that they are changed elsewhere.
    stock: SkipJsonSchema[Any] = None
    reserved: SkipJsonSchema[Any] = None


class ImportRow(ProductChanges):
    """One product by its SKU: a known one is changed, an unknown one made, which needs a name and a price."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"sku": "BAG-01", "name": "Weekender bag", "price": 24900, "stock": 12}]
        }
    )

    sku: Sku
    stock: Quantity = Field(default_factory=absent, description="Pieces on hand from now on.")


INTEGERS = frozenset({"price", "weight_g", "stock", "low_stock_threshold", "lead_time_days"})
BOOLEANS = frozenset({"track_inventory", "allow_backorder"})
OBJECTS = frozenset({"options", "metadata"})
READ_ONLY = frozenset({"id", "reserved", "available", "created_at", "updated_at"})
"""Columns of an export that an import passes over, so that a file may go out and come back."""

WORDS = {"true": True, "false": False}
INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
GUARDED = re.compile(r"'+[=+@\t\r-]")
"""A cell that an export protected from being taken for a formula."""

MOST_ROWS = 1000
"""So many rows at most may be allowed in one import."""


def _from_csv(value: object) -> object:
    """The rows of a CSV file, each cell as the type of its column where it can be one."""
    if not isinstance(value, bytes):
        return value
    try:
        rows = read_rows(value, most=MOST_ROWS + 1)
    except ValueError as error:
        raise PydanticCustomError("csv_invalid", "{fault}", {"fault": str(error)}) from None
    if any(row.keys() - ImportRow.model_fields.keys() - READ_ONLY for row in rows):
        raise PydanticCustomError("csv_invalid", "the first line names an unknown column")
    return [{name: _typed(name, cell) for name, cell in row.items() if name not in READ_ONLY} for row in rows]


def _typed(column: str, cell: str) -> object:
    """A cell's value; the text itself where it is none, which the row's own check then refuses."""
    if column in INTEGERS:
        return int(cell) if INTEGER.fullmatch(cell) else cell
    if column in BOOLEANS:
        return WORDS.get(cell.lower(), cell)
    if column in OBJECTS:
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return cell
    return cell[1:] if GUARDED.match(cell) else cell


class ProductImport(Input):
    """Products to make and to change, all of them or none."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"dry_run": True, "rows": [{"sku": "BAG-01", "name": "Weekender bag", "price": 24900}]}
            ]
        }
    )

    dry_run: StrictBool = Field(False, description="Only check and count; nothing is written.")
    # Each row is validated by the service, which names every fault of every row at once.
    rows: Annotated[
        list[SkipValidation[ImportRow]],
        BeforeValidator(_from_csv),
        Field(json_schema_extra={"maxItems": MOST_ROWS}, description="At most PRODUCT_IMPORT_MAX_ROWS rows."),
    ]

    @model_validator(mode="before")
    @classmethod
    def _csv(cls, data: Any) -> Any:
        """A body that is not JSON is the rows alone."""
        return {"rows": data} if isinstance(data, bytes) else data


class ImportReport(Output):
    """What an import did, or with `dry_run` would do."""

    created: int
    updated: int
    unchanged: int
    dry_run: bool


class StockAdjust(Input):
    """A correction: exactly one of `delta` and `set`, and why."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"delta": -2, "reason": "Damaged in the stockroom"},
                {"set": 40, "expected_stock": 37, "reason": "Stocktaking"},
            ]
        }
    )

    delta: Annotated[StrictInt, Field(ge=-MAX_STOCK, le=MAX_STOCK)] | None = Field(
        None, description="Pieces to add, or below zero to take away; not 0."
    )
    set: Quantity | None = Field(None, description="The new number of pieces; with `expected_stock`.")
    expected_stock: Annotated[StrictInt, Field(ge=-MAX_STOCK, le=MAX_STOCK)] | None = Field(
        None, description="What the stock must still be for this to be done."
    )
    reason: Annotated[Line, Field(min_length=1, max_length=500)]

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.delta is None) == (self.set is None):
            raise PydanticCustomError("delta_or_set", "send exactly one of `delta` and `set`")
        if self.delta == 0:
            raise PydanticCustomError("delta_zero", "`delta` must not be 0")
        if self.set is not None and self.expected_stock is None:
            raise PydanticCustomError("expected_stock_required", "`set` needs `expected_stock`")
        return self


class ProductRead(Output):
    """A product."""

    id: UUID
    user_id: UUID | None = Field(description="Who created it.")
    name: str
    slug: str
    sku: str | None
    external_ref: str | None
    description: str | None
    category: str | None
    price: int = Field(description="Minor units of `currency`.")
    currency: str
    tax_category: str
    weight_g: int | None
    options: list[dict[str, Any]] = Field(description="Fields that make it personal, in display order.")
    metadata: dict[str, Any] = Field(validation_alias="metadata_")
    status: Status
    track_inventory: bool
    allow_backorder: bool
    stock: int = Field(description="Pieces on hand.")
    reserved: int = Field(description="Pieces held by unpaid orders.")
    available: int | None = Field(description="`stock - reserved`; null when pieces are not counted.")
    low_stock_threshold: int | None
    lead_time_days: int | None
    version: int
    created_at: Timestamp
    updated_at: Timestamp


class MovementRead(Output):
    """One change of a product's quantities, and what they were afterwards."""

    id: UUID
    product_id: UUID
    order_id: UUID | None
    refund_id: UUID | None
    reason: Literal["reserve", "release", "commit", "restock", "adjust", "import"]
    delta_stock: int
    delta_reserved: int
    stock_after: int
    reserved_after: int
    actor_type: Literal["user", "api_key", "stripe", "customer", "system"]
    actor_id: str | None
    note: str | None
    created_at: Timestamp
