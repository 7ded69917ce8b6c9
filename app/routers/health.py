"""Probes for whoever runs the service, and its metrics."""

import hmac
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from app.core.access import bearer_token, public, refused_token, signed
from app.core.config import get_settings
from app.core.errors import NotFound, problems
from app.core.metrics import exposition
from app.core.requests import StrictRoute
from app.schemas.health import Liveness, Readiness
from app.services.health import HealthService

router = APIRouter(route_class=StrictRoute, tags=["health"])

Prober = Annotated[None, Depends(public("Balancers and orchestrators send no credential."))]
Scraper = Annotated[None, Depends(signed("METRICS_TOKEN"))]
Health = Annotated[HealthService, Depends()]


@router.get("/health/live")
async def get_liveness(_: Prober) -> Liveness:
    """Whether the process lives.

    It asks nothing else, so that a restart is never caused by a database that is away.
    """
    return Liveness()


@router.get("/health/ready", responses={503: {"model": Readiness}})
async def get_readiness(_: Prober, response: Response, health: Health) -> Readiness:
    """Whether the process can serve: database, migrations and keys.

    503 when one of them fails. What is only late, or mail that is not configured, is a `warn` and 200.
    """
    found = await health.readiness()
    response.headers["Cache-Control"] = "no-store"
    if found.status == "fail":
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return found


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses=problems({401: ["unauthenticated", "access_token_invalid"], 404: ["not_found"]}),
)
async def get_metrics(_: Scraper, request: Request) -> Response:
    """Counters and measurements of this process for Prometheus.

    Send `Authorization: Bearer <METRICS_TOKEN>`; without that setting there is no such address.
    """
    token = get_settings().metrics_token
    if token is None:
        raise NotFound(detail="There is no such address.")
    if not hmac.compare_digest(bearer_token(request.headers).encode(), token.encode()):
        raise refused_token("access_token_invalid", "This is not the token of the metrics.")
    return Response(exposition(), media_type=CONTENT_TYPE_LATEST)
