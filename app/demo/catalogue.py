"""The products of the demo brand, as they stand in `catalogue.csv`."""

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

Shelf = Literal["stocked", "low", "empty", "untracked", "backorder", "draft", "archived"]
"""How many pieces are left after all demo orders, or why none are counted or sold."""

SOLD: tuple[Shelf, ...] = ("stocked", "low", "empty", "untracked", "backorder")

TABLE = Path(__file__).with_name("catalogue.csv")


@dataclass(frozen=True, slots=True)
class DemoProduct:
    """One product; `price` is in minor units of EUR with tax, `options` names a set of `app.demo.options`."""

    category: str
    sku: str
    name: str
    price: int
    options: str
    shelf: Shelf
    weight_g: int
    description: str

    @property
    def lead_time_days(self) -> int:
        """Made to order takes three weeks."""
        return 21 if self.shelf in ("untracked", "backorder") else 3


@lru_cache(maxsize=1)
def catalogue() -> tuple[DemoProduct, ...]:
    """All sixty products; every kind of shelf is among the first twelve."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return tuple(
            DemoProduct(
                category=row["category"],
                sku=row["sku"],
                name=row["name"],
                price=int(row["price"]),
                options=row["options"],
                shelf=cast("Shelf", row["shelf"]),
                weight_g=int(row["weight_g"]),
                description=row["description"],
            )
            for row in csv.DictReader(file)
        )
