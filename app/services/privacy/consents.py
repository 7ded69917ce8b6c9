"""Owns the ledger of consents: what people say to each purpose, and what they have to be asked."""

import ipaddress
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.callers import caller_facts
from app.core.crypto import key_ring, mac
from app.core.database import Owner, ScopedSession
from app.core.errors import Conflict, FieldError, Invalid
from app.core.events import emit_all
from app.core.ids import uuid7
from app.core.paging import Keyset, Pager, Rows, Sort
from app.models.privacy import PURPOSES, Consent
from app.repositories.privacy import ConsentRepository, PolicyRepository, Recorded, Standing
from app.schemas.privacy import (
    ConsentCreate,
    ConsentQuery,
    ConsentRead,
    CurrentConsent,
    CurrentConsents,
)
from app.schemas.purposes import ConsentChoice, ConsentRequired
from app.services.privacy.events import ConsentGiven, ConsentWithdrawn

REQUIRED = frozenset({"terms", "privacy_policy"})
"""What the service cannot be used without."""

IPV4_PREFIX = 24
IPV6_PREFIX = 48
LONGEST_USER_AGENT = 200

NEWEST_FIRST = "-created_at"

PAGER = Pager(
    "consents",
    Keyset(Consent.created_at, Consent.id),
    {NEWEST_FIRST: Sort(Consent.created_at, is_descending=True, has_cursor=True)},
)


class ConsentService:
    """What signed-in people do with their own consents."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.consents = ConsentRepository(session)
        assert principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
        self.user_id: UUID = principal.user_id

    async def list(self, query: ConsentQuery) -> Rows[ConsentRead]:
        """The whole history, newest first."""
        statement = self.consents.history(self.user_id, query.purpose)
        return (await PAGER.rows(self.session, statement, query, NEWEST_FIRST)).map(_read)

    async def current(self) -> CurrentConsents:
        """How every purpose stands."""
        standing = await _standing(self.session, self.user_id)
        return CurrentConsents(items=[_current(row) for row in standing])

    async def add(self, body: ConsentCreate) -> ConsentRead:
        """Add what the person says; the newest row of a purpose is the decision.

        409 `consent_needed_for_service`, 422 `policy_version_unknown`.
        """
        now = clock.now()
        wanted = [(body.purpose, body.policy_version)]
        if not await PolicyRepository(self.session).versions_among(wanted, now):
            raise _unknown_version("/policy_version")
        if not body.is_granted and body.purpose in REQUIRED:
            raise Conflict(
                "consent_needed_for_service",
                "The service cannot be used without it. To leave, ask for the erasure of your account with"
                " POST /api/privacy/erasure.",
            )
        said = [_said(body)]
        (row,) = await _record(self.session, self.user_id, said, body.source, None, now)
        await emit_all(self.session, [_event(self.user_id, row)])
        return _read(row)


async def refuse_unknown_versions(session: ScopedSession, choices: Sequence[ConsentChoice]) -> None:
    """422 `policy_version_unknown` for every choice of a sign-up whose version is not published."""
    wanted = {(choice.purpose, choice.policy_version) for choice in choices}
    known = await PolicyRepository(session).versions_among(wanted, clock.now()) if wanted else set()
    wrong = [
        number
        for number, choice in enumerate(choices)
        if (choice.purpose, choice.policy_version) not in known
    ]
    if wrong:
        raise _unknown_version(*(f"/consents/{number}/policy_version" for number in wrong))


async def withdraw_unproved(session: ScopedSession, user_id: UUID, now: datetime) -> None:
    """Withdraw what sign-ups granted with an address that somebody has proved in another way since.

    Nobody knows who signed up: it may have been a stranger, and the owner of the address is asked anew.
    """
    unsaid = [{"id": uuid7(), "purpose": purpose} for purpose in PURPOSES]
    rows = await _record(session, user_id, unsaid, "signup", None, now)
    await emit_all(session, [_event(user_id, row) for row in rows])


async def record_signup(
    session: ScopedSession, user_id: UUID, choices: Sequence[ConsentChoice], locale: str, now: datetime
) -> None:
    """Record the consents of a sign-up in its transaction, with as many statements for every address.

    Only the newest sign-up of an open address counts: what an earlier one granted and this one does not name
    is withdrawn, since nobody knows who granted it. The ledger says so, and no event: the work would differ.
    """
    by_purpose = {choice.purpose: choice for choice in choices}
    said = [
        _said(by_purpose[purpose]) if purpose in by_purpose else {"id": uuid7(), "purpose": purpose}
        for purpose in PURPOSES
    ]
    rows = await _record(session, user_id, said, "signup", locale, now)
    await emit_all(session, [_event(user_id, row) for row in rows if row.purpose in by_purpose])


async def has_consent(session: ScopedSession, user_id: UUID, purpose: str) -> bool:
    """Whether a person has granted a purpose and not withdrawn it."""
    standing = await ConsentRepository(session).standing(user_id, clock.now())
    return any(row.purpose == purpose and row.is_granted for row in standing)


async def withdraw_by_link(session: ScopedSession, user_id: UUID, purpose: str) -> None:
    """Withdraw a purpose for whoever holds the link of a mail; nothing where it does not stand granted."""
    said = [{"id": uuid7(), "purpose": purpose}]
    rows = await _record(session, user_id, said, "unsubscribe", None, clock.now())
    await emit_all(session, [_event(user_id, row) for row in rows])


async def required_of(session: ScopedSession, user_id: UUID) -> list[ConsentRequired]:
    """What a person has to be asked: needed and not granted, or granted before a material version."""
    return [
        ConsentRequired.model_validate(current)
        for current in map(_current, await _standing(session, user_id))
        if (current.is_required and not current.is_granted) or (current.is_granted and current.is_outdated)
    ]


async def _standing(session: ScopedSession, user_id: UUID) -> list[Standing]:
    rows = await ConsentRepository(session).standing(user_id, clock.now())
    return sorted(rows, key=lambda row: PURPOSES.index(row.purpose))


async def _record(
    session: ScopedSession,
    user_id: UUID,
    said: Sequence[Mapping[str, Any]],
    source: str,
    locale: str | None,
    now: datetime,
) -> list[Recorded]:
    facts = caller_facts()
    agent = facts.get("user_agent")
    return await ConsentRepository(session).record(
        user_id,
        said,
        subject_ref=subject_ref(user_id),
        source=source,
        locale=locale,
        caller=(address_prefix(facts.get("ip_address")), agent[:LONGEST_USER_AGENT] if agent else None),
        now=now,
    )


def _said(choice: ConsentChoice) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "purpose": choice.purpose,
        "is_granted": choice.is_granted,
        "policy_version": choice.policy_version,
    }


def subject_ref(user_id: UUID) -> bytes:
    """What finds a person's rows when they do not name the person any more."""
    return mac(key_ring(), "consents", user_id.bytes)


