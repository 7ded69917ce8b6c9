"""The embedded PostgreSQL launcher: a private server over a data directory, with nothing to install."""

from app.core.embedded.programs import EmbeddedPostgresError
from app.core.embedded.server import DURABLE, FAST, EmbeddedPostgres
from app.core.embedded.watching import kept_running

__all__ = ["DURABLE", "FAST", "EmbeddedPostgres", "EmbeddedPostgresError", "kept_running"]
