"""The one handler: whatever was raised, as the answer that the caller gets."""

from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException as StarletteHTTPException

from app.core.errors.database import UNREACHABLE, database_unavailable, from_database
from app.core.errors.family import AppError, Defect
from app.core.errors.problem_json import MEDIA_TYPE, problem
from app.core.errors.reading import from_http, from_validation
from app.core.routes import allowed_methods

logger = structlog.get_logger(__name__)


def to_app_error(error: Exception, content_type: str = "application/json") -> AppError:
    """Whatever was raised, as what the caller is told; a defect of ours is logged and becomes a 500."""
    if isinstance(error, AppError):
        return error
    if isinstance(error, RequestValidationError):
        return from_validation(error, content_type)
    if isinstance(error, StarletteHTTPException):
        return from_http(error)
    if isinstance(error, DBAPIError) and (known := from_database(error)) is not None:
        return known
    if isinstance(error, UNREACHABLE):
        return database_unavailable()
    logger.error("unhandled_error", exc_info=error)
    return Defect("internal_error", "Something went wrong on our side; it was recorded.")


async def handle(request: Request, error: Exception) -> JSONResponse:
    """The one handler of every error."""
    answer = to_app_error(error, request.headers.get("content-type", ""))
    if answer.status == 405:
        # The framework names the methods of the first route that matches only.
        answer.headers["Allow"] = ", ".join(sorted(allowed_methods(request.app, request.scope["path"])))
    elif answer.status == 403 and (note := getattr(request.app.state, "on_denial", None)) is not None:
        await note(request, answer)
    return render(request, answer)


def render(request: Request, error: AppError) -> JSONResponse:
    """The problem+json answer of an error."""
    scope = request.scope
    # Not `request.url`, which is built from the Host header and fails where that is garbage.
    body = problem(error, instance=scope["path"][:2000], request_id=scope.get("luneo.request_id") or "")
    headers = {"Cache-Control": "no-store", **error.headers}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return JSONResponse(body, error.status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Render every error of the application by `handle`."""
    # What is not listed here is caught by a layer (core/http.py), so that even a 500 has its headers.
    for kind in (AppError, RequestValidationError, StarletteHTTPException, DBAPIError, PoolTimeout, OSError):
        app.add_exception_handler(kind, handle)