def address_prefix(address: str | None) -> str | None:
    """The network of an address: IPv4 /24, IPv6 /48; one person's address is not kept."""
    if address is None:
        return None
    length = IPV6_PREFIX if ":" in address else IPV4_PREFIX
    return str(ipaddress.ip_network(f"{address}/{length}", strict=False))


def _event(user_id: UUID, row: Recorded) -> ConsentGiven | ConsentWithdrawn:
    kind = ConsentGiven if row.is_granted else ConsentWithdrawn
    return kind(
        user_id=user_id,
        consent_id=row.id,
        purpose=row.purpose,
        policy_version=row.policy_version,
        source=row.source,
    )


def _read(row: Consent | Recorded) -> ConsentRead:
    return ConsentRead.model_validate(
        {
            "id": row.id,
            "purpose": row.purpose,
            "is_granted": row.is_granted,
            "policy_version": row.policy_version,
            "policy_sha256": row.policy_sha256.hex(),
            "source": row.source,
            "created_at": row.created_at,
        }
    )


def _current(row: Standing) -> CurrentConsent:
    return CurrentConsent.model_validate(
        {
            "purpose": row.purpose,
            "is_granted": bool(row.is_granted),
            "policy_version": row.policy_version,
            "latest_version": row.latest_version,
            "is_required": row.purpose in REQUIRED,
            "is_outdated": row.is_outdated,
            "decided_at": row.decided_at,
        }
    )


def _unknown_version(*pointers: str) -> Invalid:
    detail = "This version is not published; see GET /api/privacy/policies."
    return Invalid(
        "policy_version_unknown",
        detail,
        errors=[FieldError(pointer, "policy_version_unknown", detail) for pointer in pointers],
    )


Consents = Annotated[ConsentService, Depends()]
