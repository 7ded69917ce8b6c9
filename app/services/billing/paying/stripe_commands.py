"""Owns the calls that make customers, hosted pages and ways to pay at Stripe."""

from abc import abstractmethod
from contextlib import suppress
from typing import Any

from app.clients.stripe import StripeClient, StripeError, StripeMissing, StripeRefused
from app.core.database import SystemSession
from app.repositories.billing.checkouts import CheckoutRepository
from app.repositories.billing.customers import CustomerRepository
from app.repositories.billing.payment_methods import PaymentMethodRepository
from app.repositories.billing.subscriptions import SubscriptionRepository
from app.services.billing.paying.tax_ids import has_tax_id, write_tax_id
from app.services.billing.subscriptions.calls import RepeatableCall
from app.services.billing.subscriptions.customers import (
    SET_DEFAULT,
    TELL_DETAILS,
    bind_customer,
    tell_stripe_details,
    unbind_customer,
)
from app.services.billing.subscriptions.fetching import id_of, moment
from app.services.billing.subscriptions.methods import apply_method, tell_stripe_default
from app.services.stripe_webhooks.asking import have_catalog_checked, is_being_told, was_told_meanwhile
from app.services.stripe_webhooks.binding import bind
from app.services.stripe_webhooks.commands import StripeCall, StripeCommandRow, marked, stripe_command
from app.services.stripe_webhooks.refusals import TAX_NUMBER

CLOCKS_APART = 300
KEY_KEPT = 25 * 3600
"""Seconds: by how much clocks may differ, and how long at most an earlier key has stood for a customer."""


class CustomerCall(StripeCall):
    """Something that is done for the organisation's customer, who is made when there is none."""

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        """Do it for the customer; the answer says who that is."""
        customer = await customer_of(client, params)
        made = await self.make(client, customer, params, key)
        return _for_customer(client, customer, made)

    @abstractmethod
    async def make(
        self, client: StripeClient, customer: str, params: dict[str, Any], key: str
    ) -> dict[str, Any]:
        """The call itself."""

    async def made_before(
        self,
        client: StripeClient,  # noqa: ARG002 - kinds that leave something behind ask it
        customer: str,  # noqa: ARG002 - as above
        command: StripeCommandRow,  # noqa: ARG002 - as above
    ) -> dict[str, Any] | None:
        """What `make` answered to an earlier attempt; None when there is none, or when it does not matter."""
        return None

    async def find(self, client: StripeClient, command: StripeCommandRow) -> dict[str, Any] | None:
        """What an earlier attempt made. Where it came no further than to the customer, the rest is made now:
        another customer would be one too many.
        """
        params = command.params
        customer = params["customer"] or await _customer_made(client, command)
        if customer is None:
            return None
        made = await self.made_before(client, customer, command)
        if made is None:
            made = await self.make(client, customer, params, str(command.id))
        return _for_customer(client, customer, made)

    async def succeeded(
        self, session: SystemSession, command: StripeCommandRow, result: dict[str, Any]
    ) -> None:
        """The customer is the organisation's."""
        await bind_customer(
            session, command.organization_id, result["customer_id"], livemode=result["livemode"]
        )

    async def refused(self, session: SystemSession, command: StripeCommandRow, error: StripeError) -> None:
        """A customer whom Stripe does not know is none; the next call makes another.

        Unless there is a subscription, whose customer must not be lost because of a wrong key.
        """
        row = await CustomerRepository(session).lock(command.organization_id)
        is_gone = isinstance(error, StripeMissing) and error.param == "customer"
        if not is_gone or row.stripe_customer_id != command.params["customer"]:
            return
        if await SubscriptionRepository(session).live(command.organization_id) is None:
            await unbind_customer(session, command.organization_id, await session.now())


