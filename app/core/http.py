"""What happens around every request, as pure ASGI layers: its id, log line, metrics, headers and largest body."""

import re
import secrets
import time

import structlog
from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core import errors
from app.core.config import Settings
from app.core.limits import limit_headers
from app.core.metrics import HTTP_DURATION, HTTP_REQUESTS

logger = structlog.get_logger("luneo.access")

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
MAX_BODY = 1024 * 1024

CORS_HEADERS = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "X-API-Key",
    "X-Device-Key",
    "X-Organization-Id",
    "X-Request-Id",
]
EXPOSED_HEADERS = [
    "Deprecation",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-Id",
]


def header(scope: Scope, wanted: bytes) -> bytes | None:
    """The first value of a request header."""
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return None


class RequestLayer:
    """The outermost layer: names the request, answers what nobody caught, adds headers, counts and logs."""

    def __init__(self, app: ASGIApp, *, is_production: bool) -> None:
        self.app = app
        self.always = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
        if is_production:
            self.always.append((b"strict-transport-security", b"max-age=63072000; includeSubDomains"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["luneo.request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        began = time.perf_counter()
        status = 500
        has_started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, has_started
            if message["type"] == "http.response.start":
                status, has_started = message["status"], True
                message["headers"] = [*message["headers"], *self._headers(scope, message["headers"])]
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            if has_started:
                raise
            answer = await errors.handle(Request(scope), error)
            await answer(scope, receive, send_with_headers)
        finally:
            self._record(scope, status, time.perf_counter() - began)

    def _headers(self, scope: Scope, present: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        added = [*self.always, (b"x-request-id", scope["luneo.request_id"].encode())]
        trace = header(scope, b"traceparent")
        if trace is not None and TRACE_PARENT.fullmatch(trace):
            added.append((b"traceparent", trace))
        added.extend(limit_headers(scope.get("luneo.limits", [])))
        if not any(name == b"cache-control" for name, _ in present) and (
            header(scope, b"authorization") or header(scope, b"x-api-key")
        ):
            added.append((b"cache-control", b"no-store"))
        return added

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = route_template(scope)
        HTTP_REQUESTS.labels(scope["method"], route, f"{status // 100}xx").inc()
        HTTP_DURATION.labels(scope["method"], route).observe(seconds)
        principal = scope.get("state", {}).get("principal")
        logger.info(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            duration_ms=round(seconds * 1000, 1),
            organization_id=str(principal.organization_id) if principal else None,
            actor_id=str(principal.actor_id) if principal else None,
        )


def route_template(scope: Scope) -> str:
    """The path of the matched route with its parameters' names, `-` when none matched: never a raw path."""
    return getattr(scope.get("route"), "path", None) or "-"


def _request_id(scope: Scope) -> str:
    sent = header(scope, b"x-request-id")
    if sent is not None and REQUEST_ID.fullmatch(sent):
        return sent.decode()
    return secrets.token_hex(16)


class BodyLimitLayer:
    """Refuses a body that is larger than allowed, by its declared length or while it is read."""

    def __init__(self, app: ASGIApp, *, limit: int = MAX_BODY) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = header(scope, b"content-length") or b"0"
        if not declared.isdigit() or int(declared) > self.limit:
            await self._refuse(scope, receive, send)
            return
        received = 0
        is_over = False
        has_started = False

        async def counted_receive() -> Message:
            nonlocal received, is_over
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit:
                is_over = True
                return {"type": "http.disconnect"}
            return message

        async def send_unless_over(message: Message) -> None:
            nonlocal has_started
            if not is_over or has_started:
                has_started = True
                await send(message)

        try:
            await self.app(scope, counted_receive, send_unless_over)
        finally:
            if is_over and not has_started:
                await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = errors.AppError("body_too_large", f"The body is larger than {self.limit} bytes.")
        refusal.status = 413  # type: ignore[misc]  # only this layer answers it
        answer = errors.render(Request(scope), refusal)
        await answer(scope, receive, send)


def install(app: FastAPI, settings: Settings) -> None:
    """Put the layers around the application; the last one added is the outermost."""
    app.add_middleware(BodyLimitLayer)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        allow_headers=CORS_HEADERS,
        expose_headers=EXPOSED_HEADERS,
        max_age=600,
    )
    app.add_middleware(RequestLayer, is_production=settings.environment == "production")
