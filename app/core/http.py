"""What happens around every request, as pure ASGI layers: its id, log line, metrics, headers, body limit."""

import asyncio
import contextlib
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable

import structlog
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException as StarletteHTTPException  # noqa: TID251 - see _too_large
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core import errors
from app.core.callers import current_scope
from app.core.config import Settings
from app.core.dispatch import ReadLayer
from app.core.limits import limit_headers
from app.core.limits.routes import STATES
from app.core.logging import current_request
from app.core.metrics import count_request
from app.core.quotas import quota_headers
from app.core.requests import header

logger = structlog.get_logger("luneo.access")
level_of = logging.getLogger("luneo.access")

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
TRACE_PARENT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
"""W3C Trace Context, version 00; ids of zeros only are invalid."""

MAX_BODY = 1024 * 1024
"""Bytes of a body, unless the route says `body_up_to(…)`."""

MAX_FORGOTTEN = 16 * MAX_BODY
FORGET_SECONDS = 5.0
"""How much of a body that is too large is read and forgotten after its refusal, and for how long."""

BODY_LIMIT = "luneo.body_limit"
"""Where the scope of a request keeps the limit of its body when it is not MAX_BODY."""

CORS_HEADERS = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "X-API-Key",
    "X-Device-Key",
    "X-Organization-Id",
    "X-Request-Id",
    "traceparent",
]
EXPOSED_HEADERS = [
    "Content-Disposition",
    "Deprecation",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Audit-From",
    "X-Quota-Limit",
    "X-Quota-Remaining",
    "X-Quota-Reset",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Realtime-Cursor",
    "X-Request-Id",
    "traceparent",
]


