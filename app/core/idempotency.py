"""Repeating a write: the same `Idempotency-Key` and body get the first answer, and the effect happens once.

The record is written in the transaction of the change. So that it can hold the answer, the request's session
does not commit by itself: it hands its transaction to this layer, which adds the record, commits, and lets
the answer start. A handler that gives the transaction up (`rollback`), as before it hashes a password, loses
the claim with it; the session's next transaction begins by taking it again. One that is about to do something
outside, which nobody can take back, `hold`s the claim meanwhile.
"""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import FastAPI, Request, Response
from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    LargeBinary,
    Row,
    Select,
    cast,
    event,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, Session, SessionTransaction, mapped_column
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core import clock, errors
from app.core.client_address import client_address
from app.core.config import get_settings
from app.core.crypto import key_ring, mac, mac_matches
from app.core.logging import SECRETS
from app.core.requests import header
from app.models.base import Base, Created, System

METHODS = frozenset({"POST", "PUT", "PATCH"})
KEY = re.compile(r"[!-~]{1,255}")
"""Visible ASCII: what every client and proxy passes on unchanged."""
KEPT = timedelta(hours=24)
HELD = timedelta(minutes=2)
"""For how long a request that was cut off keeps its key from others; no request takes so long."""

RUNNING = 0
"""The status of a record whose request has not been answered yet."""

SCOPE_KEY = "luneo.idempotency"

ONE_TIME_MEMBERS = frozenset(
    {"authorize_url", "backup_codes", "client_secret", "otpauth_uri", "qr_svg", "secret"}
)
"""Members of an answer that are shown once: a replay has null in their place, as for every token and key."""

HARMLESS_MEMBERS = frozenset({"key_prefix"})
"""Members that look like a secret and are none."""

Commit = Callable[[AsyncSession], Awaitable[None]]


class IdempotencyRecord(Created, System, Base):
    """One answered write: whose, which, what was sent (a keyed digest) and what was answered."""

    __tablename__ = "idempotency_records"

    owner_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    key_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    organization_id: Mapped[UUID | None]
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int] = mapped_column(Integer)
    headers: Mapped[list[Any]] = mapped_column(JSONB)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Replay(Exception):
    """The first answer of this write, to be sent again."""

    def __init__(self, status: int, headers: list[Any], body: bytes) -> None:
        super().__init__("replay")
        self.status, self.headers, self.body = status, headers, body


