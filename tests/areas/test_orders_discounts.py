"""Discount codes over HTTP: made, listed, changed, deleted, refused, and what strangers see of them."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select

from app.core.database import SystemSession
from app.core.events import EventOutbox
from app.models.orders import DiscountCode
from tests.factories.orders import place_order
from tests.factories.pricing import make_discount
from tests.factories.products import make_product
from tests.support.personas import Persona, make_colleague

PATH = "/api/orders/discounts"
FAR = "2030-01-01T00:00:00Z"
FARTHER = "2031-01-01T00:00:00Z"


async def create(client: AsyncClient, persona: Persona, **body: Any) -> Response:
    """Make a code: TEN, 10 %, unless `body` says otherwise."""
    sent = {"code": "TEN", "kind": "percent", "value": 1000, **body}
    return await client.post(PATH, headers=persona.headers, json=sent)


async def change(client: AsyncClient, persona: Persona, discount_id: Any, **body: Any) -> Response:
    return await client.patch(f"{PATH}/{discount_id}", headers=persona.headers, json=body)


async def told(db: SystemSession) -> list[str]:
    """The types of all events of codes so far."""
    mine = EventOutbox.type.startswith("discount.")
    return list(await db.scalars(select(EventOutbox.type).where(mine).order_by(EventOutbox.id)))


async def test_code_when_it_is_made(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    body = {
        "code": "summer-25",
        "kind": "fixed",
        "value": 2500,
        "currency": "EUR",
        "min_subtotal": 10_000,
        "max_redemptions": 3,
        "max_per_customer": 1,
        "starts_at": "2026-06-01T02:00:00+02:00",
        "ends_at": "2026-09-01T00:00:00Z",
        "is_active": False,
    }
    answer = await create(client, alice, **body)
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{PATH}/{made['id']}"
    assert answer.headers["etag"] == '"1"'
    expected = {**body, "code": "SUMMER-25", "starts_at": "2026-06-01T00:00:00Z", "redeemed": 0, "version": 1}
    assert {name: made[name] for name in expected} == expected
    assert (await client.get(answer.headers["location"], headers=alice.headers)).json() == made
    row = (await db.scalars(select(EventOutbox).where(EventOutbox.type == "discount.created"))).one()
    assert (row.audience, row.object_id, row.is_webhook) == ("organization", made["id"], False)
    assert '"code":"SUMMER-25"' in row.body


async def test_code_when_only_what_is_due_is_sent(client: AsyncClient, alice: Persona) -> None:
    free = await client.post(PATH, headers=alice.headers, json={"code": "SHIP", "kind": "free_shipping"})
    assert free.status_code == 201
    assert (free.json()["value"], free.json()["is_active"]) == (0, True)
    for name in ("currency", "max_redemptions", "max_per_customer", "starts_at", "ends_at"):
        assert free.json()[name] is None


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"code": "AB"}, "/code", "string_pattern_mismatch"),
    ({"code": "A" * 41}, "/code", "string_pattern_mismatch"),
    ({"code": "ZÉRO"}, "/code", "string_pattern_mismatch"),
    ({"code": "A B C"}, "/code", "string_pattern_mismatch"),
    ({"kind": "bogof"}, "/kind", "literal_error"),
    ({"value": 0}, "/value", "percent_out_of_range"),
    ({"value": 10_001}, "/value", "percent_out_of_range"),
    ({"value": 10.5}, "/value", "invalid"),
    ({"value": "10"}, "/value", "invalid"),
    ({"value": True}, "/value", "invalid"),
    ({"value": -1}, "/value", "greater_than_equal"),
    ({"value": 10**40}, "/value", "less_than_equal"),
    ({"kind": "fixed", "value": 0, "currency": "EUR"}, "/value", "amount_required"),
    ({"kind": "fixed", "value": 5}, "/currency", "currency_required"),
    ({"kind": "free_shipping", "value": 5}, "/value", "value_not_applicable"),
    ({"min_subtotal": 5}, "/currency", "currency_required"),
    ({"currency": "eur"}, "/currency", "string_pattern_mismatch"),
    ({"currency": "XXX"}, "/currency", "currency_not_supported"),
    ({"max_redemptions": 0}, "/max_redemptions", "greater_than_equal"),
    ({"max_redemptions": 2**31}, "/max_redemptions", "less_than_equal"),
    ({"max_per_customer": 0}, "/max_per_customer", "greater_than_equal"),
    ({"starts_at": FARTHER, "ends_at": FAR}, "/ends_at", "ends_before_start"),
    ({"starts_at": FAR, "ends_at": FAR}, "/ends_at", "ends_before_start"),
    ({"starts_at": "0001-01-01T00:00:00+14:00"}, "/starts_at", "out_of_range"),
    ({"starts_at": "0001-01-01T00:00:00Z"}, "/starts_at", "out_of_range"),
    ({"ends_at": "9999-12-31T23:59:59.999999Z"}, "/ends_at", "out_of_range"),
    ({"starts_at": "soon"}, "/starts_at", "not_rfc_3339"),
    ({"starts_at": 1_700_000_000}, "/starts_at", "not_rfc_3339"),
    ({"ends_at": "2026-09-01T00:00:00"}, "/ends_at", "not_rfc_3339"),
    ({"is_active": "yes"}, "/is_active", "bool_type"),
    ({"redeemed": 5}, "/redeemed", "extra_forbidden"),
    ({"code": "NUL\x00"}, "/code", "invalid"),
]


@pytest.mark.parametrize(("body", "pointer", "code"), REFUSED, ids=lambda value: str(value)[:40])
async def test_code_when_its_terms_are_not_valid(
    client: AsyncClient, db: SystemSession, alice: Persona, body: dict[str, Any], pointer: str, code: str
) -> None:
    answer = await create(client, alice, **body)
    assert answer.status_code == 422, answer.text
    assert (pointer, code) in {(error["pointer"], error["code"]) for error in answer.json()["errors"]}
    assert (await db.scalars(select(DiscountCode))).all() == []


async def test_code_when_it_is_taken(client: AsyncClient, alice: Persona, charlie: Persona) -> None:
    assert (await create(client, alice)).status_code == 201
    again = await create(client, alice, code="ten", value=5)
    assert (again.status_code, again.json()["code"]) == (409, "discount_code_taken")
    assert (await create(client, charlie)).status_code == 201


async def test_code_when_it_is_changed(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    made = (await create(client, alice, currency="EUR", max_redemptions=5)).json()
    for method, body in (("PATCH", {"value": 2000}), ("PUT", {"max_redemptions": None, "starts_at": FAR})):
        answer = await client.request(method, f"{PATH}/{made['id']}", headers=alice.headers, json=body)
        assert answer.status_code == 200, answer.text
        changed = answer.json()
        assert {name: changed[name] for name in body} == body
        assert changed["version"] == made["version"] + 1
        assert answer.headers["etag"] == f'"{changed["version"]}"'
        kept = {name for name in made if made[name] == changed[name]}
        assert kept == set(made) - {*body, "version", "updated_at"}
        made = changed
    same = await change(client, alice, made["id"], value=2000, starts_at=FAR)
    assert same.json() == made
    assert await told(db) == ["discount.created", "discount.updated", "discount.updated"]


UNCHANGEABLE: list[tuple[dict[str, Any], str, str]] = [
    ({"code": "OTHER"}, "/code", "extra_forbidden"),
    ({"kind": "fixed"}, "/kind", "extra_forbidden"),
    ({"redeemed": 0}, "/redeemed", "extra_forbidden"),
    ({"value": None}, "/value", "int_type"),
    ({"min_subtotal": None}, "/min_subtotal", "int_type"),
    ({"is_active": None}, "/is_active", "bool_type"),
    ({"value": 0}, "/value", "amount_required"),
    ({"currency": None}, "/currency", "currency_required"),
    ({"currency": "XXX"}, "/currency", "currency_not_supported"),
    ({"ends_at": "2020-01-01T00:00:00Z"}, "/ends_at", "ends_before_start"),
    ({"ends_at": "9999-12-31T23:59:59.999999Z"}, "/ends_at", "out_of_range"),
]


@pytest.mark.parametrize(("body", "pointer", "code"), UNCHANGEABLE, ids=lambda value: str(value)[:40])
async def test_code_when_a_change_does_not_fit(
    client: AsyncClient, alice: Persona, body: dict[str, Any], pointer: str, code: str
) -> None:
    made = (await create(client, alice, kind="fixed", currency="EUR", starts_at=FAR)).json()
    answer = await change(client, alice, made["id"], **body)
    assert answer.status_code == 422, answer.text
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]
    assert (await client.get(f"{PATH}/{made['id']}", headers=alice.headers)).json() == made


async def test_code_when_it_was_changed_meanwhile(client: AsyncClient, alice: Persona) -> None:
    made = (await create(client, alice)).json()
    path = f"{PATH}/{made['id']}"
    assert (await change(client, alice, made["id"], value=5, version=1)).status_code == 200
    stale = [
        await change(client, alice, made["id"], value=6, version=1),
        await client.put(path, headers={**alice.headers, "If-Match": '"1"'}, json={"value": 6}),
    ]
    for answer in stale:
        assert (answer.status_code, answer.json()["code"]) == (412, "version_mismatch")
        assert answer.json()["version"] == 2
    current = {**alice.headers, "If-Match": '"2"'}
    assert (await client.patch(path, headers=current, json={"value": 6})).json()["value"] == 6


async def test_code_when_more_orders_use_it_than_would_be_allowed(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    made = (await create(client, alice)).json()
    product = await make_product(db, owner=alice, price=1000, stock=9)
    for _ in range(2):
        await place_order(client, alice, product, discount_code="TEN")
    refused = await change(client, alice, made["id"], max_redemptions=1)
    assert (refused.status_code, refused.json()["code"]) == (409, "discount_in_use")
    assert refused.json()["redeemed"] == 2
    enough = (await change(client, alice, made["id"], max_redemptions=2, version=1)).json()
    assert (enough["max_redemptions"], enough["redeemed"]) == (2, 2)


async def test_code_when_it_is_deleted(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    unused = (await create(client, alice, code="UNUSED")).json()
    used = (await create(client, alice)).json()
    product = await make_product(db, owner=alice, price=1000, stock=9)
    order = await place_order(client, alice, product, discount_code="TEN")
    for made, status in ((unused, 404), (used, 200)):
        path = f"{PATH}/{made['id']}"
        assert (await client.delete(path, headers=alice.headers)).status_code == 204
        assert (await client.get(path, headers=alice.headers)).status_code == status
    kept = (await client.get(f"{PATH}/{used['id']}", headers=alice.headers)).json()
    assert (kept["is_active"], kept["redeemed"], kept["version"]) == (False, 1, 2)
    assert (await client.delete(f"{PATH}/{used['id']}", headers=alice.headers)).status_code == 204
    assert (await client.delete(f"{PATH}/{unused['id']}", headers=alice.headers)).status_code == 404
    told_of = ["discount.created", "discount.created", "discount.deleted", "discount.updated"]
    assert await told(db) == told_of
    # Given back, the code is still named by the order that used it.
    assert (await client.post(f"/api/orders/{order['id']}/cancel", headers=alice.headers)).status_code == 200
    assert (await client.delete(f"{PATH}/{used['id']}", headers=alice.headers)).status_code == 204
    kept = (await client.get(f"{PATH}/{used['id']}", headers=alice.headers)).json()
    assert (kept["redeemed"], kept["version"]) == (0, 2)


async def test_list_when_it_is_filtered_and_sorted(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    for name, is_active in (("SPRING", True), ("SUMMER", False), ("WIN_TER", True)):
        await make_discount(db, owner=alice, code=name, is_active=is_active)
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["WIN_TER", "SUMMER", "SPRING"]),
        ({"sort": "created_at"}, ["SPRING", "SUMMER", "WIN_TER"]),
        ({"sort": "code"}, ["SPRING", "SUMMER", "WIN_TER"]),
        ({"sort": "-code", "limit": 1}, ["WIN_TER"]),
        ({"q": "mm"}, ["SUMMER"]),
        ({"q": "s"}, ["SUMMER", "SPRING"]),
        ({"q": "n_t"}, ["WIN_TER"]),
        ({"q": "_"}, ["WIN_TER"]),
        ({"q": "%"}, []),
        ({"is_active": "true"}, ["WIN_TER", "SPRING"]),
        ({"is_active": "false"}, ["SUMMER"]),
        ({"page": 2, "limit": 2}, ["SPRING"]),
    ]
    for query, expected in cases:
        answer = await client.get(PATH, headers=bob.headers, params=query)
        assert [item["code"] for item in answer.json()["items"]] == expected, query
    first = (await client.get(PATH, headers=bob.headers, params={"limit": 2})).json()
    rest = await client.get(PATH, headers=bob.headers, params={"limit": 2, "cursor": first["next_cursor"]})
    assert [item["code"] for item in rest.json()["items"]] == ["SPRING"]
    wrong = await client.get(PATH, headers=bob.headers, params={"sort": "code", "cursor": "x"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "sort_needs_page")


async def test_code_when_a_stranger_names_it(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    code = await make_discount(db, owner=alice, code="HERS")
    for name in (code.id, uuid4(), "HERS"):
        path = f"{PATH}/{name}"
        answers = [
            await client.get(path, headers=charlie.headers),
            await client.patch(path, headers=charlie.headers, json={"value": 1}),
            await client.put(path, headers=charlie.headers, json={"value": 1}),
            await client.delete(path, headers=charlie.headers),
        ]
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "not_found")}
    assert (await client.get(PATH, headers=charlie.headers)).json()["items"] == []
    product = await make_product(db, owner=charlie)
    body = {"items": [{"product_id": str(product.id), "quantity": 1}], "discount_code": "HERS"}
    answer = await client.post("/api/orders/quote", headers=charlie.headers, json=body)
    assert answer.json()["errors"][0]["code"] == "unknown"
    await db.refresh(code)
    assert (code.value, code.version) == (1000, 1)


async def test_code_when_a_colleague_may_not_keep_codes(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    manager = await make_colleague(db, alice, "mia", role="manager")
    code = await make_discount(db, owner=alice)
    answers = [
        await create(client, manager),
        await change(client, manager, code.id, value=1),
        await client.delete(f"{PATH}/{code.id}", headers=manager.headers),
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert (await client.get(f"{PATH}/{code.id}", headers=manager.headers)).status_code == 200


@pytest.mark.commits
async def test_code_when_it_is_changed_twice_at_once(client: AsyncClient, alice: Persona) -> None:
    made = (await create(client, alice)).json()
    answers = await asyncio.gather(
        *(change(client, alice, made["id"], value=value, version=1) for value in (5, 6))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    kept = (await client.get(f"{PATH}/{made['id']}", headers=alice.headers)).json()
    winner = next(answer.json() for answer in answers if answer.status_code == 200)
    assert kept == winner


@pytest.mark.commits
async def test_code_when_it_is_made_many_times_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    answers = await asyncio.gather(*(create(client, alice) for _ in range(10)))
    found = sorted((answer.status_code, answer.json().get("code")) for answer in answers)
    assert found == [(201, "TEN"), *[(409, "discount_code_taken")] * 9]
    assert await told(db) == ["discount.created"]
