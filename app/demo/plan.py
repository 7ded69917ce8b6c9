"""The plan of all demo orders, the same at every run: who buys what, how far it goes, how old it is."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, Literal

from app.demo.buyers import Buyer, buyer
from app.demo.catalogue import SOLD, DemoProduct
from app.demo.house import DISCOUNT_CODES, EUROPE
from app.demo.options import OPTION_SETS
from app.demo.wishes import wishes

Act = Literal["keep", "place", "cancel", "pay", "hold", "release", "process", "ship_part", "ship", "deliver"]

SEED = 1931
DAYS = 90


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of an order: its acts, how many of fifty orders have it, and how old they are in days."""

    acts: tuple[Act, ...]
    of_fifty: int
    youngest: float
    oldest: float


FATES: Mapping[str, Fate] = {
    "delivered": Fate(("place", "pay", "process", "ship", "deliver"), 18, 12, DAYS),
    "shipped": Fate(("place", "pay", "process", "ship"), 7, 3, 10),
    "processing": Fate(("place", "pay", "process"), 6, 1, 8),
    "confirmed": Fate(("place", "pay"), 6, 0.3, 5),
    "pending": Fate(("place",), 4, 0.05, 4),
    "cancelled": Fate(("place", "cancel"), 4, 5, DAYS),
    "draft": Fate(("keep",), 2, 0.1, 20),
    "partly_shipped": Fate(("place", "pay", "process", "ship_part"), 1, 3, 10),
    "held": Fate(("place", "pay", "hold"), 1, 1, 12),
    "released": Fate(("place", "pay", "hold", "release", "process", "ship", "deliver"), 1, 15, 60),
}

PAUSES: Mapping[Act, tuple[float, float]] = {
    "cancel": (1, 60),
    "pay": (0.1, 48),
    "hold": (0.5, 4),
    "release": (4, 40),
    "process": (2, 30),
    "ship_part": (12, 40),
    "ship": (12, 60),
    "deliver": (24, 96),
}
"""Hours between an act and the one before it, at least and at most."""


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """One line of an order."""

    sku: str
    quantity: int
    customization: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """One order; `acts` with their ages, which shrink from act to act."""

    number: int
    acts: tuple[tuple[Act, timedelta], ...]
    lines: tuple[PlannedLine, ...]
    buyer: Buyer
    shipping_code: str
    discount_code: str | None
    notes: str | None

    @property
    def takes_stock(self) -> bool:
        """Whether its pieces leave the shelf, or stay held, in the end."""
        return not {act for act, _ in self.acts} & {"keep", "cancel"}


@dataclass(frozen=True, slots=True)
class Step:
    """One act of one order."""

    order: PlannedOrder
    act: Act
    age: timedelta


def plan_orders(products: Sequence[DemoProduct], count: int) -> list[PlannedOrder]:
    """`count` orders of these products, the oldest first; fifty have every fate."""
    random = Random(SEED)  # noqa: S311 - demo data
    names = [name for name, fate in FATES.items() for _ in range(fate.of_fifty)]
    random.shuffle(names)
    fates = [FATES[names[place % len(names)]] for place in range(count)]
    timelines = [_timeline(fate, random) for fate in fates]
    timelines.sort(key=lambda timeline: -timeline[0][1])
    return [_order(place + 1, timeline, products, random) for place, timeline in enumerate(timelines)]


def steps(orders: Sequence[PlannedOrder]) -> list[Step]:
    """The acts of all orders in the order in which they happen."""
    every = [Step(order, act, age) for order in orders for act, age in order.acts]
    return sorted(every, key=lambda step: -step.age)


def first_stock(product: DemoProduct, orders: Sequence[PlannedOrder]) -> int:
    """With how many pieces a product begins, so that the orders leave what its shelf says."""
    random = Random(f"{SEED}{product.sku}")  # noqa: S311 - demo data
    taken = _taken(orders)[product.sku]
    match product.shelf:
        case "stocked":
            return taken + random.randrange(12, 80)
        case "low":
            return taken + random.randrange(1, LOW + 1)
        case "empty":
            return taken
        case "backorder":
            return max(0, taken - 4)
        case "archived":
            return 3
        case _:
            return 0


LOW = 5
"""So few pieces are few: the threshold of every product whose pieces are counted."""


def _taken(orders: Sequence[PlannedOrder]) -> Counter[str]:
    """Pieces by SKU that orders hold at some time; what is cancelled later is of full shelves only."""
    taken: Counter[str] = Counter()
    for order in orders:
        if order.acts[0][0] == "place":
            for line in order.lines:
                taken[line.sku] += line.quantity
    return taken


def _timeline(fate: Fate, random: Random) -> tuple[tuple[Act, timedelta], ...]:
    """The acts of an order with their ages; the last one lies in the past, however young the order is."""
    begin = timedelta(days=random.uniform(fate.youngest, fate.oldest))
    pauses = [timedelta(hours=random.uniform(*PAUSES[act])) for act in fate.acts[1:]]
    whole = sum(pauses, timedelta())
    if whole > begin * 0.9:
        pauses = [pause * (begin * 0.9 / whole) for pause in pauses]
    ages = [begin]
    for pause in pauses:
        ages.append(ages[-1] - pause)
    return tuple(zip(fate.acts, ages, strict=True))


def _order(
    number: int,
    timeline: tuple[tuple[Act, timedelta], ...],
    products: Sequence[DemoProduct],
    random: Random,
) -> PlannedOrder:
    acts = {act for act, _ in timeline}
    # Scarce products are bought for good, so that exactly what is planned is left of them.
    shelves = ("stocked", "untracked") if acts & {"keep", "cancel"} else SOLD
    for_sale = [product for product in products if product.shelf in shelves]
    fewest = 2 if "ship_part" in acts else 1
    wanted = max(fewest, random.choices((1, 2, 3, 4), (55, 27, 12, 6))[0])
    # Scarce products come up a quarter as often as the others.
    chance = {
        product.sku: random.random() ** (0.25 if product.shelf == "stocked" else 1) for product in for_sale
    }
    chosen = sorted(for_sale, key=lambda product: -chance[product.sku])[:wanted]
    lines = tuple(_line(product, random) for product in chosen)
    who = buyer(random.randrange(400))
    shipping = "world" if who.country not in EUROPE else random.choice(("standard", "standard", "express"))
    return PlannedOrder(
        number=number,
        acts=timeline,
        lines=lines,
        buyer=who,
        shipping_code=shipping,
        discount_code=_discount(chosen, random),
        notes="Please wrap it as a gift." if random.random() < 0.1 else None,
    )


def _discount(products: Sequence[DemoProduct], random: Random) -> str | None:
    """A code for every eighth order, that its basket is worth enough for."""
    worth = sum(product.price for product in products)
    codes = [code for code, _, _, minimum in DISCOUNT_CODES if worth >= minimum]
    return random.choice(codes) if random.random() < 0.125 else None


def _line(product: DemoProduct, random: Random) -> PlannedLine:
    is_small = product.price < 20000
    quantity = random.choices((1, 2, 3, 6), (70, 18, 8, 4))[0] if is_small else 1
    return PlannedLine(product.sku, quantity, wishes(OPTION_SETS[product.options], random))