class Claim:
    """One request's claim on its key: taken by the session dependency, kept by the layer below."""

    def __init__(self, scope: Scope, key: str) -> None:
        self.scope = scope
        self.key = key
        self.digest = hashlib.sha256(scope["query_string"])
        self.session: AsyncSession | None = None
        self.is_held = False
        self._commit: Commit | None = None
        self._sent = b""
        self._fingerprint = b""
        self._owner_hash = b""
        self._organization_id: UUID | None = None

    def count_by(self, content: bytes) -> None:
        """Let this digest stand for the bytes of the body, as for a form: its boundary is random."""
        self.digest = hashlib.sha256(self.scope["query_string"] + content)

    async def take(self, session: AsyncSession) -> None:
        """Answer a repeated write at once, refuse one that is still running, or go on as the first."""
        if not KEY.fullmatch(self.key):
            raise errors.Invalid(
                "idempotency_key_invalid", "`Idempotency-Key` has 1 to 255 visible characters."
            )
        # Keyed: a body may hold a password, and a bare digest of it could be guessed from a stolen copy.
        self._sent = self.digest.digest()
        self._fingerprint = mac(key_ring(), "idempotency", self._sent)
        self._owner_hash = hashlib.sha256(self._owner().encode()).digest()
        self._judge((await session.execute(self._question())).one())
        event.listen(session.sync_session, "after_begin", self._take_again)

    def _take_again(self, _: Session, transaction: SessionTransaction, connection: Connection) -> None:
        """Claim anew at the start of a transaction, because the lock ended with the one before."""
        if not transaction.nested:
            self._judge(connection.execute(self._question()).one())

    def _question(self) -> Select[Any]:
        """Whether this is the only request with the key, and what an earlier one was answered."""
        key_hash = self._key_hash()
        lock = int.from_bytes(hashlib.sha256(self._owner_hash + key_hash).digest()[:8], signed=True)
        one = select(
            func.pg_try_advisory_xact_lock(cast(literal(lock), BigInteger)).label("is_first")
        ).subquery()
        record = IdempotencyRecord.__table__
        return select(
            one.c.is_first, record.c.fingerprint, record.c.status, record.c.headers, record.c.body
        ).select_from(
            one.outerjoin(
                record,
                true()
                & (record.c.owner_hash == self._owner_hash)
                & (record.c.key_hash == key_hash)
                & (record.c.expires_at > clock.now()),
            )
        )

    def _judge(self, found: Row[Any]) -> None:
        if self.is_held and found.status == RUNNING:
            return
        if found.fingerprint is not None:
            if not mac_matches(key_ring(), "idempotency", self._sent, found.fingerprint):
                raise errors.Invalid(
                    "idempotency_key_reused",
                    "This `Idempotency-Key` belongs to another request; use a new one.",
                )
            if found.status == RUNNING:
                raise still_running()
            raise Replay(found.status, found.headers, found.body)
        if not found.is_first:
            raise still_running()

    def hand_over(self, session: AsyncSession, commit: Commit) -> None:
        """Leave the open transaction to this layer, which commits it together with the answer."""
        self.session = session
        self._commit = commit

    async def hold(self, session: AsyncSession) -> None:
        """Keep the key from others between transactions too; the caller commits."""
        await self._write(session, RUNNING, [], b"", HELD)
        self.is_held = True

    async def release(self, session: AsyncSession) -> None:
        """Give the key of a request that failed back; the caller commits."""
        await self._clear(session)
        self.is_held = False

    async def keep(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Write the record and commit the change with it."""
        if self.session is None or self._commit is None:
            return
        kept = [
            [name.decode("latin-1"), value.decode("latin-1")]
            for name, value in headers
            if name.lower() not in (b"content-length", b"x-request-id")
        ]
        await self._write(self.session, status, kept, mask(body), KEPT)
        await self._commit(self.session)

    async def _write(
        self, session: AsyncSession, status: int, headers: list[list[str]], body: bytes, kept: timedelta
    ) -> None:
        """Write the record in the place of one that is over, or that held the key."""
        await self._clear(session)
        record = IdempotencyRecord.__table__
        await session.execute(
            record.insert().values(  # type: ignore[attr-defined]  # __table__ is typed as a FromClause
                owner_hash=self._owner_hash,
                key_hash=self._key_hash(),
                organization_id=self._organization_id,
                fingerprint=self._fingerprint,
                status=status,
                headers=headers,
                body=body,
                expires_at=clock.now() + kept,
            )
        )

    async def _clear(self, session: AsyncSession) -> None:
        record = IdempotencyRecord.__table__
        await session.execute(
            record.delete().where(  # type: ignore[attr-defined]  # as above
                record.c.owner_hash == self._owner_hash,
                record.c.key_hash == self._key_hash(),
                (record.c.expires_at <= clock.now()) | (record.c.status == RUNNING),
            )
        )

    def _key_hash(self) -> bytes:
        return hashlib.sha256(self.key.encode()).digest()

    def _owner(self) -> str:
        """(organisation, principal, route); on public routes the route and the caller's address.

        Where a route asks for no permission, the organisation is the one that the request names: such an act
        may move the person to another one, and its repeat comes from there.
        """
        state = self.scope.get("state", {})
        principal = state.get("principal")
        route = f"{self.scope['method']} {self.scope['path']}"
        if principal is None:
            return f"public {client_address(self.scope, get_settings().trusted_proxies)} {route}"
        self._organization_id = principal.organization_id
        if state.get("is_about_person"):
            named = (header(self.scope, b"x-organization-id") or b"-").decode("latin-1")
            return f"{named} {principal.limit_key} {route}"
        return f"{principal.organization_id} {principal.limit_key} {route}"


def claim_of(scope: Scope) -> Claim | None:
    """The claim of this request, if it sent a key."""
    return scope.get(SCOPE_KEY)


def still_running() -> errors.Conflict:
    """409: the first request with this key has not been answered yet."""
    return errors.Conflict(
        "idempotency_in_progress",
        "The first request with this `Idempotency-Key` still runs; repeat it soon.",
        headers={"Retry-After": "1"},
    )


def mask(body: bytes) -> bytes:
    """The body with null in place of every one-time secret."""
    try:
        document = json.loads(body)
    except ValueError:
        return body
    return json.dumps(_masked(document), ensure_ascii=False, separators=(",", ":")).encode()


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _masked_member(name, item) for name, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return None if isinstance(value, str) and SECRETS.fullmatch(value) else value


def _masked_member(name: str, value: Any) -> Any:
    if name in HARMLESS_MEMBERS:
        return value
    return None if name in ONE_TIME_MEMBERS else _masked(value)


class IdempotencyMiddleware:
    """Holds an answer back until its record and its change are committed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = header(scope, b"idempotency-key") if scope["type"] == "http" else None
        if key is None or scope["method"] not in METHODS:
            await self.app(scope, receive, send)
            return
        claim = Claim(scope, key.decode("latin-1"))
        scope[SCOPE_KEY] = claim
        held: list[Message] = []

        async def hashed_receive() -> Message:
            message = await receive()
            claim.digest.update(message.get("body", b""))
            return message

        async def hold(message: Message) -> None:
            if claim.session is None:
                await send(message)
                return
            held.append(message)

        try:
            await self.app(scope, hashed_receive, hold)
            if held:
                await self._finish(claim, held, receive, send)
        finally:
            if claim.session is not None:
                await claim.session.close()

    async def _finish(self, claim: Claim, held: list[Message], receive: Receive, send: Send) -> None:
        start = held[0]
        body = b"".join(message.get("body", b"") for message in held[1:])
        try:
            await claim.keep(start["status"], start["headers"], body)
        except Exception as error:
            refusal: Exception = error
            if (
                isinstance(error, IntegrityError)
                and errors.constraint_name(error) == "idempotency_records_pkey"
            ):
                refusal = still_running()
            request = Request(claim.scope)
            answer: Response = (
                await _send_again(request, refusal)
                if isinstance(refusal, Replay)
                else await errors.handle(request, refusal)
            )
            await answer(claim.scope, receive, send)
            return
        for message in held:
            await send(message)


async def _send_again(request: Request, replay: Exception) -> Response:  # noqa: ARG001 - the handler's signature
    assert isinstance(replay, Replay)  # noqa: S101 - registered for this class alone
    answer = Response(replay.body, replay.status)
    answer.raw_headers = [
        *((name.encode("latin-1"), value.encode("latin-1")) for name, value in replay.headers),
        (b"idempotency-replayed", b"true"),
        *(() if replay.status == 204 else ((b"content-length", str(len(replay.body)).encode()),)),
    ]
    return answer


def install(app: FastAPI) -> None:
    """Add the layer and the rendering of replays to the application."""
    app.add_middleware(IdempotencyMiddleware)
    app.add_exception_handler(Replay, _send_again)
