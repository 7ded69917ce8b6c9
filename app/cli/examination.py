"""What `doctor` looks at, one function each: what was found, and what to do about it."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import aiosmtplib
from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from app.cli import examining_stripe
from app.cli.finding import Finding
from app.clients.storage.opening import StorageNotConfigured, open_store
from app.clients.storage.s3 import S3Store
from app.core.config import Settings
from app.core.crypto import KeyRing
from app.core.database import Database, SystemSession, create_engine
from app.core.errors import AppError
from app.repositories.health import HealthRepository, Lag
from app.services.billing.pdf import fonts as printing
from app.services.files.probing import probe
from app.services.health import delays, opens
from app.services.notifications.senders import configured

SECONDS = 5.0
"""How long anything may take to answer."""

OLDEST_SERVER = 140_000
CLOCK_SECONDS = 5.0
WORKER_SECONDS = 60
BUCKET_RULES = "Its rules: no public access; unfinished multipart uploads are aborted after one day."
FAR_LETTERS = "\u0141\u0151\u0394\u0416"
"""Polish, Hungarian, Greek and Cyrillic ones."""

LITTLE_ROOM = 2 * 1024**3
NO_ROOM = 200 * 1024**2


def settings_faults(error: ValidationError) -> Iterator[Finding]:
    """The variables that are not valid; with them nothing else can be looked at."""
    for item in error.errors(include_input=False, include_url=False):
        name = ".".join(str(part) for part in item["loc"]).upper() or "configuration"
        text = item["msg"].removeprefix("Value error, ")
        yield Finding(name, "fail", text, "Change it in the environment or in .env.")


def configuration(settings: Settings) -> Finding:
    """What kind of deployment this is."""
    database = "DATABASE_URL" if settings.database_url else "embedded PostgreSQL"
    return Finding("configuration", "ok", f"{settings.environment}, {database}, worker {settings.worker}")


def placeholders(settings: Settings) -> Iterator[Finding]:
    """What only a developer's machine may have. Secrets are judged when the settings are read."""
    if settings.environment != "production":
        return
    for name, url in (("PUBLIC_URL", settings.public_url or ""), ("APP_URL", settings.app_url)):
        if urlsplit(url).scheme != "https":
            yield Finding(
                name, "fail", "is not https", "Credentials travel over it; end TLS before the service."
            )
        if urlsplit(url).hostname in {"localhost", "127.0.0.1", "::1"}:
            yield Finding(
                name, "fail", "is this machine's own name", "Links in mails point to it; set the public one."
            )
    if settings.mail_from.rstrip(">").endswith((".test", ".example", ".invalid")):
        yield Finding(
            "MAIL_FROM", "fail", "is an address that cannot exist", "Set an address of your own domain."
        )


def data_directory(settings: Settings) -> Finding:
    """Whether files can be written, and how much room there is."""
    folder = settings.data_dir.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"luneo")
    except OSError as error:
        advice = "Make it writable for the user that runs the service, or set DATA_DIR."
        return Finding("data directory", "fail", f"{folder} cannot be written: {error.strerror}", advice)
    free = shutil.disk_usage(folder).free
    text = f"{folder}, {free / 1024**3:.1f} GiB free"
    if free < NO_ROOM:
        return Finding("data directory", "fail", text, "The disk is full; make room or set DATA_DIR.")
    if free < LITTLE_ROOM:
        return Finding("data directory", "warn", text, "The disk is filling up.")
    return Finding("data directory", "ok", text)


def keys(settings: Settings) -> Finding:
    """Whether the key ring can be read."""
    try:
        ring = KeyRing.parse(settings.key_ring_text())
    except (ValueError, OSError) as error:
        return Finding("keys", "fail", str(error), "Make an entry with `python -m app doctor --new-key`.")
    return Finding("keys", "ok", f"{len(ring.kids)} in the ring, newest {ring.newest}")


def fonts() -> Finding:
    """Which letters can be printed on invoices."""
    found = printing.fonts()
    if found.writable(FAR_LETTERS) == FAR_LETTERS:
        return Finding("fonts", "ok", f"{found.family} prints Latin, Greek and Cyrillic letters")
    advice = "Install DejaVu Sans (apt-get install fonts-dejavu-core); names on invoices lose letters else."
    return Finding("fonts", "warn", f"{found.family} prints the letters of Western Europe only", advice)


async def redis(settings: Settings) -> Finding:
    """Whether the store of the limits answers."""
    if settings.redis_url is None:
        return Finding("redis", "off", "not set; limits are counted in each process by itself")
    client = Redis.from_url(settings.redis_url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS)
    try:
        async with asyncio.timeout(SECONDS):
            await client.execute_command("PING")  # type: ignore[no-untyped-call]  # as it ships
    except (RedisError, OSError, ValueError) as error:
        advice = "Start Redis or correct REDIS_URL; until then sign-ins are refused."
        return Finding("redis", "fail", f"does not answer: {type(error).__name__}", advice)
    finally:
        await client.aclose()
    return Finding("redis", "ok", "answers")


