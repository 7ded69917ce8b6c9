"""What is counted and measured in a process, as Prometheus metrics without tenants, people or raw paths."""

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
MAIL = Counter("luneo_mail_total", "Mails handed to a sender.", ["provider", "outcome"])

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
PROBES = frozenset({"/health/live", "/health/ready", "/metrics"})


def count_request(method: str, route: str, status: int, seconds: float | None) -> None:
    """Count an answered request, and time it unless it was a stream (`seconds` is None) or a probe.

    `route` is the template. What nobody serves is one label, since callers can make up methods.
    """
    label = method if method in METHODS else "OTHER"
    HTTP_REQUESTS.labels(label, route, f"{status // 100}xx").inc()
    if seconds is not None and route not in PROBES:
        HTTP_DURATION.labels(label, route).observe(seconds)


def exposition() -> bytes:
    """The metrics of this process, or of all that share PROMETHEUS_MULTIPROC_DIR, as Prometheus' text."""
    folder = get_settings().prometheus_multiproc_dir
    if folder is None:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]  # as it ships
    return generate_latest(registry)
