"""The application: lifespan, layers and routers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import app.models.registry  # noqa: F401 - the row guard must know every table
from app.clients.outbound.opening import announce_opened_networks
from app.clients.storage.opening import object_store
from app.clients.stripe import close_client
from app.core import dispatch, errors, http, idempotency, openapi
from app.core.config import get_settings
from app.core.database import Database, create_engine
from app.core.key_calls import KeyCalls
from app.core.limits import Limiter
from app.jobs.app import load_areas
from app.jobs.worker import Worker
from app.routers import ROUTERS, SANDBOX_ROUTERS, STRIPE_SANDBOX_ROUTERS
from app.services.audit.denials import note_denial
from app.services.billing.key_calls import KeyCallMeter
from app.services.files.receiving import sweep_uploads
from app.services.realtime.hub import Hub
from app.services.stripe_sandbox.delivering import sandbox_deliverer


def create_app(database: Database | None = None) -> FastAPI:
    """The service over `database`, or over the one that the settings name once it is started."""
    settings = get_settings()
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # A redirect would take the Host header's word for where we are.
        generate_unique_id_function=openapi.operation_id,
        lifespan=lifespan,
        # The metrics are ours (core/metrics.py); to find at every request that nobody listens costs time.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.database = database
    app.state.limiter = Limiter(settings.redis_url)
    app.state.key_calls = KeyCalls()
    app.state.hub = None
    app.state.on_denial = note_denial
    idempotency.install(app)
    http.install(app, settings)
    errors.install(app)
    sandboxes = [
        *(SANDBOX_ROUTERS if settings.has_sandbox else []),
        *(STRIPE_SANDBOX_ROUTERS if settings.has_stripe_sandbox else []),
    ]
    for router in [*ROUTERS, *sandboxes]:
        app.include_router(router)
    dispatch.install(app)
    load_areas()  # The document names every event, whether or not a route has imported it.
    openapi.install(app)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open what the process needs, and close it in the opposite order."""
    settings = get_settings()
    announce_opened_networks(settings)
    if app.state.database is None:
        if settings.database_url is None:
            raise RuntimeError("start the service with `python -m app serve`, or set DATABASE_URL")
        app.state.database = Database(
            create_engine(settings.database_url, pool_size=settings.database_pool_size)
        )
    object_store()  # A store that is not well configured stops the start, and not the first upload.
    await asyncio.to_thread(sweep_uploads)
    hub = app.state.hub = Hub(app.state.database, app.state.limiter, settings)
    await hub.start()
    worker = Worker(app.state.database, settings) if settings.worker == "inline" else None
    if worker is not None:
        await worker.start()
    meter = KeyCallMeter(app.state.database, app.state.key_calls)
    await meter.start()
    deliverer = sandbox_deliverer(settings)
    if deliverer is not None:
        await deliverer.start()
    try:
        yield
    finally:
        if deliverer is not None:
            await deliverer.stop()
        await meter.stop()
        if worker is not None:
            await worker.stop()
        await hub.stop()
        await close_client()
        await app.state.limiter.close()
        await app.state.database.dispose()
