"""Pages of the payment provider on which orders are paid: opened, repeated, and asked how they went."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import Request

from app.clients.stripe import StripeError
from app.core.access import CurrentPrincipal, Principal
from app.core.config import get_settings
from app.core.currencies import CURRENCIES
from app.core.database import DatabaseOf, Owner, OwnerSession
from app.core.errors import AppError, Conflict, FieldError, Invalid, NotFound
from app.models.orders import Order, OrderItem
from app.repositories.orders.checkouts import WAITING, OrderCommandRepository
from app.schemas.orders import (
    CheckoutError,
    CheckoutOpen,
    CheckoutPaths,
    OrderCreate,
    OrderCreated,
    OrderDetail,
)
from app.services.orders.checkout_state import expire_checkout, held_until_after, is_payable
from app.services.orders.desk import OrderDesk
from app.services.orders.faults import fault
from app.services.orders.placing import PlacingService
from app.services.orders.provider import OPEN_CHECKOUT
from app.services.orders.settings import OrderSettingsService
from app.services.orders.states import UNDER_WAY, invalid_transition, refuse_hold
from app.services.orders.views import order_members
from app.services.stripe_webhooks.commands import IN_REQUEST, StripeCommandRow, queue_command
from app.services.stripe_webhooks.effects import CustomerConflict, EventUnresolved
from app.services.stripe_webhooks.executing import in_three_steps, refusal_of, tried_in_three_steps
from app.services.stripe_webhooks.processing import sync_object
from app.services.stripe_webhooks.refusals import answer_to, require_stripe

MOST = 99_999_999
"""What Stripe charges at most, in minor units of any currency."""

MOST_LINES = 100
"""What a page of Stripe's shows at most."""

MOST_NAME = 250
LEAST_LEFT = timedelta(minutes=5)
"""An open page with less time is replaced."""

SHORTEST = timedelta(minutes=30)
"""Stripe opens no page that would be over sooner."""

TRAVEL = timedelta(minutes=2)
"""Added to a session's time, so that Stripe, whose clock is another, does not find it too short."""


@dataclass(frozen=True, slots=True)
class OpenedCheckout:
    """The page of an order, and whether it was opened by this call."""

    page: CheckoutOpen
    is_new: bool


class _StillOpenError(Exception):
    """The order has a page that can be used; nothing is opened."""

    def __init__(self, page: CheckoutOpen) -> None:
        super().__init__("open")
        self.page = page


class _FreeError(Exception):
    """The order costs nothing, so it needs no page; it is placed without one."""