class RequestLayer:
    """The outermost layer: names the request, adds the headers that every answer has, counts and logs."""

    def __init__(self, app: ASGIApp, *, is_production: bool) -> None:
        self.app = app
        self.always = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
        if is_production:
            self.always.append((b"strict-transport-security", b"max-age=63072000; includeSubDomains"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        parent = _name(scope)
        answering = current_scope.set(scope)
        cursor = _present_cursor(scope)
        status = 500
        is_stream = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                present = dict(message["headers"])
                is_stream = present.get(b"content-type", b"").startswith(b"text/event-stream")
                added = self._headers(scope, present, parent)
                if cursor is not None and 200 <= status < 300 and _has_principal(scope):
                    added.append((b"x-realtime-cursor", cursor.encode()))
                message["headers"] = [*message["headers"], *added]
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            current_scope.reset(answering)
            _record(scope, status, time.perf_counter() - began, is_stream=is_stream)

    def _headers(self, scope: Scope, present: dict[bytes, bytes], parent: bytes) -> list[tuple[bytes, bytes]]:
        added = [
            *(item for item in self.always if item[0] not in present),
            (b"x-request-id", scope["luneo.request_id"].encode()),
            (b"traceparent", parent),
        ]
        added.extend(limit_headers(scope.get(STATES, ())))
        added.extend(quota_headers(scope))
        is_open_read = scope["method"] in ("GET", "HEAD") and not (
            header(scope, b"authorization") or header(scope, b"x-api-key")
        )
        if b"cache-control" not in present and not is_open_read:
            added.append((b"cache-control", b"no-store"))
        return added


def _name(scope: Scope) -> bytes:
    """Give the request its id and its trace, its own or the caller's; answers the `traceparent` of our part.

    Without an id of the caller's, the request's id is that of its trace: one thing to look for.
    """
    sent = header(scope, b"traceparent")
    match = TRACE_PARENT.fullmatch(sent) if sent is not None else None
    fresh = secrets.token_hex(24)
    trace_id = match[1].decode() if match else fresh[:32]
    flags = match[2].decode() if match else "00"
    asked = header(scope, b"x-request-id")
    request_id = asked.decode() if asked is not None and REQUEST_ID.fullmatch(asked) else trace_id
    scope["luneo.request_id"] = request_id
    scope["luneo.trace_id"] = trace_id
    current_request.set((request_id, trace_id))
    return f"00-{trace_id}-{fresh[32:]}-{flags}".encode()


def _present_cursor(scope: Scope) -> str | None:
    """Where the event log stands before a read under /api: what it answers is no older than that.

    Whoever loads first and then streams from this cursor misses nothing.
    """
    if scope["method"] != "GET" or not scope["path"].startswith("/api/"):
        return None
    hub = getattr(scope["app"].state, "hub", None)
    return hub.cursor if hub is not None else None


def _has_principal(scope: Scope) -> bool:
    return scope.get("state", {}).get("principal") is not None


def route_template(scope: Scope) -> str:
    """The path of the matched route with its parameters' names, `unmatched` without one: never a raw path."""
    return getattr(scope.get("route"), "path", None) or "unmatched"


def _record(scope: Scope, status: int, seconds: float, *, is_stream: bool) -> None:
    """Count the request and write its line."""
    route = route_template(scope)
    count_request(scope["method"], route, status, None if is_stream else seconds)
    if not level_of.isEnabledFor(logging.INFO):
        return
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


class ErrorLayer:
    """Answers what nobody caught, inside the layers that add headers: a browser may read even a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        has_started = False

        async def noting_send(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self.app(scope, receive, noting_send)
        except Exception as error:
            if has_started:
                raise
            answer = await errors.handle(Request(scope), error)
            await answer(scope, receive, send)


class BodyLimitLayer:
    """Refuses a body that is larger than allowed, by its declared length or while it is read.

    It judges when the route reads, so that a dependency may have raised the limit; a body that nobody reads
    is never kept in memory. The refusal is sent at once, whole, and what is left of the body is read and
    forgotten before the answer ends and the connection closes: a connection that is closed on unread bytes is
    reset, and a client that has not read the refusal by then would never see it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = header(scope, b"content-length") or b"0"
        expected = int(declared) if declared.isdigit() and len(declared) < 19 else 0
        received = 0
        has_rest = False

        async def counted_receive() -> Message:
            nonlocal received, has_rest
            limit = scope.get(BODY_LIMIT, MAX_BODY)
            if expected > limit:
                has_rest = True
                raise _too_large(limit)
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                has_rest = message.get("more_body", False)
                raise _too_large(limit)
            return message

        async def patient_send(message: Message) -> None:
            is_last = message["type"] == "http.response.body" and not message.get("more_body")
            if not (has_rest and is_last):
                await send(message)
                return
            await send({**message, "more_body": True})
            await take_in(scope, receive, most=MAX_FORGOTTEN, seconds=FORGET_SECONDS)
            await send({"type": "http.response.body", "body": b""})

        await self.app(scope, counted_receive, patient_send)


async def take_in(scope: Scope, receive: Receive, *, most: int, seconds: float) -> None:
    """Read and forget what is left of a body, up to `most` bytes and for so many seconds.

    Most clients read no answer before they have sent all. One that asks first (`Expect`) sends nothing more.
    """
    if header(scope, b"expect") is not None:
        return
    forgotten = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while forgotten <= most:
                message = await receive()
                forgotten += len(message.get("body", b""))
                if not message.get("more_body"):
                    return


def _too_large(limit: int) -> StarletteHTTPException:
    # FastAPI lets this class alone through while it reads a body, and makes a 400 of every other.
    return StarletteHTTPException(413, f"The body is larger than {limit} bytes.")


def body_up_to(limit: int) -> Callable[[Request], Awaitable[None]]:
    """A dependency that lets the bodies of a route that reads `request.stream()` be `limit` bytes long.

    It has no effect on a route with a body model, whose body is read before any dependency runs.
    """

    async def raise_limit(request: Request) -> None:
        request.scope[BODY_LIMIT] = limit

    return raise_limit


def install(app: FastAPI, settings: Settings) -> None:
    """Put the layers around the application; the last one added is the outermost."""
    app.add_middleware(BodyLimitLayer)
    app.add_middleware(ReadLayer)
    app.add_middleware(ErrorLayer)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
            allow_headers=CORS_HEADERS,
            expose_headers=EXPOSED_HEADERS,
            max_age=600,
        )
    app.add_middleware(RequestLayer, is_production=settings.environment == "production")
