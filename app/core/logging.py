"""Logs: structured lines on standard error, for people or for machines, with credentials taken out.

Standard output belongs to what a command was asked for.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

import structlog

from app.core.config import Settings

current_request: ContextVar[tuple[str, str] | None] = ContextVar("current_request", default=None)
"""Id and trace of the request that this task answers, set by core/http.py: every line carries them."""

SECRETS = re.compile(r"luneo_(?:live|test|rt|ot|mfa|ac|st)_[\w-]+|eyJ[\w-]+\.[\w-]+\.[\w-]+")
"""Our keys and tokens, and JWTs, wherever they stand in a line."""


def name_request(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the ids of the request to a line that was written on behalf of one."""
    found = current_request.get()
    if found is not None:
        line["request_id"], line["trace_id"] = found
    return line


def redact(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take credentials out of every text of a line; a net behind the rule that nobody logs one."""
    for name, value in line.items():
        line[name] = _redacted(value)
    return line


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return SECRETS.sub("[redacted]", value)
    if isinstance(value, dict):
        return {_redacted(name): _redacted(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return value


def configure(settings: Settings) -> None:
    """Send structlog and the standard library's loggers through one formatter."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        name_request,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[Any] = (
        [structlog.processors.JSONRenderer()]
        if settings.log_format == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # Tracebacks become text here, without the values of variables, and `redact` sees them, too.
                structlog.processors.format_exc_info,
                redact,
                *renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    # The access log is ours (core/http.py); uvicorn's would repeat it, with the query string.
    logging.getLogger("uvicorn.access").disabled = True
    for noisy in ("alembic", "asyncio", "httpcore", "httpx", "procrastinate", "uvicorn"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
