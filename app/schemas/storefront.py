"""What everybody may see of a product: nothing that counts pieces or names people."""

from typing import Any, Literal

from pydantic import Field

from app.schemas.base import Currency, Output, Query

Availability = Literal["in_stock", "backorder", "out_of_stock"]


class StorefrontQuery(Query):
    """Whose shop it is."""

    organization: str = Field(
        min_length=1,
        max_length=48,
        description="The slug of the shop's organisation.",
        examples=["maison-aurore"],
    )


class PublicProduct(Output):
    """A product as its page in a shop shows it."""

    name: str
    slug: str
    description: str | None
    category: str | None
    price: int = Field(description="Minor units of `currency`, without options.", examples=[24900])
    currency: Currency
    images: list[dict[str, Any]] = Field(description="Pictures in their order; the first is the cover.")
    options: list[dict[str, Any]] = Field(description="What makes the product personal, in display order.")
    lead_time_days: int | None
    availability: Availability
