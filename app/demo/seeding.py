"""One run: people, products, orders act by act, and at last the seller, the sign that all is there."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from app.core import clock
from app.core.access import Principal
from app.core.config import get_settings
from app.core.database import Database, OwnerSession, commit
from app.core.passwords import hash_password
from app.core.permissions import Role, permissions_of
from app.demo import house
from app.demo.acts import ACTORS, KnownOrder, Stage, is_done
from app.demo.catalogue import DemoProduct, catalogue
from app.demo.founding import ORGANIZATION_ID, DemoRefused, found_house, person_id
from app.demo.options import OPTION_SETS
from app.demo.paying import Cashier
from app.demo.plan import DAYS, LOW, PlannedOrder, Step, first_stock, plan_orders, steps
from app.repositories import demo as rows
from app.schemas.products import ProductCreate
from app.services.orders.settings import OrderSettingsService
from app.services.products.catalogue import ProductService

PRODUCTS = 60
ORDERS = 500
UNCOUNTED = frozenset({"untracked", "backorder"})
"""Shelves from which more can always be taken."""

TELL_EVERY = 250
"""After so many acts progress is told."""

OLDER = timedelta(days=DAYS + 10)
"""By how much the organisation is older than this run; its products are there for ten days less."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """How to sign in as the owner, and what this run has made: nothing, when everything was there."""

    email: str
    password: str
    organization_id: UUID
    people: int
    products: int
    orders: int
    acts: int


async def seed(
    database: Database, *, progress: Progress, products: int = PRODUCTS, orders: int = ORDERS
) -> DemoSummary:
    """Make the demo organisation, or go on where an interrupted run has stopped.

    A run that finds everything changes nothing, whatever has been done to the data since. `progress` is given
    sentences. Raises DemoRefused in production, and where a demo address belongs to another account.
    """
    if get_settings().environment == "production":
        raise DemoRefused("Demo accounts have a password that everybody knows; they are not for production.")
    async with database.system(autocommit=True) as session, rows.one_run_at_a_time(session):
        return await _Run(database, progress, catalogue()[:products], orders).run()


class _Run:
    """What one run knows."""

    def __init__(
        self, database: Database, progress: Progress, products: Sequence[DemoProduct], orders: int
    ) -> None:
        self.database = database
        self.progress = progress
        self.products = products
        self.orders = plan_orders(products, orders)
        self.known: dict[int, KnownOrder] = {}
        self.people = self.made_products = self.made_orders = self.acts = 0

    async def run(self) -> DemoSummary:
        founded_at = await self._founded_at()
        if founded_at is None:
            self.progress(f"Demo data: {house.ORGANIZATION} and its team")
            founded_at = clock.now() - OLDER
            await self._found(founded_at)
        if await self._is_complete():
            self.progress(f"Demo data: {house.ORGANIZATION} is there already")
        else:
            present = founded_at + OLDER
            await self._stock_shelves(present - timedelta(days=DAYS + 1))
            await self._play(present)
            await self._complete()
            self.progress(f"Demo data: {self.made_products} products and {self.made_orders} orders were made")
        await self._pay()
        return DemoSummary(
            email=house.TEAM[0].email,
            password=house.PASSWORD,
            organization_id=ORGANIZATION_ID,
            people=self.people,
            products=self.made_products,
            orders=self.made_orders,
            acts=self.acts,
        )

    async def _pay(self) -> None:
        """Let the sandbox of Stripe have something to show: orders of pieces that nobody counts."""
        async with self.database.owner(_principal(Role.owner), autocommit=True) as session:
            products = await rows.made_products(session)
        uncounted = {product.sku for product in self.products if product.shelf in UNCOUNTED} & set(products)
        likely = [
            replace(order, lines=(line,))
            for order in self.orders
            for line in order.lines
            if line.sku in uncounted
        ]
        paid = await Cashier(self.database, _principal(Role.owner)).pay(likely, products)
        if paid:
            self.progress(f"Demo data: {paid} orders were paid in the sandbox of Stripe")

    async def _founded_at(self) -> datetime | None:
        async with self.database.owner(_principal(Role.owner), autocommit=True) as session:
            return await rows.founded_at(session)

    async def _found(self, since: datetime) -> None:
        hashed = await hash_password(house.PASSWORD)
        async with self.database.transaction() as session:
            await found_house(session, hashed, since)
        self.people = len(house.TEAM)

    async def _stock_shelves(self, since: datetime) -> None:
        """Make all products in one transaction, unless there are some."""
        async with self._transaction(Role.designer) as session:
            if not await rows.made_products(session):
                await rows.allow_dating(session)
                service = ProductService(session, _principal(Role.designer))
                for product in self.products:
                    await service.create(_product(product, self.orders))
                    self.made_products += 1
                await rows.date_products(session, ORGANIZATION_ID, since)

    async def _play(self, present: datetime) -> None:
        """Do the missing acts as they happened one after the other, each in a transaction of its own."""
        async with self.database.owner(_principal(Role.owner), autocommit=True) as session:
            products = await rows.made_products(session)
            made = await rows.made_orders(session)
        missing = [product.sku for product in self.products if product.sku not in products]
        if missing:
            raise DemoRefused(f"Demo data is incomplete and {missing[0]} is gone; use a new database.")
        self.known = {
            number: KnownOrder(order.order.id, order.order.total_amount, order.first_item)
            for number, order in made.items()
        }
        due = [step for step in steps(self.orders) if not is_done(step.act, made.get(step.order.number))]
        async with AsyncExitStack() as open_sessions:
            stages = {}
            for role in sorted({ACTORS[step.act] for step in due}):
                session = await open_sessions.enter_async_context(self.database.owner(_principal(role)))
                stages[role] = Stage(session, _principal(role), products)
            for step in due:
                if self.acts % TELL_EVERY == 0:
                    self.progress(f"Demo data: {self.acts} of {len(due)} steps of {len(self.orders)} orders")
                await self._act(stages[ACTORS[step.act]], step, present - step.age)
                self.acts += 1

    async def _act(self, stage: Stage, step: Step, moment: datetime) -> None:
        """One act, dated and committed. The session is used again: a new one costs as much as a statement."""
        await rows.allow_dating(stage.session)
        number = step.order.number
        if step.act in ("keep", "place"):
            self.known[number] = await stage.place(step.order, is_draft=step.act == "keep")
            self.made_orders += 1
        else:
            await stage.act(step, self.known[number])
        await rows.date_order(stage.session, ORGANIZATION_ID, self.known[number].order_id, moment)
        await commit(stage.session)
        stage.session.expunge_all()

    async def _is_complete(self) -> bool:
        """Whether a run has come to its end: the seller is written then."""
        async with self._transaction(Role.owner) as session:
            settings = await OrderSettingsService(session, _principal(Role.owner)).get()
            return bool(settings.seller)

    async def _complete(self) -> None:
        async with self._transaction(Role.owner) as session:
            settings = await OrderSettingsService(session, _principal(Role.owner)).get()
            settings.seller = dict(house.SELLER)

    @asynccontextmanager
    async def _transaction(self, role: Role) -> AsyncIterator[OwnerSession]:
        async with self.database.owner(_principal(role)) as session:
            yield session
            await commit(session)


def _principal(role: Role) -> Principal:
    """The member of the demo team with this role, at work."""
    return Principal(
        kind="user",
        user_id=person_id(role),
        organization_id=ORGANIZATION_ID,
        permissions=permissions_of(role.value, None),
        role=role.value,
    )


def _product(product: DemoProduct, orders: Sequence[PlannedOrder]) -> ProductCreate:
    is_counted = product.shelf != "untracked"
    return ProductCreate.model_validate(
        {
            "name": product.name,
            "sku": product.sku,
            "price": product.price,
            "currency": "EUR",
            "description": product.description,
            "category": product.category,
            "weight_g": product.weight_g,
            "options": OPTION_SETS[product.options],
            "status": product.shelf if product.shelf in ("draft", "archived") else "active",
            "track_inventory": is_counted,
            "allow_backorder": product.shelf == "backorder",
            "stock": first_stock(product, orders),
            "low_stock_threshold": LOW if is_counted else None,
            "lead_time_days": product.lead_time_days,
        }
    )