async def smtp(settings: Settings) -> Finding:
    """Whether the mail server greets us. It is not signed in to, and nothing is sent."""
    if settings.smtp_url is None:
        text = "not set; mails stay in the local outbox (/sandbox/mail)"
        if senders := configured(settings):
            return Finding("smtp", "off", f"not set; mail goes through {', '.join(senders)}")
        if settings.environment == "production":
            advice = "Set SMTP_URL, BREVO_API_KEY or SENDGRID_API_KEY."
            return Finding("smtp", "fail", "not set: no mail leaves this service", advice)
        return Finding("smtp", "off", text)
    address = urlsplit(settings.smtp_url)
    is_tls = address.scheme == "smtps"
    client = aiosmtplib.SMTP(
        hostname=address.hostname,
        port=address.port or (465 if is_tls else 587),
        use_tls=is_tls,
        timeout=SECONDS,
    )
    try:
        await client.connect()
        await client.quit()
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        text = f"{address.hostname} does not greet us: {type(error).__name__}"
        return Finding("smtp", "fail", text, "Correct SMTP_URL, or let this machine reach that port.")
    return Finding("smtp", "ok", f"{address.hostname} greets us")


async def storage(settings: Settings) -> Finding:
    """Whether the store of files takes an object and gives it back."""
    shown = settings.storage_url or f"a folder in {settings.data_dir}"
    try:
        store = open_store(settings)
        async with asyncio.timeout(SECONDS):
            await probe(store)
    except (AppError, OSError, StorageNotConfigured) as error:
        reason = str(error) if isinstance(error, StorageNotConfigured) else type(error).__name__
        advice = "Correct STORAGE_URL and the S3_… variables, or let this machine reach the bucket."
        return Finding("storage", "fail", f"{shown} does not take and give files: {reason}", advice)
    if isinstance(store, S3Store):
        return Finding("storage", "ok", f"{shown} takes and gives files", BUCKET_RULES)
    if settings.environment == "production":
        advice = "Several machines need one shared folder, or `s3://…`."
        return Finding("storage", "warn", f"{shown} is local to this machine", advice)
    return Finding("storage", "ok", f"{shown} takes and gives files")


async def database(url: str, settings: Settings) -> list[Finding]:
    """The server, its clock, the migrations, the canary and the work that waits."""
    opened = Database(create_engine(url, pool_size=1, application_name="luneo-doctor"))
    try:
        async with asyncio.timeout(4 * SECONDS), opened.system(autocommit=True) as session:
            return [finding async for finding in _inside(session, settings)]
    except (SQLAlchemyError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0] or type(error).__name__
        advice = "Start PostgreSQL or correct DATABASE_URL; without it an embedded one is used."
        return [Finding("database", "fail", f"does not answer: {reason}", advice)]
    finally:
        await opened.dispose()


async def _inside(session: SystemSession, settings: Settings) -> AsyncIterator[Finding]:
    health = HealthRepository(session)
    before = datetime.now(UTC)
    server = await health.server()
    yield _version(server.version)
    yield _clock((server.now - before).total_seconds(), (datetime.now(UTC) - before).total_seconds())
    if not await health.is_migrated():
        advice = "Run `python -m app migrate`; `serve` does it by itself for the embedded database."
        yield Finding("migrations", "fail", "the database lacks some of this release", advice)
        return
    yield Finding("migrations", "ok", "at head")
    yield await _canary(health, settings)
    left = await examining_stripe.left_by_sandbox(session, settings)
    if left is not None:
        yield left
    yield _work(await health.lag(), settings)


def _version(version: int) -> Finding:
    shown = f"PostgreSQL {version // 10_000}.{version % 10_000}"
    if version < OLDEST_SERVER:
        return Finding("database", "fail", f"{shown} is too old", "Use PostgreSQL 14 or later.")
    return Finding("database", "ok", f"{shown} answers")


def _clock(ahead: float, took: float) -> Finding:
    """Compare the clocks; the answer was under way for `took` seconds, within which no difference shows."""
    difference = 0.0 if 0 <= ahead <= took else ahead
    text = f"{abs(difference):.1f} s apart from the database's"
    if abs(difference) > CLOCK_SECONDS:
        return Finding(
            "clock", "fail", text, "Let both machines follow the same time server; tokens depend on it."
        )
    return Finding("clock", "ok", text)


async def _canary(health: HealthRepository, settings: Settings) -> Finding:
    newest = await health.newest_sealed()
    if newest is None:
        return Finding("canary", "off", "nothing is sealed yet")
    if not opens(KeyRing.parse(settings.key_ring_text()), *newest):
        advice = "Put the key that this database was used with back into SECRET_KEYS, behind newer ones."
        return Finding("canary", "fail", "the key ring does not open what was sealed last", advice)
    return Finding("canary", "ok", "the key ring opens what was sealed last")


def _work(lag: Lag, settings: Settings) -> Finding:
    late = delays(lag)
    if late:
        advice = "Start `python -m app worker`, or `serve` without WORKER=external; then look at its log."
        return Finding("work", "fail", late, advice)
    if lag.worker_seconds is None or lag.worker_seconds > WORKER_SECONDS:
        advice = "Start `python -m app worker`."
        if settings.environment == "production":
            return Finding("work", "fail", "no worker is alive", advice)
        return Finding("work", "off", "no worker is alive, and nothing waits for one")
    return Finding("work", "ok", f"a worker was alive {lag.worker_seconds:.0f} s ago, and nothing is late")
