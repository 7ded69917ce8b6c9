"""What orders say of a buyer, taken out of them: as many statements for one order as for a thousand.

Ids travel as one value, since a statement has at most 32,767 of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Text,
    Uuid,
    any_,
    case,
    column,
    delete,
    func,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import InstrumentedAttribute

from app.models.notifications import Email
from app.models.orders import DiscountRedemption, Order, OrderItem
from app.repositories.base import Repository

PERSONAL_COLUMNS = (
    "customer_email",
    "customer_email_canonical",
    "customer_name",
    "customer_phone",
    "notes",
    "internal_notes",
)

NO_PERSON: dict[str, None] = dict.fromkeys(("name", "company", "line1", "line2"))
"""What is taken out of an address; place and country stay, since taxes were worked out from them."""


class CustomerRepository(Repository[Order]):
    """The orders of one buyer."""

    model: ClassVar[type[Order]] = Order

    async def locked_orders(self, canonical: str) -> list[Order]:
        """The orders of the buyer with this canonical address, locked in the order of their ids."""
        statement = (
            select(Order)
            .where(Order.customer_email_canonical == canonical)
            .order_by(Order.id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return list((await self.session.execute(statement)).scalars().all())

    async def items(self, order_ids: Sequence[UUID]) -> list[OrderItem]:
        """The lines of these orders, by order and position."""
        statement = (
            select(OrderItem)
            .where(_is_among(OrderItem.order_id, order_ids))
            .order_by(OrderItem.order_id, OrderItem.position)
        )
        return list((await self.session.execute(statement)).scalars().all())

    async def erase_orders(self, terms: Mapping[UUID, list[str]]) -> list[Order]:
        """Take the buyer out of these orders, which keep the search terms given; answers how they stand."""
        rows = [{"id": str(order_id), "terms": kept} for order_id, kept in terms.items()]
        words = (
            func.jsonb_to_recordset(literal(rows, JSONB))
            .table_valued(column("id", Uuid), column("terms", ARRAY(Text)))
            .render_derived(name="words", with_types=True)
        )
        statement = (
            update(Order)
            .where(Order.id == words.c.id)
            .values(
                **dict.fromkeys(PERSONAL_COLUMNS, null()),
                shipping_address=_without_person(Order.shipping_address),
                billing_address=_without_person(Order.billing_address),
                search=func.array_to_tsvector(words.c.terms),
                version=Order.version + 1,
                updated_at=func.clock_timestamp(),
            )
            .returning(Order)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        return list((await self.session.execute(statement)).scalars().all())

    async def erase_texts(self, order_ids: Sequence[UUID]) -> None:
        """Take the buyer's words out of what was engraved or printed; its hash stays."""
        answers = func.jsonb_each(OrderItem.customization).table_valued(
            column("key", Text), column("value", JSONB), name="answers"
        )
        given = answers.c.value
        kept = case((given.has_key("text"), given.concat(literal({"text": None}, JSONB))), else_=given)
        cleared = select(func.jsonb_object_agg(answers.c.key, kept)).scalar_subquery()
        statement = (
            update(OrderItem)
            .where(_is_among(OrderItem.order_id, order_ids), OrderItem.customization != literal({}, JSONB))
            .values(customization=cleared)
            .execution_options(synchronize_session=False)
        )
        await self.session.execute(statement)

    async def erase_redemptions(self, canonical: str) -> None:
        """Forget which codes the buyer has redeemed; that they were redeemed stays counted."""
        statement = (
            update(DiscountRedemption)
            .where(DiscountRedemption.customer_email_canonical == canonical)
            .values(customer_email_canonical=None)
            .execution_options(synchronize_session=False)
        )
        await self.session.execute(statement)

    async def erase_mails(self, organization_id: UUID, hashes: Sequence[bytes]) -> None:
        """Forget what this organisation has mailed to an address, and what waits to be sent to it.

        `hashes` are those of the address. Mails have no owner that the row guard knows: it is bound here.
        """
        mails = Email.__table__.c
        statement = delete(Email.__table__).where(  # type: ignore[arg-type]  # a mapped class has a table
            mails.organization_id == organization_id,
            or_(mails.category == "order_customer", mails.template_key == "order_track_link"),
            mails.to_hash.in_(hashes),
        )
        await (await self.session.connection()).execute(statement)


def _is_among(column: InstrumentedAttribute[UUID], ids: Sequence[UUID]) -> ColumnElement[bool]:
    return column == any_(literal(ids, ARRAY(Uuid)))


def _without_person(address: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    """An address of which only the place is left; without an address there is none afterwards either."""
    return address.concat(literal(NO_PERSON, JSONB))
