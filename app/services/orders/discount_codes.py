"""Discount codes as staff keep them: listing, making, changing and deleting; redeeming is `discounts`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import Conflict, FieldError, NotFound, translate_constraint, version_mismatch
from app.core.etags import is_stale
from app.core.events import emit
from app.core.ids import uuid7
from app.core.money import WHOLE_BPS
from app.core.paging import Keyset, Page, Pager, Sort
from app.models.orders import DiscountCode
from app.repositories.orders.discount_codes import DiscountCodeRepository
from app.schemas.orders.discounts import DiscountCreate, DiscountQuery, DiscountRead, DiscountUpdate
from app.services.orders.desk import Etags
from app.services.orders.events import DiscountCreated, DiscountDeleted, DiscountEvent, DiscountUpdated
from app.services.orders.faults import refuse_currency, refuse_faults

translate_constraint(
    "discount_codes_code", Conflict("discount_code_taken", "There is such a code already; choose another.")
)

PAGER = Pager(
    "discounts",
    Keyset(DiscountCode.created_at, DiscountCode.id),
    {
        "-created_at": Sort(DiscountCode.created_at, True, has_cursor=True),
        "created_at": Sort(DiscountCode.created_at, False, has_cursor=True),
        "code": Sort(DiscountCode.code, False),
        "-code": Sort(DiscountCode.code, True),
    },
)

TERMS = ("kind", "value", "currency", "min_subtotal", "starts_at", "ends_at")
"""What has to fit together."""


class DiscountCodeService:
    """What a team does with its discount codes; amounts in minor units of the code's currency."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.codes = DiscountCodeRepository(session)

    async def list(self, query: DiscountQuery) -> Page[DiscountRead]:
        """A page of codes."""
        statement = self.codes.matching(q=query.q, is_active=query.is_active)
        rows = await PAGER.rows(self.session, statement, query, query.sort)
        return Page[DiscountRead].model_validate(rows)

    async def get(self, discount_id: UUID) -> DiscountRead:
        """One code. 404."""
        code = await self.codes.get(discount_id)
        if code is None:
            raise NotFound()
        return DiscountRead.model_validate(code)

    async def create(self, body: DiscountCreate) -> DiscountRead:
        """Make a code. 409 `discount_code_taken`; 422 `currency_not_supported`, or terms that don't fit."""
        values = body.model_dump()
        _check(values)
        code = await self.codes.add(DiscountCode(id=uuid7(), **values))
        return await self._told(DiscountCreated, code)

    async def update(self, discount_id: UUID, body: DiscountUpdate, etags: Etags) -> DiscountRead:
        """Change the fields that were sent; when nothing differs, nothing is written.

        404; 409 `discount_in_use` when more orders use the code than would be allowed; 412
        `version_mismatch`; 422 as `create`. Orders that use the code keep what it took off.
        """
        code = await self._locked(discount_id)
        if is_stale(code.version, body.version, etags):
            raise version_mismatch(code.version)
        sent = body.changes(without=frozenset({"version"}))
        changed = {name: value for name, value in sent.items() if value != getattr(code, name)}
        if not changed:
            return DiscountRead.model_validate(code)
        _check({**{name: getattr(code, name) for name in TERMS}, **changed})
        most = changed.get("max_redemptions")
        if most is not None and most < code.redeemed:
            raise Conflict(
                "discount_in_use",
                "More orders use this code already; allow at least as many.",
                redeemed=code.redeemed,
            )
        return await self._told(DiscountUpdated, await self.codes.change(discount_id, changed))

    async def delete(self, discount_id: UUID) -> None:
        """Remove a code that no order ever used, or switch it off: orders that used it name it. 404."""
        code = await self._locked(discount_id)
        if not await self.codes.was_redeemed(discount_id):
            await self.codes.remove(code)
            await self._told(DiscountDeleted, code)
        elif code.is_active:
            switched_off = await self.codes.change(discount_id, {"is_active": False})
            await self._told(DiscountUpdated, switched_off)

    async def _locked(self, discount_id: UUID) -> DiscountCode:
        """The code; no order redeems it and nobody changes it until the transaction ends."""
        code = await self.codes.get(discount_id, lock=True)
        if code is None:
            raise NotFound()
        return code

    async def _told(self, kind: type[DiscountEvent], code: DiscountCode) -> DiscountRead:
        """Emit what has happened to a code, and answer how it stands."""
        event = kind(
            discount_id=code.id,
            code=code.code,
            kind=code.kind,
            value=code.value,
            currency=code.currency,
            redeemed=code.redeemed,
            max_redemptions=code.max_redemptions,
            is_active=code.is_active,
        )
        await emit(self.session, event)
        return DiscountRead.model_validate(code)


def _check(terms: Mapping[str, Any]) -> None:
    """Raise 422 unless the terms of a code fit together, as the CHECKs of the table demand."""
    refuse_currency(terms["currency"])
    refuse_faults(list(_misfits(terms)))


def _misfits(terms: Mapping[str, Any]) -> Iterator[FieldError]:
    value = terms["value"]
    match terms["kind"]:
        case "percent" if not 1 <= value <= WHOLE_BPS:
            yield FieldError("/value", "percent_out_of_range", "Send 1 to 10000 basis points.")
        case "fixed" if value == 0:
            yield FieldError("/value", "amount_required", "Send what the code takes off, in minor units.")
        case "free_shipping" if value != 0:
            yield FieldError("/value", "value_not_applicable", "Leave it out: shipping is free as a whole.")
    if terms["currency"] is None and (terms["kind"] == "fixed" or terms["min_subtotal"] > 0):
        yield FieldError("/currency", "currency_required", "Send the currency of the amounts.")
    starts_at, ends_at = terms["starts_at"], terms["ends_at"]
    if starts_at is not None and ends_at is not None and ends_at <= starts_at:
        yield FieldError("/ends_at", "ends_before_start", "A code ends after it has started.")


DiscountCodes = Annotated[DiscountCodeService, Depends()]
