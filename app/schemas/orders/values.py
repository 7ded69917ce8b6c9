"""Kinds of values that settings, rates and discount codes have in common."""

from typing import Annotated

from pydantic import Field

from app.schemas.base import StrictInt

BasisPoints = Annotated[
    StrictInt, Field(ge=0, le=10_000, description="Basis points: 20 % is 2000.", examples=[2000])
]
Count = Annotated[StrictInt, Field(ge=1, le=2_147_483_647)]
TaxCategory = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$", examples=["standard"])]