@stripe_command("checkout_session.create_subscription")
class CreateCheckout(CustomerCall):
    """A page on which a plan is bought."""

    async def make(
        self, client: StripeClient, customer: str, params: dict[str, Any], key: str
    ) -> dict[str, Any]:
        metadata = marked(params["metadata"], key)
        subscription: dict[str, Any] = {"metadata": params["metadata"]}
        if params["trial_days"]:
            subscription["trial_period_days"] = params["trial_days"]
            subscription["trial_settings"] = {"end_behavior": {"missing_payment_method": "pause"}}
        sent: dict[str, Any] = {
            "mode": "subscription",
            "customer": customer,
            "client_reference_id": params["organization_id"],
            "line_items": [{"price": params["price"], "quantity": 1}],
            "success_url": params["success_url"],
            "cancel_url": params["cancel_url"],
            "allow_promotion_codes": True,
            "metadata": metadata,
            "subscription_data": subscription,
        }
        if params["automatic_tax"]:
            sent["automatic_tax"] = {"enabled": True}
            sent["customer_update"] = {"address": "auto"}
        made = await client.call("checkout.sessions.create", params=sent, key=key)
        return _page_of(made)

    async def made_before(
        self, client: StripeClient, customer: str, command: StripeCommandRow
    ) -> dict[str, Any] | None:
        """The session that names this command."""
        found = await _of_command(client, "checkout.sessions.list", command, customer=customer)
        return None if found is None else _page_of(found)

    async def succeeded(
        self, session: SystemSession, command: StripeCommandRow, result: dict[str, Any]
    ) -> None:
        """The checkout is open; a page that was found after a day is over."""
        await super().succeeded(session, command, result)
        checkouts = CheckoutRepository(session)
        checkout = await checkouts.find(command.organization_id, command.subject_id)
        await bind(session, result["id"], "checkout.session", command.organization_id)
        if checkout is not None and checkout.status == "creating":
            opened = {
                "status": result["status"],
                "stripe_session_id": result["id"],
                "url": result["url"],
                "expires_at": moment(result["expires_at"]),
            }
            await checkouts.change(command.organization_id, command.subject_id, opened)

    async def refused(self, session: SystemSession, command: StripeCommandRow, error: StripeError) -> None:
        """The checkout has come to nothing, and another may begin; the price may be what Stripe misses."""
        await super().refused(session, command, error)
        await CheckoutRepository(session).change(
            command.organization_id, command.subject_id, {"status": "failed"}
        )
        if isinstance(error, StripeMissing):
            await have_catalog_checked(session)


@stripe_command("billing_checkout.expire")
class ExpireCheckout(RepeatableCall):
    """Close a page in whose place another plan was asked for."""

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        """One that is not open any more stays as it is: its own event tells what became of it."""
        try:
            return await client.call("checkout.sessions.expire", params["session"], key=key)
        except (StripeRefused, StripeMissing):
            return {"id": params["session"]}


@stripe_command("setup_intent.create")
class CreateSetup(CustomerCall):
    """What a payer needs to enter a card at Stripe. Its secret is fetched when it is answered, not kept."""

    async def make(
        self, client: StripeClient, customer: str, params: dict[str, Any], key: str
    ) -> dict[str, Any]:
        metadata = marked({"organization_id": params["organization_id"]}, key)
        sent = {"customer": customer, "usage": "off_session", "metadata": metadata}
        made = await client.call("setup_intents.create", params=sent, key=key)
        return {"id": made["id"]}

    async def made_before(
        self, client: StripeClient, customer: str, command: StripeCommandRow
    ) -> dict[str, Any] | None:
        """The intent that names this command."""
        found = await _of_command(client, "setup_intents.list", command, customer=customer)
        return None if found is None else {"id": found["id"]}


@stripe_command("portal_session.create")
class CreatePortal(CustomerCall):
    """A visit to the portal. It leaves nothing behind, so that another one may be made."""

    async def make(
        self, client: StripeClient, customer: str, params: dict[str, Any], key: str
    ) -> dict[str, Any]:
        sent = {"customer": customer, "return_url": params["return_url"]}
        if params["flow"] is not None:
            sent["flow_data"] = params["flow"]
        made = await client.call("billing_portal.sessions.create", params=sent, key=key)
        return {"id": made["id"], "url": made["url"]}


