"""A worker that is killed amid a refresh, as the machine would kill it."""

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from httpx import AsyncClient

from app.core import clock
from app.core.database import Database, SystemSession
from app.core.errors import Unavailable
from app.services.integrations.connections import refreshing
from tests.support.connections import connected, row_of
from tests.support.personas import Persona
from tests.support.refreshing_process import start_refresh


@pytest.mark.commits
async def test_refresh_when_its_worker_is_killed(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    alice: Persona,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = await connected(client, alice, behaves="expires_soon")
    url = database.engine.url.render_as_string(hide_password=False)
    asked = tmp_path / "asked"
    whose = (alice.organization_id, UUID(row["id"]))
    process = start_refresh(url, *whose, asked)
    try:
        async with asyncio.timeout(60):
            while not asked.exists():  # noqa: ASYNC110 - another process tells by a file
                await asyncio.sleep(0.02)
    finally:
        process.kill()
        process.join()
    assert (await row_of(db, row["id"])).refresh_lease_by is not None
    monkeypatch.setattr(refreshing, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(Unavailable):
        await refreshing.usable_token(database, *whose)
    with clock.travel(timedelta(seconds=61)):
        token = await refreshing.usable_token(database, *whose)
    assert token.value.startswith("sandbox_access_")
    kept = await row_of(db, row["id"])
    assert (kept.status, kept.token_version, kept.refresh_failures) == ("connected", 2, 0)
