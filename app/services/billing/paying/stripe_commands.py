"""Owns the calls that make customers, hosted pages and ways to pay at Stripe."""

from abc import abstractmethod
from contextlib import suppress
from typing import Any

from app.clients.stripe import StripeClient, StripeError, StripeMissing, StripeRefused
from app.core.database import SystemSession
from app.repositories.billing.checkouts import CheckoutRepository
from app.repositories.billing.customers import CustomerRepository
from app.services.billing.subscriptions.calls import RepeatableCall
from app.services.billing.subscriptions.customers import bind_customer, unbind_customer
from app.services.billing.subscriptions.fetching import moment
from app.services.billing.subscriptions.methods import apply_method
from app.services.stripe_webhooks.binding import bind
from app.services.stripe_webhooks.commands import StripeCommandRow, marked, stripe_command


class CustomerCall(RepeatableCall):
    """Something that is done for the organisation's customer, who is made when there is none."""

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        """Do it for the customer; the answer says who that is."""
        customer = await customer_of(client, params)
        made = await self.make(client, customer, params, key)
        return {**made, "customer_id": customer, "livemode": client.livemode}

    @abstractmethod
    async def make(
        self, client: StripeClient, customer: str, params: dict[str, Any], key: str
    ) -> dict[str, Any]:
        """The call itself."""

    async def succeeded(
        self, session: SystemSession, command: StripeCommandRow, result: dict[str, Any]
    ) -> None:
        """The customer is the organisation's."""
        await bind_customer(
            session, command.organization_id, result["customer_id"], livemode=result["livemode"]
        )


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
        return {name: made[name] for name in ("id", "url", "expires_at")}

    async def succeeded(
        self, session: SystemSession, command: StripeCommandRow, result: dict[str, Any]
    ) -> None:
        """The checkout is open."""
        await super().succeeded(session, command, result)
        checkouts = CheckoutRepository(session)
        checkout = await checkouts.find(command.organization_id, command.subject_id)
        await bind(session, result["id"], "checkout.session", command.organization_id)
        if checkout is not None and checkout.status == "creating":
            opened = {
                "status": "open",
                "stripe_session_id": result["id"],
                "url": result["url"],
                "expires_at": moment(result["expires_at"]),
            }
            await checkouts.change(command.organization_id, command.subject_id, opened)

    async def refused(
        self,
        session: SystemSession,
        command: StripeCommandRow,
        error: StripeError,  # noqa: ARG002 - whatever it says
    ) -> None:
        """The checkout has come to nothing, and another may begin."""
        await CustomerRepository(session).lock(command.organization_id)
        await CheckoutRepository(session).change(
            command.organization_id, command.subject_id, {"status": "failed"}
        )


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


@stripe_command("portal_session.create")
class CreatePortal(CustomerCall):
    """A visit to the portal."""

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
        """One that is not attached any more needs nothing."""
        try:
            await client.call("payment_methods.detach", params["payment_method"], key=key)
        except (StripeMissing, StripeRefused):
            found = await client.call("payment_methods.retrieve", params["payment_method"])
            if found.get("customer") is not None:
                raise
        return {"id": params["payment_method"]}


@stripe_command("customer.set_default_payment_method")
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


@stripe_command("customer.update")
class UpdateCustomer(RepeatableCall):
    """Who pays, as it stands on invoices."""

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        """Name and address; the tax number is a thing of its own at Stripe."""
        changes = {name: params[name] or "" for name in ("email", "name", "address")}
        await client.call("customers.update", params["customer"], params=changes, key=key)
        return {"id": params["customer"], "version": params["version"]}

    async def succeeded(
        self, session: SystemSession, command: StripeCommandRow, result: dict[str, Any]
    ) -> None:
        """The details are the same there, unless they were changed again meanwhile."""
        customers = CustomerRepository(session)
        row = await customers.lock(command.organization_id)
        if row.updated_at.isoformat() == result["version"]:
            await customers.note_sync(command.organization_id)


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


async def customer_of(client: StripeClient, params: dict[str, Any]) -> str:
    """The customer of `customer_params`; two calls at once make the same one, since their key is one."""
    if params["customer"] is not None:
        return str(params["customer"])
    metadata = {"organization_id": params["organization_id"]}
    made = await client.call("customers.create", params={"metadata": metadata}, key=params["customer_key"])
    details = {name: params[name] for name in ("email", "name") if params[name]}
    await client.call("customers.update", made["id"], params=details)
    return str(made["id"])
