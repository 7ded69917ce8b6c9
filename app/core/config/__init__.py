"""The settings of the service: the one reader of the environment and of `.env`."""

import base64
import re
import secrets
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, HttpUrl, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from app.core.config.fields import WordList
from app.core.config.limits import LimitSettings
from app.core.config.outreach import OutreachSettings

PLACEHOLDERS = frozenset({"", "changeme", "change-me", "secret", "placeholder", "example", "development"})
"""Words that are never a secret, whatever variable holds them."""

LIVE_KEYS = ("sk_live_", "rk_live_")
"""How keys of Stripe begin that move real money: secret ones and restricted ones."""

PROVIDER_SECRETS = (
    "google_client_secret",
    "github_client_secret",
    "slack_client_secret",
    "figma_client_secret",
    "hubspot_client_secret",
    "shopify_client_secret",
    "brevo_api_key",
    "sendgrid_api_key",
    "vapid_private_key",
    "s3_access_key_id",
    "s3_secret_access_key",
    "s3_session_token",
    "stripe_secret_key",
    "stripe_webhook_secrets",
    "stripe_webhook_secret",
)
"""What other services gave us: it is theirs to say how long it is, but it is never one of those words."""


class Settings(OutreachSettings, LimitSettings):
    """Every variable that the service reads; the README's table is generated from this class."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", validate_default=True)

    environment: Literal["development", "test", "production"] = Field(
        "development", description="`production` refuses placeholder secrets and has no sandbox pages."
    )
    data_dir: Path = Field(Path(".data"), description="Where the embedded database and local files live.")
    database_url: str | None = Field(None, description="PostgreSQL 14 or later; unset: the embedded one.")
    database_listen_url: str | None = Field(
        None, description="A direct address for LISTEN and jobs where DATABASE_URL is a pooler."
    )
    database_pool_size: int = Field(16, ge=1, le=500, description="Connections of one process at most.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    public_url: str | None = Field(
        None, description="Where callers reach this API; unset in development: `http://localhost:PORT`."
    )
    app_url: str = Field("http://localhost:3000", description="The single-page application; links in mails.")
    secret_keys: str | None = Field(
        None, description="Key ring `kid:base64,…`, newest first; made and kept in DATA_DIR in development."
    )
    cors_origins: WordList = Field([], description="Exact origins that browsers may call from.")
    trusted_proxies: WordList = Field([], description="Addresses or networks whose X-Forwarded-For counts.")
    redis_url: str | None = Field(None, description="Store of the limits when there are several processes.")
    worker: Literal["inline", "external"] = Field(
        "inline", description="`external`: a separate worker process runs events and jobs."
    )
    worker_concurrency: int = Field(20, ge=1, le=200, description="Jobs at once in one worker.")
    worker_poll_ms: int = Field(250, ge=10, le=60_000, description="Pause between two looks for jobs.")
    events_sequence_ms: int = Field(20, ge=1, le=10_000, description="Pause of an idle sequencer.")
    events_wake: Literal["listen", "poll"] = Field("listen", description="`poll`: no LISTEN anywhere.")
    events_retention_days: int = Field(30, ge=5, le=3650, description="How long the event log is kept.")
    max_streams: int = Field(
        10, ge=1, le=1000, description="Streams and waiting polls of one person or key at once."
    )
    max_streams_per_process: int = Field(
        1000, ge=1, le=100_000, description="Streams and waiting polls of one process at once."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")
    log_format: Literal["console", "json"] = Field("console", description="`json` for machines.")
    metrics_token: str | None = Field(None, description="Bearer token of `/metrics`; unset: 404.")
    prometheus_multiproc_dir: Path | None = Field(
        None,
        description="Where the processes of one machine keep their metrics together; emptied by `serve`.",
    )
    signups: Literal["open", "invited", "closed"] = Field("open", description="Who may sign up.")
    platform_staff_ids: WordList = Field([], description="User ids of the platform's staff.")
    access_token_seconds: int = Field(600, ge=60, le=3600, description="Life of an access token.")
    session_idle_seconds: int = Field(86_400, ge=300, description="Idle limit of a session.")
    session_max_seconds: int = Field(604_800, ge=600, description="Life of a session.")
    session_remember_idle_seconds: int = Field(604_800, ge=300, description="Idle limit when remembered.")
    session_remember_max_seconds: int = Field(2_592_000, ge=600, description="Life when remembered.")
    refresh_leeway_seconds: int = Field(10, ge=0, le=60, description="How long a lost answer is repeated.")
    step_up_seconds: int = Field(900, ge=60, le=3600, description="How recent a second check must be.")
    google_client_id: str | None = Field(
        None, description="Sign-in with Google; unset: the sandbox plays it."
    )
    google_client_secret: str | None = Field(None, description="The secret that belongs to it.")
    github_client_id: str | None = Field(
        None, description="Sign-in with GitHub; unset: the sandbox plays it."
    )
    github_client_secret: str | None = Field(None, description="The secret that belongs to it.")
    mfa_totp_window: int = Field(1, ge=0, le=3, description="Steps of 30 s that a code may be early or late.")
    totp_issuer: str = Field("Luneo", description="The name that authenticator apps show.")
    email_change_seconds: int = Field(86_400, ge=600, description="Life of the link to a new address.")
    email_undo_seconds: int = Field(604_800, ge=3600, description="How long a change of address is undone.")
    invitation_seconds: int = Field(604_800, ge=3600, description="Life of an invitation.")
    invitation_max_sends: int = Field(5, ge=1, le=20, description="Mails of one invitation.")
    transfer_seconds: int = Field(259_200, ge=3600, description="Life of an offer of ownership.")
    max_owned_organizations: int = Field(10, ge=1, le=1000, description="Organisations that one person owns.")
    organization_grace_days: int = Field(
        30, ge=1, le=365, description="Until a deleted organisation is purged."
    )
    billing_grace_days: int = Field(
        7, ge=0, le=90, description="How long an overdue subscription may be used."
    )
    billing_preview_minutes: int = Field(
        10, ge=1, le=60, description="How long the preview of a change of plan is good."
    )
    usage_reservation_minutes: int = Field(
        15, ge=1, le=1440, description="How long quota is set aside for work that is under way."
    )
    password_breach_check: Literal["on", "off"] = Field(
        "off", description="`on`: ask by k-anonymity whether a new password was leaked."
    )
    password_min_length: int = Field(8, ge=8, le=64, description="Shortest password, in code points.")
    password_hash_concurrency: int = Field(
        0, ge=0, le=64, description="Hashes at once; 0: the number of CPUs."
    )
    geo_country_header: str | None = Field(
        None, description="Header of a trusted proxy that names the country."
    )
    stripe_secret_key: str | None = Field(
        None,
        description="Stripe's key; unset: the sandbox plays it, and in production nothing is paid by it.",
    )
    stripe_webhook_secrets: str | None = Field(
        None, description="Signing secrets `whsec_…` with commas between, all valid at once."
    )
    stripe_webhook_secret: str | None = Field(None, description="One more of them.")
    stripe_allow_test_key: bool = Field(False, description="Lets production run on a test key.")
    stripe_timeout_seconds: int = Field(10, ge=1, le=80, description="Patience with one call to Stripe.")
    stripe_max_retries: int = Field(2, ge=0, le=5, description="Repetitions of one call.")
    stripe_automatic_tax: bool = Field(False, description="Lets Stripe work out the tax of checkouts.")
    stripe_webhook_concurrency: int = Field(
        32, ge=1, le=1000, description="Deliveries of Stripe at once in one process."
    )
    stripe_event_max_attempts: int = Field(
        24, ge=1, le=100, description="Until an event of Stripe is given up."
    )
    stripe_payload_days: int = Field(90, ge=1, le=400, description="How long payloads of Stripe are kept.")
    audit_keep_days: int = Field(365, ge=30, le=3650, description="How long audit entries are kept at least.")
    audit_export_max_rows: int = Field(1_000_000, ge=1, description="Rows of one export of the audit log.")
    audit_export_days: int = Field(7, ge=1, le=90, description="How long an export of it is kept.")
    storage_url: str | None = Field(
        None, description="`s3://bucket/prefix` or `file:///folder`; unset: a folder in DATA_DIR."
    )
    s3_endpoint: str | None = Field(None, description="Address of the S3 service; unset: AWS of the region.")
    s3_region: str = Field("us-east-1", description="Region of the bucket.")
    s3_access_key_id: str | None = Field(None, description="Needed with `s3://`.")
    s3_secret_access_key: str | None = Field(None, description="Needed with `s3://`.")
    s3_session_token: str | None = Field(None, description="Of temporary credentials.")
    s3_path_style: bool | None = Field(None, description="Unset: true where S3_ENDPOINT is set.")
    storage_min_free_mb: int = Field(512, ge=0, description="Free disk that uploads leave.")
    isolated_processes: int = Field(2, ge=1, le=64, description="Child processes for risky work at once.")
    isolated_memory_mb: int = Field(1024, ge=256, description="Address space of one of them.")
    upload_stall_s: int = Field(30, ge=1, le=600, description="Patience with an upload that sends nothing.")
    avatar_max_bytes: int = Field(2_097_152, ge=1024, description="Largest portrait.")
    image_max_pixels: int = Field(25_000_000, ge=1, description="Most pixels of an image.")
    list_total_cap: int = Field(10_000, ge=100, description="Where `total` of a list stops counting.")
    order_lines_max: int = Field(200, ge=1, le=1000, description="Lines of one order.")
    order_expiry_grace_minutes: int = Field(15, ge=0, le=1440, description="Added to the payment window.")
    order_pending_max_hours: int = Field(24, ge=1, le=720, description="How long checkouts can be opened.")
    order_track_link_hours: int = Field(168, ge=1, le=8760, description="Life of a link to an order.")
    product_import_max_rows: int = Field(500, ge=1, le=1000, description="Rows of one import.")

    @field_validator("cors_origins")
    @classmethod
    def _exact_origins(cls, value: list[str]) -> list[str]:
        """`*` would let every site read what a browser gets; an origin has no path."""
        for origin in value:
            if not re.fullmatch(
                r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?", origin
            ):
                raise ValueError("list exact origins such as https://app.example.com")
        return value

    @field_validator("public_url", "app_url")
    @classmethod
    def _bare_origin(cls, value: str | None) -> str | None:
        if value is not None:
            HttpUrl(value)
            return value.rstrip("/")
        return value

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        if self.public_url is None and self.environment != "production":
            self.public_url = f"http://localhost:{self.port}"
        if self.limit_factor == 0:
            self.limit_factor = 1 if self.environment == "production" else 100
        if self.environment == "production":
            self._refuse_placeholders()
        return self

    def _refuse_placeholders(self) -> None:
        """Stop a production start that would run on a secret that is missing or that everybody knows."""
        missing = [name for name in ("secret_keys", "public_url", "database_url") if not getattr(self, name)]
        if missing:
            raise ValueError(f"production needs {', '.join(name.upper() for name in missing)}")
        for entry in (self.secret_keys or "").split(","):
            secret = entry.partition(":")[2].strip()
            try:
                raw = base64.b64decode(secret, validate=True)
            except ValueError:
                raw = b""
            # 32 random bytes are never all printable: what is, somebody has typed.
            if len(raw) < 32 or len(set(raw)) < 8 or (raw.isascii() and raw.decode().isprintable()):
                raise ValueError(
                    "SECRET_KEYS holds a placeholder; make one with `python -m app doctor --new-key`"
                )
        for name in PROVIDER_SECRETS:
            given = getattr(self, name)
            if given is not None and given.lower() in PLACEHOLDERS:
                raise ValueError(f"{name.upper()} is a placeholder; set the real one, or leave it out")
        self._refuse_test_key()
        if self.metrics_token is not None and (
            len(self.metrics_token) < 16 or self.metrics_token.lower() in PLACEHOLDERS
        ):
            raise ValueError("METRICS_TOKEN is a placeholder; use 16 random characters or more")

    def _refuse_test_key(self) -> None:
        """Stop a production start that would sell without being paid."""
        key = self.stripe_secret_key
        if key is not None and not self.stripe_livemode and not self.stripe_allow_test_key:
            raise ValueError("STRIPE_SECRET_KEY is a test key; set STRIPE_ALLOW_TEST_KEY=true to mean it")

    @property
    def stripe_livemode(self) -> bool:
        """Whether the key is one that moves real money (see LIVE_KEYS)."""
        return (self.stripe_secret_key or "").startswith(LIVE_KEYS)

    @property
    def has_stripe_sandbox(self) -> bool:
        """Whether this machine plays Stripe: outside production, and only without a key."""
        return self.has_sandbox and self.stripe_secret_key is None

    def webhook_secrets(self) -> list[str]:
        """The secrets that Stripe's deliveries may be signed with."""
        listed = f"{self.stripe_webhook_secrets or ''},{self.stripe_webhook_secret or ''}".split(",")
        return [secret for word in listed if (secret := word.strip())]

    @property
    def api_url(self) -> str:
        """The address of this API as its callers know it, without a slash at the end."""
        return self.public_url or f"http://localhost:{self.port}"

    @property
    def has_sandbox(self) -> bool:
        """Whether the pages under `/sandbox` exist: never in production."""
        return self.environment != "production"

    def key_ring_text(self) -> str:
        """`SECRET_KEYS`, or the ring that development makes once and keeps in DATA_DIR.

        The file is created exclusively, so that several processes that start at once agree on one ring.
        """
        if self.secret_keys:
            return self.secret_keys
        path = self.data_dir / "secret_keys"
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            draft = self.data_dir / f".secret_keys-{secrets.token_hex(8)}"
            draft.touch(mode=0o600)
            draft.write_text(f"dev1:{base64.b64encode(secrets.token_bytes(32)).decode()}")
            try:
                path.hardlink_to(draft)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_text().strip()


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings(**_from_command_line)


_from_command_line: dict[str, Any] = {}


def use_settings(**values: Any) -> Settings:
    """Let values of the command line, or of the embedded database, win over the environment."""
    _from_command_line.update(values)
    get_settings.cache_clear()
    return get_settings()
