"""Tables of events: the outbox, the log, its order and epoch, handlings, answers to repeated writes, the sequencer."""

import secrets
import string
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "events"
down_revision: str | None = "jobs"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

OUTBOX = """
CREATE TABLE event_outbox (
  id bigint GENERATED ALWAYS AS IDENTITY,
  event_id uuid NOT NULL,
  type text NOT NULL,
  audience text NOT NULL,
  topic text NOT NULL,
  extra_topic text,
  organization_id uuid,
  user_id uuid,
  object_type text,
  object_id text,
  actor_type text NOT NULL,
  actor_id uuid,
  session_id uuid,
  api_key_id uuid,
  outcome text DEFAULT 'success' NOT NULL,
  request_id text,
  trace_id text,
  is_webhook boolean DEFAULT false NOT NULL,
  has_handlers boolean DEFAULT false NOT NULL,
  body text NOT NULL,
  private_sealed bytea,
  occurred_at timestamptz DEFAULT clock_timestamp() NOT NULL,
  CONSTRAINT event_outbox_pkey PRIMARY KEY (id),
  CONSTRAINT event_outbox_type CHECK (char_length(type) <= 64),
  CONSTRAINT event_outbox_audience CHECK (audience IN ('organization', 'personal', 'topic', 'internal')),
  CONSTRAINT event_outbox_topic CHECK (char_length(topic) <= 80),
  CONSTRAINT event_outbox_extra_topic CHECK (char_length(extra_topic) <= 80),
  CONSTRAINT event_outbox_organization CHECK (audience <> 'organization' OR organization_id IS NOT NULL),
  CONSTRAINT event_outbox_person CHECK (audience <> 'personal' OR user_id IS NOT NULL),
  CONSTRAINT event_outbox_outcome CHECK (outcome IN ('success', 'failure', 'denied')),
  CONSTRAINT event_outbox_body CHECK (octet_length(body) <= 40960)
) WITH (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0, vacuum_truncate = off)
"""

LOG = """
CREATE TABLE event_log (
  pos bigint NOT NULL,
  event_id uuid NOT NULL,
  type text NOT NULL,
  audience text NOT NULL,
  topic text NOT NULL,
  extra_topic text,
  organization_id uuid,
  user_id uuid,
  object_type text,
  object_id text,
  actor_type text NOT NULL,
  actor_id uuid,
  session_id uuid,
  api_key_id uuid,
  outcome text DEFAULT 'success' NOT NULL,
  request_id text,
  trace_id text,
  is_webhook boolean DEFAULT false NOT NULL,
  has_handlers boolean DEFAULT false NOT NULL,
  body text NOT NULL,
  private_sealed bytea,
  occurred_at timestamptz NOT NULL,
  sequenced_at timestamptz DEFAULT clock_timestamp() NOT NULL,
  CONSTRAINT event_log_pkey PRIMARY KEY (pos),
  CONSTRAINT event_log_event_id_key UNIQUE (event_id)
)
"""

INDEXES = (
    "CREATE INDEX event_log_topic ON event_log (topic, pos)",
    "CREATE INDEX event_log_extra_topic ON event_log (extra_topic, pos) WHERE extra_topic IS NOT NULL",
    "CREATE INDEX event_log_type ON event_log (organization_id, type, pos) WHERE audience = 'organization'",
    "CREATE INDEX event_log_object ON event_log (organization_id, object_id, pos) WHERE audience = 'organization'",
    "CREATE INDEX event_log_sequenced ON event_log USING brin (sequenced_at)",
)

EPOCHS = """
CREATE TABLE event_epochs (
  id smallint NOT NULL,
  salt text NOT NULL,
  resume_floor bigint DEFAULT 0 NOT NULL,
  CONSTRAINT event_epochs_pkey PRIMARY KEY (id),
  CONSTRAINT event_epochs_one CHECK (id = 1),
  CONSTRAINT event_epochs_salt CHECK (salt ~ '^[0-9a-z]{6}$')
)
"""

HANDLINGS = """
CREATE TABLE event_handlings (
  event_id uuid NOT NULL,
  handler text NOT NULL,
  handled_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT event_handlings_pkey PRIMARY KEY (event_id, handler),
  CONSTRAINT event_handlings_handler CHECK (char_length(handler) <= 80)
)
"""

