"""What is counted and measured in a process, as Prometheus metrics without tenants, people or raw paths."""

from prometheus_client import Counter, Gauge, Histogram

HTTP_REQUESTS = Counter(
    "luneo_http_requests_total", "Answered requests.", ["method", "route", "status_class"]
)
HTTP_DURATION = Histogram(
    "luneo_http_request_duration_seconds", "Time until an answer was sent.", ["method", "route"]
)
EVENTS = Counter("luneo_events_total", "Events that were given a position.", ["type"])
OUTBOX_ROWS = Gauge("luneo_outbox_rows", "Events that wait for the sequencer.")
SEQUENCE_LAG = Histogram("luneo_event_sequence_lag_seconds", "From an event's commit to its position.")
HANDLE_LAG = Histogram("luneo_event_handle_lag_seconds", "From an event to the end of its handlers.")
JOBS_FAILED = Counter("luneo_jobs_failed_total", "Jobs that gave up.", ["task"])
MAIL = Counter("luneo_mail_total", "Mails handed to a sender.", ["provider", "outcome"])