class CheckoutService:
    """Opens pages on which orders are paid; the network is called between transactions."""

    def __init__(
        self, session: Owner, principal: CurrentPrincipal, database: DatabaseOf, request: Request
    ) -> None:
        self.session = session
        self.principal = principal
        self.database = database
        self.request = request

    async def open(self, reference: str, paths: CheckoutPaths) -> OpenedCheckout:
        """The page on which an order is paid: the one that is open, or a new one.

        404; 409 `invalid_transition`, `payment_in_progress`, `order_on_hold`, `payment_window_closed`; 422
        `return_path_invalid`, `amount_too_small`, `amount_too_large`, `amount_not_chargeable`; 503.
        """
        refuse_foreign_paths(paths, "")
        is_shared = False

        async def prepare(own: OwnerSession, command_id: UUID) -> StripeCommandRow:
            nonlocal is_shared
            order = await OrderDesk(own, self.principal).take(reference)
            command = await CheckoutOpener(own, self.principal).ask(order, paths, command_id)
            # One that has failed before is sent by this request; any other waiting one by whoever wrote it.
            is_shared = command.id != command_id and command.error is None
            return command

        try:
            command = await in_three_steps(self.session, self.database, self.request, prepare)
        except _StillOpenError as found:
            return OpenedCheckout(found.page, is_new=False)
        result = command.result or {}
        page = CheckoutOpen(
            url=result["url"], session_id=result["id"], expires_at=moment(result["expires_at"])
        )
        return OpenedCheckout(page, is_new=not is_shared)

    async def create(self, body: OrderCreate) -> OrderCreated:
        """Place an order and open its page; what happens to the page never loses the order.

        Refuses as placing does, and 422 for amounts that cannot be charged. `checkout_error` says why there
        is no page.
        """
        paths = body.checkout
        if paths is None:
            return await PlacingService(self.session, self.principal).create(body)
        refuse_foreign_paths(paths)
        try:
            require_stripe()
        except AppError as error:
            return await self._without_page(body, error.code)

        async def prepare(own: OwnerSession, command_id: UUID) -> StripeCommandRow:
            placed = await PlacingService(own, self.principal).create(body)
            if not placed.total_amount:
                raise _FreeError
            order = await OrderDesk(own, self.principal).take(str(placed.id))
            return await CheckoutOpener(own, self.principal).ask(order, paths, command_id)

        try:
            command = await tried_in_three_steps(self.session, self.database, self.request, prepare)
        except _FreeError:
            return await self._without_page(body, None)
        refusal = refusal_of(command)
        return await self._told(command.subject_id, None if refusal is None else refusal.code)

    async def sync(self, reference: str) -> OrderDetail:
        """Ask the payment provider how the order's page went, apply that, and answer the order.

        404; 409 `provider_out_of_sync`; 503.
        """
        desk = OrderDesk(self.session, self.principal)
        view = await desk.orders.view(reference)
        if view is None:
            raise NotFound()
        order_id, session_id = view.order.id, view.order.stripe_checkout_session_id
        if session_id is not None and require_stripe().owns(session_id):
            await self.session.rollback()
            await fetch_session(self.database, session_id)
        order = await desk.orders.get(order_id)
        if order is None:
            raise NotFound()
        return await desk.unchanged(order)

    async def _without_page(self, body: OrderCreate, code: str | None) -> OrderCreated:
        placed = await PlacingService(self.session, self.principal).create(
            body.model_copy(update={"checkout": None})
        )
        if code is not None and placed.total_amount:
            placed.checkout_error = CheckoutError(code=code)
        return placed

    async def _told(self, order_id: UUID, code: str | None) -> OrderCreated:
        """The order as it stands after the call."""
        view = await OrderDesk(self.session, self.principal).orders.view(order_id)
        if view is None:
            raise NotFound()
        members = order_members(view.order, view.items, self.principal)
        error = None if code is None else CheckoutError(code=code)
        return OrderCreated.model_validate({**members, "checkout_error": error})


class CheckoutOpener:
    """Writes the command that opens the page of a locked order."""

    def __init__(self, session: OwnerSession, principal: Principal) -> None:
        self.session = session
        self.desk = OrderDesk(session, principal)
        self.settings = OrderSettingsService(session, principal)

    async def ask(self, order: Order, paths: CheckoutPaths, command_id: UUID) -> StripeCommandRow:
        """The command that opens a page, a new one or one that waits already; else _StillOpenError."""
        refuse_unpayable(order)
        now = await self.session.now()
        self._reuse(order, now)
        waiting = await OrderCommandRepository(self.session).latest(order.id, OPEN_CHECKOUT)
        total = str(order.total_amount)
        if (
            waiting is not None
            and waiting.status in WAITING
            and waiting.params["metadata"]["total"] == total
            and moment(waiting.params["expires_at"]) > now + SHORTEST
        ):
            return StripeCommandRow.of(waiting)
        settings = await self.settings.get()
        expires_at = now + timedelta(minutes=settings.payment_window_minutes) + TRAVEL
        if order.status == "pending":
            longest = timedelta(hours=get_settings().order_pending_max_hours)
            if order.placed_at is None or expires_at > order.placed_at + longest:
                raise Conflict(
                    "payment_window_closed", "The order is too old to be paid by checkout; place it again."
                )
            order.reservation_expires_at = held_until_after(expires_at)
        refuse_unchargeable(order.total_amount, order.currency)
        await expire_checkout(self.session, order)
        params = session_params(
            order,
            await self.desk.orders.items(order.id),
            paths,
            expires_at=int(expires_at.timestamp()),
            capture_method=settings.capture_method,
        )
        await self.session.flush()
        return await queue_command(
            self.session,
            order.organization_id,
            OPEN_CHECKOUT,
            subject_type="order",
            subject_id=order.id,
            params=params,
            command_id=command_id,
            delay=IN_REQUEST,
        )

    @staticmethod
    def _reuse(order: Order, now: datetime) -> None:
        """Raise _StillOpenError with the order's page when it can still be used."""
        if order.checkout_url is None or order.stripe_checkout_session_id is None:
            return
        if order.checkout_expires_at is not None and order.checkout_expires_at > now + LEAST_LEFT:
            raise _StillOpenError(
                CheckoutOpen(
                    url=order.checkout_url,
                    session_id=order.stripe_checkout_session_id,
                    expires_at=order.checkout_expires_at,
                )
            )


