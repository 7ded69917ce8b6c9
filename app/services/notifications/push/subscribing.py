"""Owns the browsers of a person: which take push messages, and which do not any more."""

import hashlib
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Depends, Request

from app.clients.push import Browser, EndpointNotAllowed, check_endpoint, read_auth, read_public_key, sender
from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.crypto import SealBroken, key_ring, seal, unseal
from app.core.database import Owner
from app.core.errors import FieldError, Invalid, NotFound, Unavailable
from app.core.ids import uuid7
from app.core.paging import Keyset, Pager, Rows, Sort
from app.models.notifications import PushSubscription
from app.repositories.notifications import PushRepository
from app.schemas.notifications.push import (
    PushSubscriptionCreate,
    PushSubscriptionQuery,
    PushSubscriptionRead,
    VapidPublicKey,
)

MOST = 20
"""Browsers of one person; the oldest goes for another."""

LONGEST_USER_AGENT = 300
NEWEST_FIRST = "-created_at"

PAGER = Pager(
    "push_subscriptions",
    Keyset(PushSubscription.created_at, PushSubscription.id),
    {NEWEST_FIRST: Sort(PushSubscription.created_at, is_descending=True, has_cursor=True)},
)


class Subscribed(NamedTuple):
    """A subscription, and whether it is new."""

    read: PushSubscriptionRead
    is_new: bool


class PushService:
    """What a signed-in person does with their own browsers."""

    def __init__(self, session: Owner, principal: CurrentPrincipal, request: Request) -> None:
        self.session = session
        self.browsers = PushRepository(session)
        assert principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
        self.user_id: UUID = principal.user_id
        self.session_id = principal.session_id
        self.user_agent = (request.headers.get("user-agent") or "")[:LONGEST_USER_AGENT] or None

    async def list(self, query: PushSubscriptionQuery) -> Rows[PushSubscriptionRead]:
        """The caller's browsers, newest first."""
        statement = self.browsers.of(self.user_id)
        return (await PAGER.rows(self.session, statement, query, NEWEST_FIRST)).map(self._read)

    async def add(self, body: PushSubscriptionCreate) -> Subscribed:
        """Subscribe a browser, or note its new keys; 503 `push_not_configured`, 422 for what is none.

        The address is taken from whoever was signed in at that browser before.
        """
        vapid_public_key()
        browser = _browser(body)
        known_as = endpoint_hash(browser.endpoint)
        await self.browsers.claim(self.user_id, known_as)
        row = await self.browsers.known(self.user_id, known_as)
        is_new = row is None
        if row is None:
            row = PushSubscription(id=uuid7(), user_id=self.user_id, created_at=clock.now())
        row.endpoint_hash = known_as
        row.endpoint_sealed = _sealed(browser.endpoint.encode(), "endpoint_sealed", row.id)
        row.p256dh = body.keys.p256dh
        row.auth_sealed = _sealed(browser.auth, "auth_sealed", row.id)
        row.session_id = self.session_id
        row.user_agent = self.user_agent
        row.failures = 0
        row.updated_at = clock.now()
        await self.browsers.add(row)
        if is_new:
            await self.browsers.drop_oldest(self.user_id, MOST)
        return Subscribed(self._read(row), is_new)

    async def remove(self, push_subscription_id: UUID) -> None:
        """End one; 404 for another person's."""
        await self._end(await self.browsers.get(push_subscription_id))

    async def remove_endpoint(self, endpoint: str) -> None:
        """End the one with this address; 404 when the caller has none."""
        await self._end(await self.browsers.known(self.user_id, endpoint_hash(_normal(endpoint))))

    async def _end(self, row: PushSubscription | None) -> None:
        if row is None:
            raise NotFound()
        await self.browsers.remove(row)

    def _read(self, row: PushSubscription) -> PushSubscriptionRead:
        return PushSubscriptionRead(
            id=row.id,
            host=_host_of(row),
            user_agent=row.user_agent,
            is_current=row.session_id is not None and row.session_id == self.session_id,
            last_ok_at=row.last_ok_at,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


def vapid_public_key() -> VapidPublicKey:
    """The key to subscribe with; 503 `push_not_configured` when there is none."""
    identity = sender()
    if identity is None:
        raise push_not_configured()
    return VapidPublicKey(public_key=identity.public_key)


def push_not_configured() -> Unavailable:
    """The answer where the operator has set no key."""
    return Unavailable(
        "push_not_configured",
        "Push messages are not set up here; use the other channels.",
        headers={"Retry-After": "3600"},
    )


def browser_of(row: PushSubscription) -> Browser:
    """Whom to write to."""
    point = read_public_key(row.p256dh)
    assert point is not None  # noqa: S101 - it was read before it was kept
    return Browser(
        endpoint=_opened(row.endpoint_sealed, "endpoint_sealed", row.id).decode(),
        public_key=point,
        auth=_opened(row.auth_sealed, "auth_sealed", row.id),
    )


def _host_of(row: PushSubscription) -> str:
    """The push service; nothing where its address cannot be read any more."""
    try:
        return urlsplit(browser_of(row).endpoint).hostname or ""
    except SealBroken:
        return ""


def endpoint_hash(endpoint: str) -> bytes:
    """How an address is found. It is long and random, so nobody guesses it; no key has to be kept for it."""
    return hashlib.sha256(endpoint.encode(errors="replace")).digest()


def _normal(endpoint: str) -> str:
    """The address as it is kept; one that could not be subscribed stays as it is, and is not found."""
    try:
        return check_endpoint(endpoint).url
    except EndpointNotAllowed:
        return endpoint


def _browser(body: PushSubscriptionCreate) -> Browser:
    try:
        endpoint = check_endpoint(body.endpoint).url
    except EndpointNotAllowed as error:
        raise _invalid("push_endpoint_not_allowed", "/endpoint", str(error)) from None
    point, auth = read_public_key(body.keys.p256dh), read_auth(body.keys.auth)
    if point is None:
        raise _invalid("push_key_invalid", "/keys/p256dh", "Send the browser's key as it gives it.")
    if auth is None:
        raise _invalid("push_key_invalid", "/keys/auth", "Send the browser's secret as it gives it.")
    return Browser(endpoint, point, auth)


def _invalid(code: str, pointer: str, detail: str) -> Invalid:
    return Invalid(code, detail, errors=[FieldError(pointer, code, detail)])


def _sealed(value: bytes, column: str, row_id: UUID) -> bytes:
    return seal(key_ring(), value, context=f"push_subscriptions.{column}:{row_id}")


def _opened(sealed: bytes, column: str, row_id: UUID) -> bytes:
    return unseal(key_ring(), sealed, context=f"push_subscriptions.{column}:{row_id}")


Push = Annotated[PushService, Depends()]
