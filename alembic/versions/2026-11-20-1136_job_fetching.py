"""Keeps the queue quick under a burst: no jobs that find nothing to do, and one plan for taking the next one.

An event that only webhooks may carry gets a job only where its organisation has an endpoint. The library's
function that takes a job keeps a plan from the time when the table was empty, or is planned without statistics;
in a burst it then reads every waiting job, for each of them all others, to take one: ten thousand jobs, five
seconds each. Planned anew, and along the index of waiting jobs, it takes half a millisecond.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "job_fetching"
down_revision: str | None = "customer_sync"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SEQUENCE_EVENTS = """
CREATE OR REPLACE FUNCTION sequence_events(
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
        RETURNING pos, event_id, has_handlers, is_webhook, organization_id
    )
    SELECT count(*), (SELECT max(batch.id) FROM batch), max(l.pos),
        array_agg(l.event_id ORDER BY l.pos) FILTER (WHERE {is_handled})
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

HAS_WORK = """l.has_handlers OR l.is_webhook AND EXISTS (
            SELECT FROM webhook_endpoints e WHERE e.organization_id = l.organization_id)"""

FETCH = "ALTER FUNCTION procrastinate_fetch_job_v2(varchar[], bigint)"
SETTINGS = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "plan_cache_mode": "force_custom_plan",
}


def upgrade() -> None:
    """Replace the sequencer's function, and settle how the library's takes a job."""
    _replace(HAS_WORK)
    for setting, value in SETTINGS.items():
        op.execute(f"{FETCH} SET {setting} = {value}")


def downgrade() -> None:
    """Bring both back as they were."""
    for setting in SETTINGS:
        op.execute(f"{FETCH} RESET {setting}")
    _replace("l.has_handlers")


def _replace(is_handled: str) -> None:
    statement = SEQUENCE_EVENTS.replace("{is_handled}", is_handled)
    op.get_bind().exec_driver_sql(statement, execution_options={"no_parameters": True})
