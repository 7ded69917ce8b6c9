"""Owns the price list, and how the platform's staff changes it."""

from typing import Annotated, Any

import structlog
from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Unscoped
from app.core.errors import Conflict, FieldError, Invalid, NotFound
from app.core.ids import uuid7
from app.models.billing import Plan, PlanPrice
from app.repositories.billing.plans import FREE, PlanRepository, PriceRepository
from app.schemas.billing.plans import PlanList, PlanRead, PlanUpdate, PriceInput, PriceRead

logger = structlog.get_logger(__name__)


class PlanService:
    """Shows and changes plans, which belong to the platform."""

    def __init__(self, session: Unscoped, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.plans = PlanRepository(session)
        self.prices = PriceRepository(session)

    async def update(self, code: str, body: PlanUpdate) -> PlanRead:
        """Change a plan from the next request on; new prices are for those who subscribe from then on.

        404; 409 `rank_taken`; 422 `price_repeated`, `free_has_no_price`.
        """
        plan = await self.plans.by_code(code, lock=True)
        if plan is None:
            raise NotFound()
        sent: dict[str, Any] = body.changes(without=frozenset({"prices"}))
        if "rank" in sent and await self.plans.has_rank(sent["rank"], besides=code):
            raise Conflict("rank_taken", "Another plan has this rank; choose another one.")
        changed = {name: value for name, value in sent.items() if value != getattr(plan, name)}
        if changed:
            await self.plans.change(code, changed)
            await self.session.refresh(plan)
        fields = sorted(changed)
        if "prices" in body.model_fields_set and await self._reprice(plan, body.prices):
            fields.append("prices")
        if fields:
            # It concerns no organisation, so it is in no log of one.
            logger.info("plan_updated", plan=code, fields=fields, by=str(self.principal.user_id))
        return _read(plan, list(await self.prices.active([code])))

    async def _reprice(self, plan: Plan, wanted: list[PriceInput]) -> bool:
        """Let exactly these prices be asked; whether anything differs."""
        if plan.code == FREE and wanted:
            raise _fault("free_has_no_price", "The free plan costs nothing.")
        asked: dict[tuple[str, str], int] = {
            (price.currency, price.interval): price.amount for price in wanted
        }
        if len(asked) < len(wanted):
            raise _fault("price_repeated", "A plan has one price per currency and interval.")
        is_changed = False
        for price in await self.prices.active([plan.code]):
            if asked.get((price.currency, price.billing_interval)) == price.unit_amount:
                del asked[price.currency, price.billing_interval]
            else:
                await self.prices.retire(price)
                is_changed = True
        for (currency, interval), amount in asked.items():
            await self.prices.add(
                PlanPrice(
                    id=uuid7(),
                    plan_code=plan.code,
                    currency=currency,
                    billing_interval=interval,
                    unit_amount=amount,
                    lookup_key=f"luneo_{plan.code}_{interval}_{currency.lower()}",
                )
            )
        return is_changed or bool(asked)


class PriceList:
    """What everybody may see."""

    def __init__(self, session: Unscoped) -> None:
        self.plans = PlanRepository(session)
        self.prices = PriceRepository(session)

    async def list(self) -> PlanList:
        """Every public plan, lowest first, on one page."""
        plans = await self.plans.public()
        prices = await self.prices.active([plan.code for plan in plans])
        items = [_read(plan, [price for price in prices if price.plan_code == plan.code]) for plan in plans]
        return PlanList(items=items, next_cursor=None, total=len(items))


def _read(plan: Plan, prices: list[PlanPrice]) -> PlanRead:
    shown = [
        PriceRead.model_validate(
            {"currency": price.currency, "interval": price.billing_interval, "amount": price.unit_amount}
        )
        for price in prices
    ]
    return PlanRead(
        code=plan.code,
        name=plan.name,
        description=plan.description,
        rank=plan.rank,
        trial_days=plan.trial_days,
        features=plan.features,
        limits=plan.limits,
        prices=shown,
    )


def _fault(code: str, detail: str) -> Invalid:
    return Invalid(code, detail, errors=[FieldError("/prices", code, detail)])


PlansDesk = Annotated[PlanService, Depends()]
Prices = Annotated[PriceList, Depends()]