@stripe_command("payment_method.attach")
class AttachMethod(CustomerCall):
    """Keep a method that the payer entered elsewhere."""

    async def make(
        self, client: StripeClient, customer: str, params: dict[str, Any], key: str
    ) -> dict[str, Any]:
        sent = {"customer": customer}
        made = await client.call("payment_methods.attach", params["payment_method"], params=sent, key=key)
        return {"id": made["id"], "method": made}

    async def made_before(
        self, client: StripeClient, customer: str, command: StripeCommandRow
    ) -> dict[str, Any] | None:
        """The method, if it is the customer's: Stripe refuses to attach one twice."""
        found = await client.call("payment_methods.retrieve", str(command.params["payment_method"]))
        is_attached = id_of(found.get("customer")) == customer
        return {"id": found["id"], "method": found} if is_attached else None

    async def succeeded(
        self, session: SystemSession, command: StripeCommandRow, result: dict[str, Any]
    ) -> None:
        """There is one more way to pay."""
        await super().succeeded(session, command, result)
        fetched_at = command.first_sent_at or command.created_at
        await apply_method(session, command.organization_id, result["method"], fetched_at)


@stripe_command("payment_method.detach")
class DetachMethod(RepeatableCall):
    """Let Stripe forget a method."""

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        """One that is not attached any more, or that was never at this Stripe, needs nothing."""
        if not client.owns(params["payment_method"]):
            return {"id": params["payment_method"]}
        try:
            await client.call("payment_methods.detach", params["payment_method"], key=key)
        except (StripeMissing, StripeRefused):
            found = await client.call("payment_methods.retrieve", params["payment_method"])
            if found.get("customer") is not None:
                raise
        return {"id": params["payment_method"]}


@stripe_command(SET_DEFAULT)
class SetDefault(RepeatableCall):
    """Let Stripe take this method from now on, for the subscription too."""

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        """Both calls; the later of two defaults wins, as it does here."""
        chosen = {"default_payment_method": params["payment_method"]}
        await client.call(
            "customers.update", params["customer"], params={"invoice_settings": chosen}, key=f"{key}:customer"
        )
        if params.get("subscription"):
            try:
                await client.call("subscriptions.update", params["subscription"], params=chosen, key=key)
            except StripeRefused:
                # One that has ended meanwhile takes no method any more.
                found = await client.call("subscriptions.retrieve", params["subscription"])
                if found["status"] not in {"canceled", "incomplete_expired"}:
                    raise
        return {"id": params["customer"]}

    async def succeeded(
        self,
        session: SystemSession,
        command: StripeCommandRow,
        result: dict[str, Any],  # noqa: ARG002 - it says no more
    ) -> None:
        """Where another may have been told after it, the one that is chosen now is told once more."""
        await CustomerRepository(session).lock(command.organization_id)
        chosen = await PaymentMethodRepository(session).default(command.organization_id)
        if chosen is None or await is_being_told(session, command.organization_id, SET_DEFAULT):
            return
        is_last = chosen.stripe_payment_method_id == command.params["payment_method"]
        if not is_last or await was_told_meanwhile(session, command):
            await tell_stripe_default(session, chosen)

    async def find(self, client: StripeClient, command: StripeCommandRow) -> dict[str, Any] | None:
        """Whether customer and subscription pay with it."""
        params = command.params
        customer = await client.call("customers.retrieve", params["customer"])
        payers = [customer.get("invoice_settings") or {}]
        if params.get("subscription"):
            payers.append(await client.call("subscriptions.retrieve", params["subscription"]))
        is_done = all(
            id_of(item.get("default_payment_method")) == params["payment_method"] for item in payers
        )
        return {"id": params["customer"]} if is_done else None


