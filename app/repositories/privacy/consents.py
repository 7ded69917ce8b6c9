"""Owns the questions to the ledger of consents; every one binds the person."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

from sqlalchemy import Select

from app.models.privacy import Consent
from app.repositories.base import Repository


class Recorded(NamedTuple):
    """A row that was just written."""

    id: UUID
    purpose: str
    is_granted: bool
    policy_version: str
    policy_sha256: bytes
    source: str
    created_at: datetime


class Standing(NamedTuple):
    """How one purpose stands; the last four are null where nobody was asked yet."""

    purpose: str
    latest_version: str
    is_outdated: bool
    is_granted: bool | None
    policy_version: str | None
    decided_at: datetime | None


# A purpose that is sent without an answer is withdrawn if it stands granted, on the text of that time.
RECORD_SQL = """
    WITH sent AS (
        SELECT * FROM jsonb_to_recordset($1::jsonb)
            AS said (id uuid, purpose text, is_granted boolean, policy_version text)
    ), shown AS (
        SELECT DISTINCT ON (sent.id) sent.*, d.sha256
        FROM sent JOIN policy_documents d ON d.name = sent.purpose AND d.version = sent.policy_version
        WHERE sent.is_granted IS NOT NULL AND d.published_at <= $3::timestamptz
        ORDER BY sent.id,
            d.locale = coalesce($4::text, (SELECT p.locale FROM profiles p WHERE p.user_id = $2::uuid)) DESC,
            d.locale DESC
    ), standing AS (
        SELECT DISTINCT ON (c.purpose) c.purpose, c.is_granted, c.policy_version, c.policy_sha256
        FROM consents c WHERE c.user_id = $2::uuid
        ORDER BY c.purpose, c.created_at DESC, c.id DESC
    ), due AS (
        SELECT id, purpose, is_granted, policy_version, sha256 FROM shown
        UNION ALL
        SELECT sent.id, sent.purpose, false, standing.policy_version, standing.policy_sha256
        FROM sent JOIN standing ON standing.purpose = sent.purpose
        WHERE sent.is_granted IS NULL AND standing.is_granted
    )
    INSERT INTO consents (user_id, id, subject_ref, purpose, is_granted, policy_version, policy_sha256,
                          source, ip_prefix, user_agent)
    SELECT $2::uuid, id, $5::bytea, purpose, is_granted, policy_version, sha256, $6::text, $7::text::inet,
           $8::text
    FROM due
    RETURNING id, purpose, is_granted, policy_version, policy_sha256, source, created_at
    """

STANDING_SQL = """
    SELECT latest.name, latest.version,
           EXISTS (
               SELECT 1 FROM policy_documents newer
               WHERE newer.name = latest.name AND newer.is_material AND newer.published_at <= $2::timestamptz
                 AND newer.published_at > (
                     SELECT min(agreed.published_at) FROM policy_documents agreed
                     WHERE agreed.name = latest.name AND agreed.version = decided.policy_version)),
           decided.is_granted, decided.policy_version, decided.created_at
    FROM (
        SELECT DISTINCT ON (d.name) d.name, d.version FROM policy_documents d
        WHERE d.published_at <= $2::timestamptz ORDER BY d.name, d.published_at DESC, d.version DESC
    ) AS latest
    LEFT JOIN LATERAL (
        SELECT c.is_granted, c.policy_version, c.created_at FROM consents c
        WHERE c.user_id = $1::uuid AND c.purpose = latest.name
        ORDER BY c.created_at DESC, c.id DESC LIMIT 1
    ) AS decided ON true
    """


class ConsentRepository(Repository[Consent]):
    """The ledger: it is added to and read."""

    model: ClassVar[type[Consent]] = Consent

    def history(self, user_id: UUID, purpose: str | None) -> Select[Any]:
        """Everything that a person said, or what they said to one purpose."""
        statement = self.select().where(Consent.user_id == user_id)
        return statement if purpose is None else statement.where(Consent.purpose == purpose)

    async def record(
        self,
        user_id: UUID,
        said: Sequence[Mapping[str, Any]],
        *,
        subject_ref: bytes,
        source: str,
        locale: str | None,
        caller: tuple[str | None, str | None],
        now: datetime,
    ) -> list[Recorded]:
        """Write what a person said, with the hash of the text in their language; answers the new rows.

        `said` holds `id`, `purpose`, `is_granted`, `policy_version`; one whose version is not published is
        left out. `caller` is the prefix of the address and the user agent.
        """
        rows = await self.session.fetch(
            RECORD_SQL, json.dumps(said, default=str), user_id, now, locale, subject_ref, source, *caller
        )
        return [Recorded(*row) for row in rows]

    async def standing(self, user_id: UUID, now: datetime) -> list[Standing]:
        """How every purpose stands for a person; a material version after the agreed one outdates it."""
        return [Standing(*row) for row in await self.session.fetch(STANDING_SQL, user_id, now)]
