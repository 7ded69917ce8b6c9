"""Founds the demo brand: people with their homes, the organisation, its rates and codes."""

import hashlib
from datetime import datetime
from uuid import UUID

from app.core.database import SystemSession
from app.core.permissions import Role
from app.demo import house
from app.demo.house import DemoPerson
from app.models.billing import PlanGrant
from app.models.orders import DiscountCode, ShippingRate, TaxRate
from app.models.team import Organization, TeamMember
from app.repositories.auth import PeopleRepository


class DemoRefused(Exception):
    """Demo data cannot be made here; the sentence may be shown."""


def demo_id(name: str) -> UUID:
    """The id of something that demo data knows by name: a UUIDv7 of 1 January 2026, the same everywhere."""
    digest = int.from_bytes(hashlib.sha256(f"luneo demo {name}".encode()).digest()[:10])
    value = (1_767_225_600_000 << 80) | digest
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0b11 << 62) | 0b10 << 62)


ORGANIZATION_ID = demo_id(house.SLUG)


def person_id(role: Role) -> UUID:
    """The id of the member of the demo team who has this role."""
    return demo_id(f"person {role.value}")


async def found_house(session: SystemSession, hashed: str, since: datetime) -> None:
    """Write everything but products and orders, as if it had been made at `since`."""
    people = PeopleRepository(session)
    for person in house.TEAM:
        await _settle(people, person, hashed, since)
    owner = person_id(Role.owner)
    organization = Organization(
        id=ORGANIZATION_ID,
        name=house.ORGANIZATION,
        slug=house.SLUG,
        kind="team",
        created_by=owner,
        created_at=since,
    )
    await people.add_owned_organization(organization, _member(ORGANIZATION_ID, Role.owner, "creation", since))
    for person in house.TEAM[1:]:
        session.add(_member(ORGANIZATION_ID, person.role, "invitation", since, invited_by=owner))
    for person in house.TEAM:
        user = await people.get(person_id(person.role))
        assert user is not None  # noqa: S101 - inserted above
        user.email_confirmed_at, user.last_organization_id = since, ORGANIZATION_ID
    session.add(_grant(since))
    _add_rates(session, since)
    await session.flush()


async def _settle(people: PeopleRepository, person: DemoPerson, hashed: str, since: datetime) -> None:
    """One person with password, profile and the personal organisation that everybody has."""
    user_id = person_id(person.role)
    if not await people.insert(user_id, email=person.email, canonical=person.email, now=since):
        raise DemoRefused(f"{person.email} is taken by another account; demo data needs this address.")
    await people.set_password(user_id, hashed, since)
    await people.set_profile(
        user_id, full_name=person.full_name, company=house.ORGANIZATION, locale=person.locale, now=since
    )
    home = demo_id(f"home {person.role.value}")
    organization = Organization(
        id=home,
        name=person.full_name,
        slug=f"{house.SLUG}-{person.role.value}",
        kind="personal",
        created_by=user_id,
        created_at=since,
    )
    owner = _member(home, Role.owner, "signup", since, user_id=user_id)
    await people.add_owned_organization(organization, owner)


def _member(
    organization_id: UUID,
    role: Role,
    source: str,
    since: datetime,
    *,
    user_id: UUID | None = None,
    invited_by: UUID | None = None,
) -> TeamMember:
    user_id = user_id or person_id(role)
    return TeamMember(
        organization_id=organization_id,
        id=demo_id(f"member {organization_id} {user_id}"),
        user_id=user_id,
        role=role.value,
        source=source,
        joined_at=since,
        invited_by=invited_by,
        created_at=since,
    )


def _grant(since: datetime) -> PlanGrant:
    """A plan that has room for the team and the catalogue, and custom roles to try."""
    return PlanGrant(
        organization_id=ORGANIZATION_ID,
        id=demo_id("plan"),
        plan_code="business",
        starts_at=since,
        ends_at=None,
        note="Demo data",
        granted_by="seed",
        created_at=since,
    )


def _add_rates(session: SystemSession, since: datetime) -> None:
    owned = {"organization_id": ORGANIZATION_ID}
    for country, rate_bps in house.TAX_RATES.items():
        session.add(TaxRate(**owned, country=country, region="", tax_category="standard", rate_bps=rate_bps))
    for position, (code, name, countries, amount, free_from) in enumerate(house.SHIPPING_RATES):
        session.add(
            ShippingRate(
                **owned,
                code=code,
                name=name,
                countries=countries,
                amount=amount,
                free_from=free_from,
                currency="EUR",
                position=position,
            )
        )
    for text, kind, value, minimum in house.DISCOUNT_CODES:
        session.add(
            DiscountCode(
                **owned,
                id=demo_id(f"discount {text}"),
                code=text,
                kind=kind,
                value=value,
                currency="EUR",
                min_subtotal=minimum,
                created_at=since,
            )
        )