@stripe_command(TELL_DETAILS)
class UpdateCustomer(RepeatableCall):
    """Who pays, as it stands on invoices."""

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        """Name and address, then the tax number, which is a thing of its own at Stripe."""
        changes = {name: params[name] or "" for name in ("email", "name", "address")}
        await client.call("customers.update", params["customer"], params=changes, key=key)
        await write_tax_id(client, params["customer"], params["tax_id"], key)
        return _told(params)

    async def find(self, client: StripeClient, command: StripeCommandRow) -> dict[str, Any] | None:
        """Whether the customer has these details."""
        params = command.params
        customer = await client.call("customers.retrieve", params["customer"])
        address = {name: value for name, value in (customer.get("address") or {}).items() if value}
        found = {"name": customer.get("name"), "email": customer.get("email"), "address": address or None}
        is_told = all(found[name] == (params[name] or None) for name in found)
        is_told = is_told and await has_tax_id(client, params["customer"], params["tax_id"])
        return _told(params) if is_told else None

    async def succeeded(
        self, session: SystemSession, command: StripeCommandRow, result: dict[str, Any]
    ) -> None:
        """The details are the same there, unless they were changed again meanwhile."""
        customers = CustomerRepository(session)
        row = await customers.lock(command.organization_id)
        is_last = row.updated_at.isoformat() == result["version"]
        if is_last and not await was_told_meanwhile(session, command):
            await customers.note_sync(command.organization_id)
        elif not await is_being_told(session, command.organization_id, TELL_DETAILS):
            # An older one was under way too, and may have put the older details in the place of these.
            await tell_stripe_details(session, row)

    async def refused(self, session: SystemSession, command: StripeCommandRow, error: StripeError) -> None:
        """Whoever gave the details can see why, unless they were changed again. Part of them may be there."""
        customers = CustomerRepository(session)
        row = await customers.lock(command.organization_id)
        if row.updated_at.isoformat() == command.params["version"]:
            code = error.code if error.code == TAX_NUMBER else "payment_provider_error"
            await customers.note_sync_error(command.organization_id, code)
        elif not await is_being_told(session, command.organization_id, TELL_DETAILS):
            await tell_stripe_details(session, row)


@stripe_command("customer.delete")
class DeleteCustomer(RepeatableCall):
    """Let Stripe forget who paid, before the organisation is purged."""

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        """One that is gone needs nothing."""
        with suppress(StripeMissing):
            await client.call("customers.delete", params["customer"], key=key)
        return {"id": params["customer"]}

    async def succeeded(
        self,
        session: SystemSession,
        command: StripeCommandRow,
        result: dict[str, Any],  # noqa: ARG002 - it says no more
    ) -> None:
        """The organisation has no customer any more."""
        await CustomerRepository(session).lock(command.organization_id)
        await unbind_customer(session, command.organization_id, await session.now())


def _told(params: dict[str, Any]) -> dict[str, Any]:
    return {"id": params["customer"], "version": params["version"]}


def _page_of(session: dict[str, Any]) -> dict[str, Any]:
    return {name: session[name] for name in ("id", "url", "expires_at", "status")}


def _for_customer(client: StripeClient, customer: str, made: dict[str, Any]) -> dict[str, Any]:
    return {**made, "customer_id": customer, "livemode": client.livemode}


async def _of_command(
    client: StripeClient, operation: str, command: StripeCommandRow, **params: Any
) -> dict[str, Any] | None:
    """The object of a list that an attempt at this command made."""
    since = int((command.first_sent_at or command.created_at).timestamp()) - CLOCKS_APART
    async for found in client.pages(operation, params={**params, "created": {"gte": since}, "limit": 100}):
        if (found.get("metadata") or {}).get("command_id") == str(command.id):
            return found
    return None


async def _customer_made(client: StripeClient, command: StripeCommandRow) -> str | None:
    """The customer whom an attempt at this command made, or one at another while the key was remembered."""
    since = int((command.first_sent_at or command.created_at).timestamp()) - KEY_KEPT
    async for found in client.pages("customers.list", params={"created": {"gte": since}, "limit": 100}):
        if (found.get("metadata") or {}).get("organization_id") == command.params["organization_id"]:
            return str(found["id"])
    return None


async def customer_of(client: StripeClient, params: dict[str, Any]) -> str:
    """The customer of `customer_params`; two calls at once make the same one, since their key is one."""
    if params["customer"] is not None:
        return str(params["customer"])
    metadata = {"organization_id": params["organization_id"]}
    made = await client.call("customers.create", params={"metadata": metadata}, key=params["customer_key"])
    details = {name: params[name] for name in ("email", "name") if params[name]}
    await client.call("customers.update", made["id"], params=details)
    return str(made["id"])