async def fetch_session(database: DatabaseOf, session_id: str) -> None:
    """Fetch a page at Stripe and apply what was paid there; 409 `provider_out_of_sync`, 503."""
    try:
        await sync_object(
            database, "checkout.session.completed", {"id": session_id, "object": "checkout.session"}
        )
    except StripeError as error:
        raise answer_to(error) from None
    except (EventUnresolved, CustomerConflict):
        raise Conflict(
            "provider_out_of_sync", "The payment provider does not know this checkout any more."
        ) from None


def session_params(
    order: Order,
    items: list[OrderItem],
    paths: CheckoutPaths,
    *,
    expires_at: int,
    capture_method: str,
) -> dict[str, Any]:
    """What Stripe is told of a page: every line of the order at what it costs."""
    metadata = {
        "organization_id": str(order.organization_id),
        "order_id": str(order.id),
        "total": str(order.total_amount),
    }
    app_url = get_settings().app_url.rstrip("/")
    intent: dict[str, Any] = {"metadata": metadata, "description": order.order_number}
    if capture_method == "manual":
        intent["capture_method"] = "manual"
    return {
        "mode": "payment",
        "client_reference_id": str(order.id),
        "customer_email": order.customer_email,
        "line_items": _lines(order, items),
        "metadata": metadata,
        "payment_intent_data": intent,
        "expires_at": expires_at,
        "success_url": f"{app_url}{paths.success_path}",
        "cancel_url": f"{app_url}{paths.cancel_path}",
    }


def _lines(order: Order, items: list[OrderItem]) -> list[dict[str, Any]]:
    """One line per item and one for shipping, whose sum is the total; too many become a single one."""
    amounts = [(f"{item.quantity} × {item.name}", item.total_amount) for item in items]  # noqa: RUF001 - times
    shipping = order.pricing.get("shipping")
    if shipping is not None:
        amounts.append(("Shipping", shipping["total_amount"]))
    amounts = [(name, amount) for name, amount in amounts if amount]
    if sum(amount for _, amount in amounts) != order.total_amount:
        raise ArithmeticError("the lines of an order do not come to its total")
    if len(amounts) > MOST_LINES:
        amounts = [(str(order.order_number), order.total_amount)]
    return [
        {
            "quantity": 1,
            "price_data": {
                "currency": order.currency.lower(),
                "unit_amount": amount,
                "product_data": {"name": name[:MOST_NAME]},
            },
        }
        for name, amount in amounts
    ]


def refuse_unpayable(order: Order) -> None:
    """Raise 409 unless a page may be opened for the order now."""
    if is_payable(order):
        if order.hold_reason != "payment_lapsed":
            refuse_hold(order)
        return
    if order.payment_status in UNDER_WAY:
        raise Conflict("payment_in_progress", "A payment of this order is under way; wait for its end.")
    raise invalid_transition(order, "confirmed")


def refuse_unchargeable(amount: int, currency: str) -> None:
    """Raise 422 for amounts that Stripe does not charge."""
    known = CURRENCIES[currency]
    if known.exponent == 3 and amount % 10:
        sentence = "Stripe charges this currency in steps of ten."
        raise fault("/total_amount", "amount_not_chargeable", sentence)
    if amount > MOST:
        raise fault("/total_amount", "amount_too_large", f"Stripe charges at most {MOST}.")
    if known.stripe_minimum is not None and amount < known.stripe_minimum:
        sentence = "The total is less than the smallest amount that Stripe charges."
        raise Invalid("amount_too_small", sentence, minimum=known.stripe_minimum)


def moment(seconds: int) -> datetime:
    """A time of Stripe's."""
    return datetime.fromtimestamp(seconds, UTC)


def refuse_foreign_paths(paths: CheckoutPaths, pointer: str = "/checkout") -> None:
    """Raise 422 `return_path_invalid` unless both paths, found at `pointer`, stay within the application."""
    faults = [
        FieldError(f"{pointer}/{name}", "return_path_invalid", "A path begins with one slash.")
        for name, path in (("success_path", paths.success_path), ("cancel_path", paths.cancel_path))
        if path[0] != "/" or path[1:2] == "/" or "\\" in path or not path.isprintable()
    ]
    if faults:
        raise Invalid("return_path_invalid", "Return paths stay within the application.", errors=faults)
