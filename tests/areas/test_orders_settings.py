"""The settings of orders over HTTP: made on first use, changed, refused, and felt by the next order."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select

from app.core import clock
from app.core.database import SystemSession
from app.models.orders import OrderSettings
from tests.factories.orders import place_order
from tests.factories.products import make_product
from tests.support.personas import Persona, make_colleague

PATH = "/api/orders/settings"

Recorder = Callable[[], AbstractContextManager[list[str]]]

DEFAULTS: dict[str, Any] = {
    "number_prefix": "ORD",
    "invoice_prefix": "FAC",
    "credit_note_prefix": "AV",
    "time_zone": "Europe/Paris",
    "currency": "EUR",
    "prices_include_tax": True,
    "default_tax_rate_bps": 2000,
    "shipping_tax_category": "standard",
    "payment_window_minutes": 30,
    "manual_hold_hours": 168,
    "capture_method": "automatic",
    "oversold_policy": "refund",
    "is_storefront_public": False,
}

OTHERS: dict[str, Any] = {
    "number_prefix": "SHOP",
    "invoice_prefix": "R2",
    "credit_note_prefix": "G2",
    "time_zone": "America/Argentina/Buenos_Aires",
    "currency": "JPY",
    "prices_include_tax": False,
    "default_tax_rate_bps": 0,
    "shipping_tax_category": "parcels",
    "payment_window_minutes": 1425,
    "manual_hold_hours": 1,
    "capture_method": "manual",
    "oversold_policy": "backorder",
    "is_storefront_public": True,
}

SELLER = {
    "name": "Maison Aurore SAS",
    "line1": "31 rue Saint-Honoré",
    "line2": "Bâtiment B",
    "postal_code": "75001",
    "city": "Paris",
    "region": "Île-de-France",
    "country": "FR",
    "registration": "RCS Paris 123 456 789",
    "siren": "123456789",
    "vat_number": "FR32123456789",
    "email": "bonjour@aurore.test",
    "phone": "+33 1 23 45 67 89",
}


async def change(client: AsyncClient, persona: Persona, **body: Any) -> Response:
    return await client.patch(PATH, headers=persona.headers, json=body)


async def read(client: AsyncClient, persona: Persona) -> dict[str, Any]:
    answer = await client.get(PATH, headers=persona.headers)
    assert answer.status_code == 200, answer.text
    settings: dict[str, Any] = answer.json()
    assert answer.headers["etag"] == f'"{settings["version"]}"'
    return settings


async def test_settings_when_they_are_read_first(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """The database's own defaults, and every column of the table but the owner."""
    made = await read(client, alice)
    assert {name: made[name] for name in DEFAULTS} == DEFAULTS
    assert set(made["seller"].values()) == {None}
    columns = {column.name for column in OrderSettings.__table__.columns} - {"organization_id"}
    assert set(made) == columns
    assert await read(client, alice) == made
    assert await db.scalar(select(func.count()).select_from(OrderSettings)) == 1


@pytest.mark.parametrize("name", OTHERS)
async def test_setting_when_it_is_changed(client: AsyncClient, alice: Persona, name: str) -> None:
    answer = await change(client, alice, **{name: OTHERS[name]})
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert {key: changed[key] for key in DEFAULTS} == {**DEFAULTS, name: OTHERS[name]}
    assert (changed["version"], answer.headers["etag"]) == (2, '"2"')
    assert await read(client, alice) == changed
    again = await client.put(PATH, headers=alice.headers, json={name: OTHERS[name]})
    assert again.json() == changed


async def test_seller_when_it_is_replaced(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    """The object is complete each time, so that no region of a former country is left."""
    assert (await change(client, alice, seller=SELLER)).json()["seller"] == SELLER
    moved = (await change(client, alice, seller={"name": "Aurore GmbH", "country": "DE"})).json()
    nothing = dict.fromkeys(SELLER)
    assert moved["seller"] == {**nothing, "name": "Aurore GmbH", "country": "DE"}
    stored = await db.scalar(select(OrderSettings.seller))
    assert stored == {"name": "Aurore GmbH", "country": "DE"}
    assert (await change(client, alice, seller={})).json()["seller"] == nothing


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"number_prefix": "ord"}, "/number_prefix", "string_pattern_mismatch"),
    ({"number_prefix": ""}, "/number_prefix", "string_pattern_mismatch"),
    ({"invoice_prefix": "A" * 9}, "/invoice_prefix", "string_pattern_mismatch"),
    ({"credit_note_prefix": "A-B"}, "/credit_note_prefix", "string_pattern_mismatch"),
    ({"number_prefix": None}, "/number_prefix", "string_type"),
    ({"time_zone": "Paris"}, "/time_zone", "time_zone_unknown"),
    ({"time_zone": "europe/paris"}, "/time_zone", "time_zone_unknown"),
    ({"time_zone": "localtime"}, "/time_zone", "time_zone_unknown"),
    ({"time_zone": "../../etc/passwd"}, "/time_zone", "time_zone_unknown"),
    ({"time_zone": "x" * 65}, "/time_zone", "too_long"),
    ({"currency": "XXX"}, "/currency", "currency_not_supported"),
    ({"currency": "eur"}, "/currency", "string_pattern_mismatch"),
    ({"prices_include_tax": 1}, "/prices_include_tax", "bool_type"),
    ({"default_tax_rate_bps": 10_001}, "/default_tax_rate_bps", "less_than_equal"),
    ({"default_tax_rate_bps": -1}, "/default_tax_rate_bps", "greater_than_equal"),
    ({"default_tax_rate_bps": 20.0}, "/default_tax_rate_bps", "invalid"),
    ({"default_tax_rate_bps": True}, "/default_tax_rate_bps", "invalid"),
    ({"shipping_tax_category": "Parcels"}, "/shipping_tax_category", "string_pattern_mismatch"),
    ({"payment_window_minutes": 29}, "/payment_window_minutes", "greater_than_equal"),
    ({"payment_window_minutes": 1426}, "/payment_window_minutes", "less_than_equal"),
    ({"manual_hold_hours": 0}, "/manual_hold_hours", "greater_than_equal"),
    ({"manual_hold_hours": 721}, "/manual_hold_hours", "less_than_equal"),
    ({"capture_method": "later"}, "/capture_method", "literal_error"),
    ({"oversold_policy": "hope"}, "/oversold_policy", "literal_error"),
    ({"is_storefront_public": "no"}, "/is_storefront_public", "bool_type"),
    ({"seller": None}, "/seller", "model_attributes_type"),
    ({"seller": {"country": "XX"}}, "/seller/country", "country_unknown"),
    ({"seller": {"siren": "12"}}, "/seller/siren", "string_pattern_mismatch"),
    ({"seller": {"vat_number": "32"}}, "/seller/vat_number", "string_pattern_mismatch"),
    ({"seller": {"email": "nobody"}}, "/seller/email", "invalid"),
    ({"seller": {"name": "x" * 201}}, "/seller/name", "too_long"),
    ({"seller": {"logo": "x"}}, "/seller/logo", "extra_forbidden"),
    ({"version": 0}, "/version", "greater_than_equal"),
    ({"organization_id": "x"}, "/organization_id", "extra_forbidden"),
    ({"colour": "red"}, "/colour", "extra_forbidden"),
]


