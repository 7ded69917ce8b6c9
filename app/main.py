"""The application: lifespan, layers and routers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import app.models.registry  # noqa: F401 - the row guard must know every table

from app.core import errors, http, idempotency
from app.core.config import get_settings
from app.core.database import Database, create_engine
from app.core.limits import Limiter
from app.routers import ROUTERS


def create_app(database: Database | None = None) -> FastAPI:
    """The service over `database`, or over the one that the settings name."""
    settings = get_settings()
    app = FastAPI(title="Luneo API", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.database = database
    app.state.limiter = Limiter(settings.redis_url)
    idempotency.install(app)
    http.install(app, settings)
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open what the process needs, and close it in the opposite order."""
    settings = get_settings()
    is_ours = app.state.database is None
    if is_ours:
        if settings.database_url is None:
            raise RuntimeError("start the service with `python -m app serve`, or set DATABASE_URL")
        app.state.database = Database(
            create_engine(settings.database_url, pool_size=settings.database_pool_size)
        )
    try:
        yield
    finally:
        await app.state.limiter.close()
        if is_ours:
            await app.state.database.dispose()
            app.state.database = None