IDEMPOTENCY = """
CREATE TABLE idempotency_records (
  owner_hash bytea NOT NULL,
  key_hash bytea NOT NULL,
  organization_id uuid,
  fingerprint bytea NOT NULL,
  status integer NOT NULL,
  headers jsonb NOT NULL,
  body bytea NOT NULL,
  expires_at timestamptz NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT idempotency_records_pkey PRIMARY KEY (owner_hash, key_hash)
)
"""

# One turn of the sequencer. Its caller runs it as a transaction of its own under READ COMMITTED: every statement in
# it must see what was committed before it began, also while it had not got the lock yet. The lock is given back after
# the rows have become visible, so positions become visible in order. The literal 500 and the two settings keep the
# plan at an index scan from the floor, whatever the statistics of this ever-emptied table say.
SEQUENCE_EVENTS = """
CREATE FUNCTION sequence_events(
    p_floor bigint,
    OUT taken integer, OUT last_id bigint, OUT last_pos bigint, OUT seen_xmin bigint, OUT seen_xmax bigint
) LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    handled uuid[];
BEGIN
    IF NOT pg_try_advisory_xact_lock(5001) THEN
        taken := -1;
        RETURN;
    END IF;
    seen_xmin := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    WITH batch AS (
        DELETE FROM event_outbox o
        WHERE o.ctid = ANY (ARRAY(SELECT i.ctid FROM event_outbox i WHERE i.id > p_floor ORDER BY i.id LIMIT 500))
        RETURNING o.*
    ), logged AS (
        INSERT INTO event_log (
            pos, event_id, type, audience, topic, extra_topic, organization_id, user_id, object_type, object_id,
            actor_type, actor_id, session_id, api_key_id, outcome, request_id, trace_id, is_webhook, has_handlers,
            body, private_sealed, occurred_at)
        SELECT nextval('event_pos'), b.event_id, b.type, b.audience, b.topic, b.extra_topic, b.organization_id,
            b.user_id, b.object_type, b.object_id, b.actor_type, b.actor_id, b.session_id, b.api_key_id, b.outcome,
            b.request_id, b.trace_id, b.is_webhook, b.has_handlers, b.body, b.private_sealed, b.occurred_at
        FROM (SELECT * FROM batch ORDER BY id) b
        RETURNING pos, event_id, has_handlers
    )
    SELECT count(*), (SELECT max(batch.id) FROM batch), max(l.pos),
        array_agg(l.event_id ORDER BY l.pos) FILTER (WHERE l.has_handlers)
    INTO taken, last_id, last_pos, handled FROM logged l;
    seen_xmax := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    IF handled IS NOT NULL THEN
        PERFORM procrastinate_defer_jobs_v1(ARRAY(
            SELECT ROW('events', 'events.handle', 0, NULL, NULL, jsonb_build_object('event_id', h.event_id), NULL)
                ::procrastinate_job_to_defer_v1
            FROM unnest(handled) WITH ORDINALITY AS h (event_id, place) ORDER BY h.place));
        PERFORM pg_notify('procrastinate_any_queue_v1', '{"type":"job_inserted","job_id":0}');
    END IF;
    IF taken > 0 THEN
        PERFORM pg_notify('luneo_events', last_pos::text);
    END IF;
END
$$
"""


def upgrade() -> None:
    """Create the tables, the order of the log, its epoch and the sequencer's one call."""
    op.execute("CREATE SEQUENCE event_pos CACHE 1")
    for statement in (OUTBOX, LOG, *INDEXES, EPOCHS, HANDLINGS, IDEMPOTENCY):
        op.execute(statement)
    op.execute("CREATE INDEX idempotency_records_expires_at ON idempotency_records (expires_at)")
    op.get_bind().exec_driver_sql(SEQUENCE_EVENTS, execution_options={"no_parameters": True})
    salt = "".join(secrets.choice(string.digits + string.ascii_lowercase) for _ in range(6))
    op.execute(sa.text("INSERT INTO event_epochs (id, salt) VALUES (1, :salt)").bindparams(salt=salt))


def downgrade() -> None:
    """Drop them all."""
    op.execute("DROP FUNCTION sequence_events(bigint)")
    for table in ("idempotency_records", "event_handlings", "event_epochs", "event_log", "event_outbox"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP SEQUENCE event_pos")
