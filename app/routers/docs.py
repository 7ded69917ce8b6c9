"""Pages for API users: the OpenAPI document and Swagger UI, served from this machine alone."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from swagger_ui_bundle import swagger_ui_path

from app.core.access import public
from app.core.errors import NotFound
from app.core.openapi import as_3_0
from app.core.requests import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["docs"], include_in_schema=False)

Reader = Annotated[None, Depends(public("The documentation is for everybody."))]

OURS = Path(__file__).resolve().parents[1] / "static" / "docs"
THEIRS = Path(str(swagger_ui_path))

FILES = {
    "page.css": (OURS, "text/css"),
    "page.js": (OURS, "text/javascript"),
    "favicon-32x32.png": (THEIRS, "image/png"),
    "swagger-ui.css": (THEIRS, "text/css"),
    "swagger-ui-bundle.js": (THEIRS, "text/javascript"),
}

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # Swagger UI's icons are data: addresses in its style sheet.
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


@router.get("/")
async def get_landing_page(_: Reader) -> RedirectResponse:
    """Show visitors the documentation."""
    return RedirectResponse("/docs", status_code=307)


@router.get("/docs")
async def get_documentation_page(_: Reader, request: Request) -> Response:
    """The documentation as a page."""
    answer = _answer(request, _file(OURS, "index.html"), "text/html; charset=utf-8")
    answer.headers["Content-Security-Policy"] = POLICY
    return answer


@router.get("/openapi.json")
async def get_openapi_document(_: Reader, request: Request) -> Response:
    """The document of this API in OpenAPI 3.1."""
    return _answer(request, _document(request, is_older=False), "application/json")


@router.get("/docs/openapi.json")
async def get_older_openapi_document(_: Reader, request: Request) -> Response:
    """The document in OpenAPI 3.0, which Swagger UI reads."""
    return _answer(request, _document(request, is_older=True), "application/json")


@router.get("/docs/{name}")
async def get_documentation_file(_: Reader, request: Request, name: str) -> Response:
    """A part of the page."""
    if name not in FILES:
        raise NotFound(detail="There is no such address.")
    folder, media_type = FILES[name]
    return _answer(request, _file(folder, name), media_type)


def _document(request: Request, *, is_older: bool) -> bytes:
    """The document's text, made at the first request and kept with the application."""
    state = request.app.state
    name = "openapi_3_0" if is_older else "openapi_3_1"
    if not hasattr(state, name):
        made = request.app.openapi()
        text = json.dumps(as_3_0(made) if is_older else made, ensure_ascii=False, separators=(",", ":"))
        setattr(state, name, text.encode())
    content: bytes = getattr(state, name)
    return content


@lru_cache(maxsize=16)
def _file(folder: Path, name: str) -> bytes:
    return (folder / name).read_bytes()


def _answer(request: Request, content: bytes, media_type: str) -> Response:
    """The content, or 304 when the browser has it already."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    known = request.headers.get("if-none-match", "")
    if tag in (item.strip().removeprefix("W/") for item in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
