"""Owns the ways to pay of an organisation. Numbers are entered at Stripe and never come here."""

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from app.clients.stripe import StripeError, StripeMissing
from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.database import DatabaseOf, Owner, OwnerSession
from app.core.errors import Conflict, FieldError, Invalid, NotFound
from app.core.paging import Keyset, Page, PageQuery, Pager, Sort
from app.models.billing import PaymentMethod
from app.repositories.billing.customers import CustomerRepository
from app.repositories.billing.payment_methods import PaymentMethodRepository
from app.repositories.billing.subscriptions import SubscriptionRepository
from app.schemas.billing.payment_methods import PaymentMethodRead, PaymentMethodUpdate, SetupRead
from app.services.billing.paying.desk import organization_of
from app.services.billing.subscriptions.customers import customer_params, known_customer
from app.services.billing.subscriptions.fetching import id_of
from app.services.billing.subscriptions.methods import TYPES, detach, tell_stripe_default, values_of
from app.services.stripe_webhooks.binding import owners_of
from app.services.stripe_webhooks.commands import IN_REQUEST, StripeCommandRow, queue_command
from app.services.stripe_webhooks.executing import in_three_steps
from app.services.stripe_webhooks.refusals import answer_to, require_stripe

NEWEST_FIRST = "-created_at"

PAGER = Pager(
    "payment_methods",
    Keyset(PaymentMethod.created_at, PaymentMethod.id),
    {NEWEST_FIRST: Sort(PaymentMethod.created_at, is_descending=True, has_cursor=True)},
)


class PaymentMethodService:
    """Keeps what an organisation pays with."""

    def __init__(self, session: Owner, database: DatabaseOf, principal: CurrentPrincipal) -> None:
        self.session = session
        self.database = database
        self.principal = principal
        self.methods = PaymentMethodRepository(session)

    async def list(self, query: PageQuery) -> Page[PaymentMethodRead]:
        """A page of methods, newest first."""
        rows = await PAGER.rows(self.session, self.methods.attached(), query, NEWEST_FIRST)
        return Page[PaymentMethodRead].model_validate(rows.map(_read))

    async def begin(self, request: Request) -> SetupRead:
        """What Stripe's form needs. 503."""
        command = await in_three_steps(
            self.session, self.database, request, partial(self._prepare, "setup_intent.create", None)
        )
        await self.session.rollback()
        try:
            made = await require_stripe().call("setup_intents.retrieve", str(command.result_id))
        except StripeError as error:
            raise answer_to(error) from None
        return SetupRead(client_secret=made["client_secret"], setup_intent_id=made["id"])

    async def attach(self, stripe_id: str, request: Request) -> tuple[PaymentMethodRead, bool]:
        """Keep a method that was entered at Stripe; with False the one that is the same card.

        402 `card_declined`; 404 unless it is unattached or the organisation's.
        """
        organization_id = organization_of(self.principal)
        known, found_id = await self._judge(stripe_id)
        if known is not None:
            return _read(known), False
        command = await in_three_steps(
            self.session, self.database, request, partial(self._prepare, "payment_method.attach", found_id)
        )
        made = await self.methods.by_stripe_id(organization_id, command.params["payment_method"])
        if made is None:
            # Another request has kept the same card meanwhile.
            known, _ = await self._judge(stripe_id)
            if known is None:
                raise NotFound()
            return _read(known), False
        return _read(made), True

    async def make_default(self, method_id: UUID, body: PaymentMethodUpdate) -> PaymentMethodRead:
        """Pay with this one from now on. 404; 422 `default_required` for `false`."""
        require_stripe()
        if not body.is_default:
            detail = "Make another method the default instead."
            fault = FieldError("/is_default", "default_required", detail)
            raise Invalid("default_required", detail, errors=[fault])
        organization_id = organization_of(self.principal)
        await CustomerRepository(self.session).lock(organization_id)
        method = await self._find(method_id)
        if not method.is_default:
            await self.methods.set_default(organization_id, method.id)
            await tell_stripe_default(self.session, method)
            await self.session.refresh(method)
        return _read(method)

    async def remove(self, method_id: UUID) -> None:
        """Remove one. 404; 409 `last_payment_method` while a subscription is paid with it."""
        require_stripe()
        organization_id = organization_of(self.principal)
        await CustomerRepository(self.session).lock(organization_id)
        method = await self._find(method_id)
        usable = await self.methods.usable(organization_id)
        if len(usable) == 1 and await SubscriptionRepository(self.session).live(organization_id) is not None:
            raise Conflict(
                "last_payment_method", "The subscription is paid with this; add another one first."
            )
        await detach(self.session, method, await self.session.now())
        await queue_command(
            self.session,
            organization_id,
            "payment_method.detach",
            subject_type="payment_method",
            subject_id=method.id,
            params={"payment_method": method.stripe_payment_method_id},
        )

    async def _find(self, method_id: UUID) -> PaymentMethod:
        method = await self.methods.find(organization_of(self.principal), method_id)
        if method is None:
            raise NotFound()
        return method

    async def _judge(self, stripe_id: str) -> tuple[PaymentMethod | None, str]:
        """The mirror that stands for the method already, or None when it may be attached, and its id. 404.

        Stripe's names for tests, such as `pm_card_visa`, each stand for a new method with an id of its own.
        """
        client = require_stripe()
        organization_id = organization_of(self.principal)
        customer = await CustomerRepository(self.session).of(organization_id)
        # Read before the transaction ends, since what was read expires with it.
        ours = None if customer is None else known_customer(customer)
        owner = (await owners_of(self.session, [stripe_id])).get(stripe_id, organization_id)
        await self.session.rollback()
        try:
            fetched = await client.call("payment_methods.retrieve", stripe_id)
        except StripeMissing:
            raise NotFound() from None
        except StripeError as error:
            raise answer_to(error) from None
        attached_to = id_of(fetched.get("customer"))
        is_ours = attached_to is None or attached_to == ours
        if not is_ours or owner != organization_id or fetched["type"] not in TYPES:
            raise NotFound()
        found_id = str(fetched["id"])
        known = await self.methods.by_stripe_id(organization_id, found_id)
        if known is not None and known.detached_at is None:
            return known, found_id
        values = values_of(fetched)
        if values["fingerprint"] is None:
            return None, found_id
        kind, fingerprint = values["type"], values["fingerprint"]
        return await self.methods.by_fingerprint(organization_id, kind, fingerprint), found_id

    async def _prepare(
        self, kind: str, stripe_id: str | None, session: OwnerSession, command_id: UUID
    ) -> StripeCommandRow:
        organization_id = organization_of(self.principal)
        customer = await CustomerRepository(session).lock(organization_id)
        params = await customer_params(session, customer, self.principal.user_id)
        return await queue_command(
            session,
            organization_id,
            kind,
            subject_type="customer",
            subject_id=organization_id,
            params={**params, "payment_method": stripe_id},
            command_id=command_id,
            delay=IN_REQUEST,
        )


def _read(method: PaymentMethod) -> PaymentMethodRead:
    month, year = method.expiry_month, method.expiry_year
    now = clock.now()
    return PaymentMethodRead.model_validate(
        {
            "id": method.id,
            "type": method.type,
            "last4": method.last4,
            "brand": method.brand,
            "expiry_month": None if month is None else f"{month:02d}",
            "expiry_year": None if year is None else str(year),
            "email": method.email,
            "is_default": method.is_default,
            "is_expired": month is not None and year is not None and (year, month) < (now.year, now.month),
            "created_at": method.created_at,
        }
    )


PaymentMethods = Annotated[PaymentMethodService, Depends()]
