"""Taking the money of an authorised payment, before its order is shipped."""

from uuid import UUID

from fastapi import Request

from app.core.access import CurrentPrincipal
from app.core.database import DatabaseOf, Owner, OwnerSession
from app.core.errors import Conflict, NotFound, PaymentRequired
from app.repositories.orders.checkouts import WAITING, OrderCommandRepository
from app.repositories.orders.refunds import PaymentRepository
from app.schemas.orders import OrderAct, OrderDetail
from app.services.orders.desk import Etags, OrderDesk
from app.services.orders.provider import CAPTURE
from app.services.stripe_webhooks.commands import IN_REQUEST, StripeCommandRow, queue_command
from app.services.stripe_webhooks.executing import refusal_of, tried_in_three_steps


class CapturingService:
    """Captures authorised payments; the network is called between transactions."""

    def __init__(
        self, session: Owner, principal: CurrentPrincipal, database: DatabaseOf, request: Request
    ) -> None:
        self.session = session
        self.principal = principal
        self.database = database
        self.request = request

    async def capture(self, reference: str, body: OrderAct, etags: Etags) -> OrderDetail:
        """Take the whole of what was authorised for an order.

        402 `payment_failed` when the payment provider refuses; 404; 409 `nothing_to_capture`; 412; 503.
        """

        async def prepare(own: OwnerSession, command_id: UUID) -> StripeCommandRow:
            desk = OrderDesk(own, self.principal)
            order = await desk.take(reference, version=body.version, etags=etags)
            payments = await PaymentRepository(own).of_order(order.id)
            authorized = [payment for payment in payments if payment.status == "authorized"]
            if order.payment_status != "authorized" or not authorized:
                raise Conflict("nothing_to_capture", "The order has no payment that is only authorised.")
            payment = authorized[0]
            waiting = await OrderCommandRepository(own).latest(payment.id, CAPTURE)
            if waiting is not None and waiting.status in WAITING:
                return StripeCommandRow.of(waiting)
            return await queue_command(
                own,
                order.organization_id,
                CAPTURE,
                subject_type="order_payment",
                subject_id=payment.id,
                params={"payment_intent": payment.stripe_payment_intent_id},
                command_id=command_id,
                delay=IN_REQUEST,
            )

        command = await tried_in_three_steps(self.session, self.database, self.request, prepare)
        refusal = refusal_of(command)
        if refusal is not None:
            if command.status == "failed":
                raise PaymentRequired(
                    "payment_failed",
                    "The payment provider did not take the money; ask the buyer to pay anew.",
                )
            raise refusal
        desk = OrderDesk(self.session, self.principal)
        view = await desk.orders.view(reference)
        if view is None:
            raise NotFound()
        return await desk.unchanged(view.order)