@pytest.mark.parametrize(("body", "pointer", "code"), REFUSED, ids=lambda value: str(value)[:40])
async def test_setting_when_it_is_not_valid(
    client: AsyncClient, alice: Persona, body: dict[str, Any], pointer: str, code: str
) -> None:
    answer = await change(client, alice, **body)
    assert answer.status_code == 422, answer.text
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]
    assert (await read(client, alice))["version"] == 1


async def test_settings_when_they_were_changed_meanwhile(client: AsyncClient, alice: Persona) -> None:
    version = (await read(client, alice))["version"]
    assert (await change(client, alice, number_prefix="A", version=version)).status_code == 200
    stale = [
        await change(client, alice, number_prefix="B", version=version),
        await client.put(
            PATH, headers={**alice.headers, "If-Match": f'"{version}"'}, json={"number_prefix": "B"}
        ),
    ]
    for answer in stale:
        assert (answer.status_code, answer.json()["code"]) == (412, "version_mismatch")
        assert answer.json()["version"] == version + 1
    fresh = {**alice.headers, "If-Match": f'"{version + 1}"'}
    assert (await client.put(PATH, headers=fresh, json={"number_prefix": "B"})).status_code == 200


async def test_settings_when_others_ask(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, charlie: Persona
) -> None:
    manager = await make_colleague(db, alice, "mia", role="manager")
    admin = await make_colleague(db, alice, "ada", role="admin")
    await change(client, alice, number_prefix="HERS")
    for persona in (bob, manager):
        assert (await client.get(PATH, headers=persona.headers)).status_code == 403
        assert (await change(client, persona, number_prefix="MINE")).status_code == 403
    assert (await read(client, admin))["number_prefix"] == "HERS"
    assert (await read(client, charlie))["number_prefix"] == "ORD"
    await change(client, charlie, number_prefix="HIS")
    assert (await read(client, alice))["number_prefix"] == "HERS"


async def test_order_when_the_settings_were_changed(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    before = await make_product(db, owner=alice, price=1200)
    old = await place_order(client, alice, before)
    await change(
        client,
        alice,
        number_prefix="SHOP",
        time_zone="Pacific/Kiritimati",
        prices_include_tax=False,
        default_tax_rate_bps=1000,
        manual_hold_hours=2,
    )
    new = await place_order(client, alice, before)
    year = clock.now().astimezone(ZoneInfo("Pacific/Kiritimati")).year
    assert new["order_number"].startswith(f"SHOP-{year}-")
    assert (new["tax_amount"], new["total_amount"]) == (120, 1320)
    placed, held = (datetime.fromisoformat(new[name]) for name in ("placed_at", "reservation_expires_at"))
    assert (held - placed).total_seconds() == 7200
    assert placed.tzinfo == UTC
    kept = (await client.get(f"/api/orders/{old['id']}", headers=alice.headers)).json()
    assert (kept["prices_include_tax"], kept["total_amount"], kept["order_number"]) == (
        True,
        1200,
        old["order_number"],
    )


async def test_settings_when_they_are_asked_for_the_cost(
    client: AsyncClient, alice: Persona, statements: Recorder
) -> None:
    await read(client, alice)
    with statements() as reading:
        await read(client, alice)
    with statements() as writing:
        await change(client, alice, seller=SELLER, **OTHERS)
    # Access and one; access, lock and change.
    assert (len(reading), len(writing)) == (2, 3)


@pytest.mark.commits
async def test_settings_when_they_are_changed_twice_at_once(client: AsyncClient, alice: Persona) -> None:
    """The first request of an organisation makes its row; then one of two changes of a version wins."""
    firsts = await asyncio.gather(*(change(client, alice, manual_hold_hours=n) for n in range(1, 9)))
    assert [answer.status_code for answer in firsts] == [200] * 8
    version = (await read(client, alice))["version"]
    assert version == 9
    answers = await asyncio.gather(
        *(change(client, alice, number_prefix=prefix, version=version) for prefix in ("A", "B"))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    winner = next(answer.json() for answer in answers if answer.status_code == 200)
    assert await read(client, alice) == winner
