"""`python -m app doctor`: what is wrong here, and how to mend it."""

import argparse
import asyncio
import secrets
import string
from collections.abc import Iterator

from pydantic import ValidationError

from app.cli import examination, examining_stripe
from app.cli.finding import Finding
from app.cli.saying import say
from app.core import logging
from app.core.config import get_settings
from app.core.crypto import generate_key_text
from app.core.database import Database, create_engine
from app.core.embedded import EmbeddedPostgresError
from app.core.runtime import running_database
from app.repositories.health import HealthRepository

MARKS = {"ok": "ok  ", "off": "-   ", "warn": "warn", "fail": "FAIL"}


def run(arguments: argparse.Namespace) -> int:
    """Examine, or do the one thing that was asked for; answers the exit code."""
    if arguments.new_key:
        say(generate_key_text())
        return 0
    if arguments.new_epoch:
        with running_database(get_settings()) as url:
            asyncio.run(_draw_epoch(url))
        say("Every cursor that was given out is unknown now; restart the servers and workers.")
        return 0
    failures = 0
    for finding in _examine():
        failures += finding.state == "fail"
        say(f"{MARKS[finding.state]}  {finding.name}: {finding.text}")
        if finding.advice:
            say(f"      {finding.advice}")
    say("Nothing is wrong." if failures == 0 else f"{failures} wrong; mend from the top.")
    return 1 if failures else 0


def _examine() -> Iterator[Finding]:
    try:
        settings = get_settings()
    except ValidationError as error:
        yield from examination.settings_faults(error)
        return
    logging.configure(settings)
    yield examination.configuration(settings)
    yield from examination.placeholders(settings)
    yield examination.data_directory(settings)
    yield examination.keys(settings)
    yield examination.fonts()
    yield asyncio.run(examination.redis(settings))
    yield asyncio.run(examination.smtp(settings))
    yield asyncio.run(examination.storage(settings))
    yield asyncio.run(examining_stripe.stripe(settings))
    try:
        with running_database(settings) as url:
            yield from asyncio.run(examination.database(url, settings))
    except EmbeddedPostgresError as error:
        yield Finding("database", "fail", str(error))


async def _draw_epoch(url: str) -> None:
    """Draw a new salt of six of the characters that the table allows."""
    salt = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(6))
    database = Database(create_engine(url, pool_size=1))
    try:
        async with database.transaction() as session:
            await HealthRepository(session).replace_epoch_salt(salt)
    finally:
        await database.dispose()
