"""What is counted and measured in a process, as Prometheus metrics without tenants, people or raw paths."""

from functools import lru_cache

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from app.core.config import get_settings

HTTP_REQUESTS = Counter(
    "luneo_http_requests_total", "Answered requests.", ["method", "route", "status_class"]
)
HTTP_DURATION = Histogram(
    "luneo_http_request_duration_seconds",
    "Time until an answer was sent; streams and probes are not timed.",
    ["method", "route"],
)
EVENTS = Counter("luneo_events_total", "Events that were given a position.", ["type"])
OUTBOX_ROWS = Gauge("luneo_outbox_rows", "Events that wait for the sequencer.")
SEQUENCE_LAG = Histogram("luneo_event_sequence_lag_seconds", "From an event's commit to its position.")
HANDLE_LAG = Histogram("luneo_event_handle_lag_seconds", "From an event to the end of its handlers.")
JOBS_FAILED = Counter("luneo_jobs_failed_total", "Jobs that gave up.", ["task"])
STREAMS_OPEN = Gauge(
    "luneo_streams_open", "Streams and waiting polls of this process.", multiprocess_mode="livesum"
)
STREAMS_LAGGING = Gauge(
    "luneo_streams_lagging",
    "Streams that read too slowly and are fed from the log.",
    multiprocess_mode="livesum",
)
STREAM_DELIVERIES = Counter("luneo_stream_deliveries_total", "Events that were written to streams.")
STREAM_RESETS = Counter(
    "luneo_stream_resets_total", "Cursors that could not be honoured, by why.", ["reason"]
)
AUDIT_PENDING = Gauge("luneo_audit_pending_events", "Entries that wait for their place in a chain.")
AUDIT_APPEND = Histogram("luneo_audit_append_seconds", "Time to append what waited, per transaction.")
STORAGE_MISSING = Gauge("luneo_storage_missing_objects", "Files whose object the store does not have.")
MAIL = Counter("luneo_mail_total", "Mails handed to a sender.", ["provider", "outcome"])

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
PROBES = frozenset({"/health/live", "/health/ready", "/metrics"})


def count_request(method: str, route: str, status: int, seconds: float | None) -> None:
    """Count an answered request, and time it unless it was a stream (`seconds` is None) or a probe.

    `route` is the template. What nobody serves is one label, since callers can make up methods.
    """
    label = method if method in METHODS else "OTHER"
    _counter(label, route, status // 100).inc()
    if seconds is not None and route not in PROBES:
        _timer(label, route).observe(seconds)


@lru_cache(maxsize=4096)
def _counter(method: str, route: str, hundreds: int) -> Counter:
    # To find a labelled metric takes longer than to count, and there are only so many routes.
    return HTTP_REQUESTS.labels(method, route, f"{hundreds}xx")


@lru_cache(maxsize=4096)
def _timer(method: str, route: str) -> Histogram:
    return HTTP_DURATION.labels(method, route)


def exposition() -> bytes:
    """The metrics of this process, or of all that share PROMETHEUS_MULTIPROC_DIR, as Prometheus' text."""
    folder = get_settings().prometheus_multiproc_dir
    if folder is None:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]  # as it ships
    return generate_latest(registry)
