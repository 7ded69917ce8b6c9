"""The intake of Stripe's webhooks: what is kept, what is refused, and that nothing makes it fail."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from app.clients.stripe import use_client
from app.clients.stripe.signature import HEADER, sign
from app.core import clock
from app.core.config import get_settings
from app.core.database import SystemSession
from app.models.stripe_webhooks import StripeEvent
from app.services.stripe_webhooks import intake
from app.services.stripe_webhooks.intake import InvalidEvent, read_event
from tests.support.stripe_events import WEBHOOK, event_of, send
from tests.support.stripe_sandbox import StripeSandbox

PATHS = ("/api/stripe/webhook", "/api/webhooks/stripe")
INVOICE = {"id": "in_sbx1", "object": "invoice"}
FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

PAN = "4242424242424242"


async def stored(db: SystemSession) -> list[StripeEvent]:
    db.expire_all()
    return list((await db.scalars(select(StripeEvent).order_by(StripeEvent.id))).all())


async def waiting(db: SystemSession) -> int:
    found = await db.scalar(
        text("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'process_stripe_event'")
    )
    return int(found or 0)


@pytest.mark.parametrize("path", PATHS)
async def test_event_when_it_is_delivered_twice(
    client: AsyncClient, db: SystemSession, stripe_sandbox: StripeSandbox, path: str
) -> None:
    event = event_of("invoice.paid", INVOICE)
    answers = [await send(client, stripe_sandbox, event, path=path) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json() for answer in answers] == [
        {"received": True, "duplicate": False},
        {"received": True, "duplicate": True},
    ]
    (row,) = await stored(db)
    assert (row.deliveries, row.status, row.endpoint, row.object_id) == (2, "pending", path, "in_sbx1")
    assert await waiting(db) == 1


@pytest.mark.commits
async def test_event_when_it_comes_twenty_times_at_once_on_both_paths(
    client: AsyncClient, db: SystemSession, stripe_sandbox: StripeSandbox
) -> None:
    event = event_of("invoice.paid", INVOICE)
    answers = await asyncio.gather(
        *(send(client, stripe_sandbox, event, path=PATHS[number % 2]) for number in range(20))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert sum(not answer.json()["duplicate"] for answer in answers) == 1
    (row,) = await stored(db)
    assert row.deliveries == 20
    assert await waiting(db) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"livemode": True}, "other_livemode"),
        ({"account": "acct_1"}, "connected_account"),
        ({"type": "capability.updated"}, "unknown_type"),
    ],
)
async def test_event_when_it_is_not_for_us(
    client: AsyncClient, db: SystemSession, stripe_sandbox: StripeSandbox, change: dict[str, Any], reason: str
) -> None:
    answer = await send(client, stripe_sandbox, {**event_of("invoice.paid", INVOICE), **change})
    assert answer.status_code == 200
    (row,) = await stored(db)
    assert (row.status, row.result) == ("skipped", {"skipped": reason})
    assert await waiting(db) == 0


async def test_event_when_it_holds_what_the_database_refuses(
    client: AsyncClient, db: SystemSession, stripe_sandbox: StripeSandbox
) -> None:
    subject = {**INVOICE, "a\x00b": "cX\x00d", "e": ["\x00"], "f": 1.5, "g": 10**30}
    body = json.dumps(event_of("invoice.paid", subject)).replace("cX", "c\\ud800").encode()
    answer = await send(client, stripe_sandbox, body)
    assert answer.status_code == 200
    (row,) = await stored(db)
    found = row.payload["data"]["object"]
    assert (found["ab"], found["e"], found["f"], found["g"]) == ("cd", [""], 1.5, 10**30)


@pytest.mark.parametrize(("offset", "status"), [(-290, 200), (290, 200), (-302, 400), (310, 400)])
async def test_signature_when_its_time_is_off(
    client: AsyncClient, stripe_sandbox: StripeSandbox, offset: int, status: int
) -> None:
    answer = await send(client, stripe_sandbox, event_of("invoice.paid", INVOICE), offset=offset)
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["code"] == "invalid_signature"


async def signed_headers(stripe: StripeSandbox, body: bytes) -> tuple[str, str]:
    """A good signature, and one with another secret."""
    now = int(clock.now().timestamp())
    return sign(body, await stripe.sandbox.webhook_secret(), now), sign(body, "whsec_other", now)


async def test_signature_when_it_is_not_ours(
    client: AsyncClient, db: SystemSession, stripe_sandbox: StripeSandbox
) -> None:
    body = json.dumps(event_of("invoice.paid", INVOICE)).encode()
    good, foreign = await signed_headers(stripe_sandbox, body)
    bad: list[list[tuple[str, str]]] = [
        [],
        [(HEADER, foreign)],
        [(HEADER, good), (HEADER, good)],
        [(HEADER, good + "," + good)],
        [(HEADER, good.replace("v1=", "v0="))],
        [(HEADER, good + ",v1=xyz")],
        [(HEADER, good + "," + ",".join(["v1=" + "0" * 64] * 10))],
        [(HEADER, good + ",x=" + "y" * 4096)],
    ]
    for headers in bad:
        answer = await client.post(WEBHOOK, content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_signature")
    changed = await client.post(WEBHOOK, content=body + b" ", headers={HEADER: good})
    assert changed.status_code == 400
    assert await stored(db) == []
    both = good + foreign[foreign.index(",") :]
    assert (await client.post(WEBHOOK, content=body, headers={HEADER: both})).status_code == 200


NOT_EVENTS = [
    b"",
    b"null",
    b"[]",
    b"{",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b'{"object":"event"}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"1" * 10_000,
    b"NaN",
]


@pytest.mark.parametrize("body", NOT_EVENTS, ids=range(len(NOT_EVENTS)))
async def test_body_when_it_is_no_event(
    client: AsyncClient, db: SystemSession, stripe_sandbox: StripeSandbox, body: bytes
) -> None:
    answer = await send(client, stripe_sandbox, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_event")
    assert await stored(db) == []


@pytest.mark.parametrize(
    "change",
    [
        {"id": "evt_"},
        {"id": "evt_" + "a" * 251},
        {"id": "evt_é"},
        {"id": "evt_a\n"},
        {"id": 1},
        {"type": None},
        {"type": ""},
        {"type": "x" * 256},
        {"created": True},
        {"created": -1},
        {"created": 10**12},
        {"created": 1.5},
        {"livemode": "false"},
        {"data": []},
        {"data": {"object": []}},
        {"data": {"object": {"a": 1e999}}},
        {"object": "charge"},
    ],
    ids=repr,
)
async def test_event_when_a_member_is_wrong(change: dict[str, Any]) -> None:
    event = {**event_of("invoice.paid", INVOICE), **change}
    with pytest.raises(InvalidEvent):
        read_event(json.dumps(event).encode(), livemode=False)


async def test_body_when_it_is_too_large(client: AsyncClient, stripe_sandbox: StripeSandbox) -> None:
    answer = await send(client, stripe_sandbox, b" " * (1024 * 1024 + 1))
    assert answer.status_code == 413


@pytest.fixture
def production() -> Iterator[None]:
    """A process that has neither a key nor a sandbox."""
    before = get_settings().environment
    get_settings().environment = "production"
    previous = use_client(None)
    yield
    get_settings().environment = before
    use_client(previous)


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize("path", PATHS)
async def test_intake_when_production_has_no_key(client: AsyncClient, db: SystemSession, path: str) -> None:
    answer = await client.post(path, content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (503, "webhook_not_configured")
    assert answer.headers["Retry-After"] == "3600"
    assert await stored(db) == []


async def test_intake_when_too_many_come_at_once(
    client: AsyncClient, stripe_sandbox: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake._gate, "inside", get_settings().stripe_webhook_concurrency)
    answer = await send(client, stripe_sandbox, event_of("invoice.paid", INVOICE))
    assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    assert answer.headers["Retry-After"] == "1"


async def test_intake_when_others_never_end_their_bodies(
    client: AsyncClient, stripe_sandbox: StripeSandbox
) -> None:
    """Anybody can begin a delivery: whoever dawdles keeps nobody out."""
    begun, end = asyncio.Semaphore(0), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        begun.release()
        yield b"{"
        await end.wait()

    async with asyncio.TaskGroup() as group:
        for _ in range(get_settings().stripe_webhook_concurrency):
            group.create_task(client.post(WEBHOOK, content=slowly()))
            await begun.acquire()
        answer = await send(client, stripe_sandbox, event_of("invoice.paid", INVOICE))
        end.set()
    assert answer.status_code == 200


@pytest.mark.usefixtures("stripe_sandbox")
@pytest.mark.parametrize("path", PATHS)
async def test_body_when_its_sender_leaves(app: FastAPI, path: str) -> None:
    """Anybody may hang up, which is no fault of ours: nothing is recorded as one."""
    begun = iter([{"type": "http.request", "body": b"{", "more_body": True}])
    answered: list[Any] = []

    async def receive_part() -> dict[str, Any]:
        return next(begun, {"type": "http.disconnect"})

    async def note(message: Any) -> None:
        answered.append(message)

    headers = {"Host": "api.luneo.test", "Content-Type": "application/json"}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("api.luneo.test", 80),
    }
    await app(scope, receive_part, note)
    assert answered[0]["status"] == 400


async def test_gate_when_deliveries_are_refused(client: AsyncClient, stripe_sandbox: StripeSandbox) -> None:
    for _ in range(get_settings().stripe_webhook_concurrency + 1):
        assert (await client.post(WEBHOOK, content=b"x")).status_code == 400
    assert (await send(client, stripe_sandbox, event_of("invoice.paid", INVOICE))).status_code == 200


@FUZZ
@given(header=st.binary(max_size=200), body=st.binary(max_size=200))
async def test_intake_when_header_and_body_are_anything(
    client: AsyncClient, stripe_sandbox: StripeSandbox, header: bytes, body: bytes
) -> None:
    visible = bytes(byte for byte in header if byte not in b"\r\n\x00")
    answer = await client.post(WEBHOOK, content=body, headers=[(HEADER.encode(), visible)])
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_signature")


TIMES = st.text(alphabet="0123456789-+ .e٣", max_size=14)
PARTS = st.lists(
    st.tuples(
        st.sampled_from(["t", "v1", "v0", "", "T"]), TIMES | st.text(alphabet="0123abcdefg", max_size=70)
    ),
    max_size=14,
)


@FUZZ
@given(parts=PARTS)
async def test_intake_when_the_signature_is_almost_one(
    client: AsyncClient, stripe_sandbox: StripeSandbox, parts: list[tuple[str, str]]
) -> None:
    header = ",".join(f"{scheme}={value}" for scheme, value in parts).encode()
    answer = await client.post(WEBHOOK, content=b"{}", headers=[(HEADER.encode(), header)])
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_signature")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text()
    | st.just("\x00")
    | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
MEMBERS = ("id", "object", "type", "api_version", "created", "livemode", "account", "data")


@FUZZ
@given(changes=st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=3), subject=JSON)
async def test_intake_when_a_signed_event_holds_anything(
    client: AsyncClient, stripe_sandbox: StripeSandbox, changes: dict[str, Any], subject: Any
) -> None:
    event = {**event_of("invoice.paid", INVOICE), "data": {"object": {**INVOICE, "x": subject}}, **changes}
    answer = await send(client, stripe_sandbox, event)
    assert answer.status_code in (200, 400)
    if answer.status_code == 400:
        assert answer.json()["code"] == "invalid_event"


@FUZZ
@given(body=st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
async def test_intake_when_a_signed_body_is_anything(
    client: AsyncClient, stripe_sandbox: StripeSandbox, body: bytes
) -> None:
    assert (await send(client, stripe_sandbox, body)).status_code == 400


async def test_logs_when_bodies_hold_card_numbers(
    client: AsyncClient, stripe_sandbox: StripeSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        event = event_of("invoice.paid", {**INVOICE, "number": PAN})
        await send(client, stripe_sandbox, event)
        await send(client, stripe_sandbox, {**event, "id": PAN})
        await send(client, stripe_sandbox, f'{{"card": "{PAN}"'.encode())
        await client.post(WEBHOOK, content=PAN.encode(), headers={HEADER: PAN})
    assert caplog.records
    assert PAN not in caplog.text
    assert not [record for record in caplog.records if PAN in str(record.__dict__)]


CARDS = [
    PAN,
    "4242 4242 4242 4242",
    "4242-4242-4242-4242 12/34",
    "3782 822463 10005",
    "6011000990139424",
    "4222222222222",
    "6304000000000000000",
    "card4242424242424242 of Anna",
    int(PAN),
    float(PAN),
]
"""Numbers that Stripe and the schemes publish for tests, as people write them."""

NO_CARDS = [
    "4242424242424241",
    "424242424242",
    "42424242424242424242",
    "018f4242-4242-4242-8242-424242424242",
    "+33 6 12 34 56 78",
    4242424242424241,
    1763656140,
    True,
    1.5,
]


@pytest.mark.parametrize("card", CARDS, ids=str)
async def test_event_when_it_carries_a_card_number(
    client: AsyncClient, db: SystemSession, stripe_sandbox: StripeSandbox, card: str | float
) -> None:
    subject = {**INVOICE, "description": card, "metadata": {f"a {card}": [{"deep": card}]}}
    event = event_of("invoice.paid", subject)
    assert (await send(client, stripe_sandbox, event)).status_code == 200
    (row,) = await stored(db)
    kept = await db.scalar(text("SELECT stripe_events::text FROM stripe_events"))
    digits = "".join(character for character in str(kept) if character not in " -.")
    for number in ("4242424242424242", "378282246310005", "6011000990139424", "4222222222222", "63040000"):
        assert number not in digits
    assert (row.id, row.object_id, row.payload["data"]["object"]["id"]) == (event["id"], "in_sbx1", "in_sbx1")
    assert "[redacted]" in str(row.payload["data"]["object"]["description"])


def test_event_when_its_numbers_are_no_cards() -> None:
    event = event_of("invoice.paid", {**INVOICE, "metadata": {"said": NO_CARDS}})
    assert read_event(json.dumps(event).encode(), livemode=False)["payload"] == event
