"""The filters and orders of the list of orders."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from app.core.mail_addresses import MailAddressText
from app.core.money import MAX_AMOUNT
from app.core.paging import PageQuery
from app.schemas.base import Amount, Query, QueryInt, StrictInt, Text, Timestamp
from app.schemas.orders.words import PaymentStatus, StatusFilter

OrderSort = Literal["-created_at", "created_at", "-total_amount", "total_amount"]

Bound = Annotated[QueryInt, Field(ge=0, le=MAX_AMOUNT)]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class OrderFilters(Query):
    """Which orders; the filters that are sent must all apply."""

    status: Annotated[list[StatusFilter], BeforeValidator(_listed), Field(max_length=20)] = Field(
        default_factory=list, description="Repeatable; `canceled` means `cancelled`."
    )
    payment_status: Annotated[list[PaymentStatus], BeforeValidator(_listed), Field(max_length=20)] = Field(
        default_factory=list, description="Repeatable."
    )
    on_hold: bool | None = Field(None, description="Whether something stops fulfilment.")
    q: Annotated[Text, Field(min_length=1, max_length=200)] | None = Field(
        None, description="Words, or beginnings of words, of number, buyer, SKUs and item names."
    )
    search: Annotated[Text, Field(min_length=1, max_length=200)] | None = Field(
        None, description="Another name of `q`."
    )
    product_id: UUID | None = Field(None, description="Orders with this product.")
    customer_email: MailAddressText | None = Field(
        None, description="The buyer's e-mail address, in any case."
    )
    from_: Timestamp | None = Field(None, alias="from", description="Made at this moment or later.")
    to: Timestamp | None = Field(None, description="Made before this moment.")
    min_total: Bound | None = Field(None, description="Least total, in minor units of each order's currency.")
    max_total: Bound | None = Field(
        None, description="Largest total, in minor units of each order's currency."
    )

    @model_validator(mode="after")
    def _one_search(self) -> Self:
        if self.q is not None and self.search is not None:
            raise PydanticCustomError("double_search", "send q or search, not both")
        return self

    @property
    def words(self) -> str | None:
        """What is searched for."""
        return self.q if self.q is not None else self.search


class OrderQuery(PageQuery, OrderFilters):
    """Filters, order and place of a page of the list."""

    sort: OrderSort = Field("-created_at", description="Order of the list; `-` means descending.")


class OrderSearch(OrderQuery):
    """The same as a JSON object, in which numbers are numbers and nothing is taken for something else."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": ["pending"], "limit": 20}]})

    on_hold: StrictBool | None = Field(None, description="Whether something stops fulfilment.")
    min_total: Amount | None = Field(
        None, description="Least total, in minor units of each order's currency."
    )
    max_total: Amount | None = Field(
        None, description="Largest total, in minor units of each order's currency."
    )
    limit: StrictInt = Field(20, ge=1, le=100, description="Items of a page.")
    page: StrictInt | None = Field(
        None, ge=1, le=10_000, description="Numbered page, from 1; brings `total`."
    )
    count: StrictBool = Field(False, description="Whether to answer `total` with a cursor too.")
