"""Does the acts of the plan through the services that the routes use, each by somebody who may."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.core.access import Principal
from app.core.database import OwnerSession
from app.core.permissions import Role
from app.demo.plan import Act, PlannedOrder, Step
from app.repositories.demo import KEY, MadeOrder
from app.schemas.orders import (
    HoldRelease,
    ManualPayment,
    OrderCancel,
    OrderCreate,
    OrderReason,
    OrderShip,
    ShippedLine,
)
from app.services.orders.cancelling import CancellingService
from app.services.orders.fulfilment import FulfilmentService
from app.services.orders.payment import OrderPaymentService
from app.services.orders.placing import PlacingService

ACTORS: Mapping[Act, Role] = {
    "keep": Role.manager,
    "place": Role.manager,
    "cancel": Role.manager,
    "pay": Role.admin,
    "hold": Role.owner,
    "release": Role.owner,
    "process": Role.manager,
    "ship_part": Role.manager,
    "ship": Role.manager,
    "deliver": Role.manager,
}
"""Who does what; money is written down by those who may give it back."""

PAYMENTS = ("bank_transfer", "bank_transfer", "cash", "other")


@dataclass(frozen=True, slots=True)
class KnownOrder:
    """An order of the plan as it stands: what the next act has to know."""

    order_id: UUID
    total: int
    first_item: UUID


ENDED = frozenset({"cancelled", "expired", "returned"})

SIGNS: Mapping[Act, Callable[[MadeOrder], bool]] = {
    "keep": lambda _: True,
    "place": lambda _: True,
    "cancel": lambda made: made.order.cancelled_at is not None,
    "pay": lambda made: made.order.paid_at is not None,
    "hold": lambda made: made.hold_changes > 0,
    "release": lambda made: made.hold_changes > 1,
    "process": lambda made: made.order.status not in ("pending", "confirmed"),
    "ship_part": lambda made: made.fulfilled > 0,
    "ship": lambda made: made.order.shipped_at is not None,
    "deliver": lambda made: made.order.delivered_at is not None,
}
"""How to see that an order has seen an act."""


def is_done(act: Act, made: MadeOrder | None) -> bool:
    """Whether there is nothing left to do of an act: it was done, or others have ended the order."""
    return made is not None and (made.order.status in ENDED or SIGNS[act](made))


class Stage:
    """The demo team at work in one transaction."""

    def __init__(self, session: OwnerSession, principal: Principal, products: Mapping[str, UUID]) -> None:
        self.session = session
        self.principal = principal
        self.products = products

    async def place(self, order: PlannedOrder, *, is_draft: bool) -> KnownOrder:
        """Place an order, or keep it as a draft."""
        body = OrderCreate.model_validate(order_body(order, self.products, is_draft=is_draft))
        made = await PlacingService(self.session, self.principal).create(body)
        return KnownOrder(made.id, made.total_amount, made.order_items[0].id)

    async def act(self, step: Step, known: KnownOrder) -> None:
        """Do anything but place an order."""
        reference = str(known.order_id)
        fulfilment = FulfilmentService(self.session, self.principal)
        match step.act:
            case "pay":
                await self._pay(step.order, known)
            case "cancel":
                body = OrderCancel(reason="The buyer changed their mind.")
                await CancellingService(self.session, self.principal).cancel(reference, body, None)
            case "hold":
                await fulfilment.hold(reference, OrderReason(reason="The address is incomplete."), None)
            case "release":
                found = HoldRelease(reason="The buyer has sent the missing floor.")
                await fulfilment.release_hold(reference, found, None)
            case "process":
                await fulfilment.process(reference, OrderReason(), None)
            case "ship_part":
                first = ShippedLine(item_id=known.first_item, quantity=1)
                await fulfilment.ship(reference, self._parcel(step.order, lines=[first]), None)
            case "ship":
                await fulfilment.ship(reference, self._parcel(step.order), None)
            case "deliver":
                await fulfilment.deliver(reference, OrderReason(), None)
            case _:
                raise ValueError(f"{step.act} makes an order, it does not change one")

    async def _pay(self, order: PlannedOrder, known: KnownOrder) -> None:
        method = PAYMENTS[order.number % len(PAYMENTS)]
        body = ManualPayment.model_validate(
            {"method": method, "reference": f"MA-{order.number:05d}", "amount": known.total}
        )
        await OrderPaymentService(self.session, self.principal).mark_paid(str(known.order_id), body, None)

    def _parcel(self, order: PlannedOrder, **more: Any) -> OrderShip:
        carrier = {"standard": "Colissimo", "express": "Chronopost"}.get(order.shipping_code, "DHL Express")
        return OrderShip(carrier=carrier, tracking_number=f"MA{order.number:011d}", **more)


def order_body(order: PlannedOrder, products: Mapping[str, UUID], *, is_draft: bool) -> dict[str, Any]:
    """What somebody sends who places an order of the plan."""
    who = order.buyer
    return {
        "items": [
            {
                "product_id": products[line.sku],
                "quantity": line.quantity,
                "customization": line.customization,
            }
            for line in order.lines
        ],
        "customer": {"email": who.email, "name": who.name, "phone": who.phone},
        "shipping_address": who.address,
        "shipping_code": order.shipping_code,
        "discount_code": order.discount_code,
        "payment_method": "manual",
        "status": "draft" if is_draft else "pending",
        "notes": order.notes,
        "metadata": {KEY: order.number},
    }
