"""The answers that a route may give besides its own, derived from what the route is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.access import REFUSALS, Marker
from app.core.errors import MEDIA_TYPE, NOWHERE, AppError, FieldError, phrase, problem

REQUEST_ID = "4bf92f3577b34da6a3ce929d0e0e4736"

HEADERS: dict[str, Any] = {
    "RequestId": {
        "description": "The request in our logs: the id that was sent, or a new one.",
        "schema": {"type": "string"},
    },
    "Location": {"description": "The address of what was made.", "schema": {"type": "string"}},
    "IdempotencyReplayed": {
        "description": "`true` when this is the first answer again.",
        "schema": {"type": "string", "const": "true"},
    },
    "RateLimit": {
        "description": "What is left of each limit (`r`) and for how many seconds (`t`).",
        "schema": {"type": "string", "examples": ['"session";r=599;t=60']},
    },
    "RateLimitPolicy": {
        "description": "Each limit's requests (`q`) in a number of seconds (`w`).",
        "schema": {"type": "string", "examples": ['"session";q=600;w=60']},
    },
    "RealtimeCursor": {
        "description": "Where the log of events stood before this was read; stream from here.",
        "schema": {"type": "string"},
    },
    "RetryAfter": {
        "description": "Seconds until it makes sense to try again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "WwwAuthenticate": {
        "description": "The credential that is missing, in the form of RFC 6750 and RFC 9470.",
        "schema": {"type": "string"},
    },
}

CODES: Mapping[int, Mapping[str, str]] = {
    400: {
        "malformed_json": "Send valid JSON in UTF-8, in which no object has a name twice.",
        "malformed_request": "The body cannot be read; send it again, whole.",
        "ambiguous_credentials": "Send one credential: either `Authorization` or `X-API-Key`.",
    },
    401: {
        "unauthenticated": "Send `Authorization: Bearer <access token>`.",
        "access_token_expired": "The access token has expired; refresh it.",
        "access_token_invalid": "This is not an access token of this service.",
        "api_key_expired": "This API key has expired; rotate it or create another.",
        "api_key_invalid": "This is not a good API key of this service.",
        "session_expired": "This session has expired; sign in again.",
        "session_revoked": "This session was ended; sign in again.",
        "step_up_required": "Confirm your identity with POST /api/auth/step-up and repeat the request.",
    },
    402: {"quota_exceeded": "Your plan's requests by API keys are used up in this period."},
    403: {
        "permission_denied": "Your role lacks the permission `orders:write`; ask an administrator for it.",
        "insufficient_scope": "This API key lacks the scope `orders:write`; use one that has it.",
        "ip_not_allowed": "This API key may not be used from your address.",
        "origin_not_allowed": "This API key may not be used by pages of this origin.",
        "user_session_required": "API keys may not do this; sign in as a person and repeat the request.",
        **REFUSALS,
    },
    404: {"not_found": NOWHERE},
    409: {
        "idempotency_in_progress": "The first request with this `Idempotency-Key` still runs; repeat it soon."
    },
    413: {"body_too_large": "The body is larger than 1048576 bytes."},
    415: {"unsupported_media_type": "Send JSON as `application/json`."},
    422: {
        "validation_error": "Some of what was sent is not valid; see `errors`.",
        "idempotency_key_invalid": "`Idempotency-Key` has 1 to 255 visible characters.",
        "idempotency_key_reused": "This `Idempotency-Key` belongs to another request; use a new one.",
    },
    429: {"rate_limited": "Too many requests; try again in 12 seconds."},
    503: {
        "database_unavailable": "The database is not reachable; try again.",
        "busy": "Too many changes of the same data at once; repeat.",
    },
}
"""What routes answer in common: the codes by status, each with the sentence of its example."""

EXAMPLE_FAULT = FieldError("/name", "required", "Field required")


@dataclass(frozen=True)
class Facts:
    """What decides which of the common answers an operation may give."""

    method: str
    marker: Marker
    has_body: bool
    has_path_ids: bool
    has_parameters: bool
    is_limited: bool

    @property
    def is_write(self) -> bool:
        return self.method in {"post", "put", "patch"} and self.marker.access != "signed"


def complete(responses: dict[str, Any], facts: Facts) -> None:
    """Add the common answers to those that the route declares, and content and headers to all of them."""
    # FastAPI's own 422 has another shape; only what a route declared by `problems()` carries codes.
    if "x-codes" not in responses.get("422", {}):
        responses.pop("422", None)
    common = dict(_common(facts))
    for status in {*map(str, common), *(status for status in responses if status >= "400")}:
        shared = common.get(int(status), [])
        own = responses.get(status, {}).get("x-codes", [])
        if not own and status not in responses and shared == _shared_codes(int(status)):
            responses[status] = {"$ref": f"#/components/responses/{_name(int(status))}"}
        else:
            declared = responses.get(status, {})
            responses[status] = {**declared, **_response(int(status), [*own, *shared])}
            responses[status]["content"].update(declared.get("content", {}))
    for status, response in responses.items():
        if status < "400":
            response.setdefault("headers", {}).update(_success_headers(status, facts))


def _common(facts: Facts) -> Iterator[tuple[int, list[str]]]:
    """The codes of each status that this operation shares with others."""
    is_known = facts.marker.access == "allow"
    for status, applies in {
        400: facts.has_body or is_known,
        401: is_known,
        402: facts.marker.is_key_ok,
        403: is_known,
        404: is_known or facts.has_path_ids,
        409: facts.is_write,
        413: facts.has_body,
        415: facts.has_body,
        422: facts.has_body or facts.has_parameters,
        429: facts.is_limited,
        503: True,
    }.items():
        if applies:
            codes = _shared_codes(status)
            if status == 400 and not facts.has_body:
                codes = ["ambiguous_credentials"]
            if status == 401 and (facts.marker.needs_step_up or facts.marker.permission is not None):
                codes.append("step_up_required")
            if status == 422 and not facts.is_write:
                codes = ["validation_error"]
            yield status, codes


def _shared_codes(status: int) -> list[str]:
    """The codes of the response in `components`; a second check is asked for by some routes only."""
    return [code for code in CODES[status] if code != "step_up_required"]


def shared_responses() -> dict[str, Any]:
    """The common answers, for `components`."""
    return {_name(status): _response(status, _shared_codes(status)) for status in CODES}


def _name(status: int) -> str:
    return phrase(status).title().replace(" ", "").replace("-", "")


def _response(status: int, codes: Sequence[str]) -> dict[str, Any]:
    ordered = list(dict.fromkeys(codes))
    title = phrase(status)
    listed = ", ".join(f"`{code}`" for code in ordered)
    response: dict[str, Any] = {
        "description": f"{title}: {listed}" if listed else title,
        "headers": _problem_headers(status),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {code: {"value": _example(status, code)} for code in ordered},
            }
        },
    }
    if ordered:
        response["x-codes"] = ordered
    return response


def _example(status: int, code: str) -> dict[str, Any]:
    faults = [EXAMPLE_FAULT] if code == "validation_error" else []
    detail = CODES.get(status, {}).get(code, "A sentence that says what to do next.")
    error = AppError(code, detail, errors=faults)
    return {
        **problem(error, instance="/api/orders", request_id=REQUEST_ID),
        "title": phrase(status),
        "status": status,
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def _problem_headers(status: int) -> dict[str, Any]:
    headers = {"X-Request-Id": _reference("RequestId")}
    if status == 401:
        headers["WWW-Authenticate"] = _reference("WwwAuthenticate")
    if status in {409, 429, 503}:
        headers["Retry-After"] = _reference("RetryAfter")
    if status == 429:
        headers["RateLimit"] = _reference("RateLimit")
        headers["RateLimit-Policy"] = _reference("RateLimitPolicy")
    return headers


def _success_headers(status: str, facts: Facts) -> dict[str, Any]:
    headers = {"X-Request-Id": _reference("RequestId")}
    if facts.is_limited:
        headers["RateLimit"] = _reference("RateLimit")
        headers["RateLimit-Policy"] = _reference("RateLimitPolicy")
    if status in {"201", "202"}:
        headers["Location"] = _reference("Location")
    if facts.method == "get" and facts.marker.access == "allow":
        headers["X-Realtime-Cursor"] = _reference("RealtimeCursor")
    if facts.is_write:
        headers["Idempotency-Replayed"] = _reference("IdempotencyReplayed")
    return headers
