"""The server of the wire format: forms in, JSON out, with Stripe's errors and idempotency keys."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import stripe
from pydantic_core import from_json, to_json

from app.clients.stripe.sandbox import operations
from app.clients.stripe.sandbox.clock import run_due
from app.clients.stripe.sandbox.errors import SandboxError
from app.clients.stripe.sandbox.forms import Params, decode
from app.clients.stripe.sandbox.state import DAY, Object, State, new_id
from app.clients.stripe.sandbox.views import expanded

KEYS_KEPT_SECONDS = DAY
MAX_KEY_LENGTH = 255


@dataclass(frozen=True)
class Request:
    """A request of the wire: `form` is the body of a POST and the query of everything else."""

    method: str
    path: str
    form: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names are in small letters."""


@dataclass(frozen=True)
class Answer:
    """An answer of the wire."""

    status: int
    body: bytes
    headers: dict[str, str]


def serve(state: State, request: Request) -> Answer:
    """Answer one request on the state; a refusal leaves the state as it was."""
    state.request_id = new_id("req")
    run_due(state)
    key = request.headers.get("idempotency-key") if request.method == "POST" else None
    headers = {
        "content-type": "application/json",
        "request-id": state.request_id,
        "stripe-version": request.headers.get("stripe-version", stripe.api_version),
    }
    if key:
        state.idempotency_key = headers["idempotency-key"] = key
    try:
        _authenticate(request)
        if key and (known := _remembered(state, key, request)):
            return Answer(known["status"], known["body"].encode(), {**headers, "idempotent-replayed": "true"})
    except SandboxError as refusal:
        return Answer(refusal.status, to_json(refusal.body), headers)
    before = to_json(state.document)
    remember = True
    try:
        values = decode(request.form)
        expand = Params(values).texts("expand")
        found = operations.dispatch(state, request.method, request.path, values)
        status, body = 200, expanded(state, found, expand)
    except SandboxError as refusal:
        status, body, remember = refusal.status, refusal.body, refusal.is_remembered
        if not refusal.keep:
            _restore(state, before)
    content = to_json(body)
    if key and remember:
        state.document["idempotency"][key] = {
            "at": state.real_now,
            "asked": _fingerprint(request),
            "status": status,
            "body": content.decode(),
        }
    return Answer(status, content, headers)


def _authenticate(request: Request) -> None:
    """Any test key will do; a request without one is refused as Stripe refuses it."""
    if not request.headers.get("authorization", "").startswith(("Bearer sk_test_", "Basic c2tfdGVzdF")):
        raise SandboxError(
            401,
            "invalid_request_error",
            "You did not provide an API key. You need to provide your API key in the Authorization header.",
        )


def _remembered(state: State, key: str, request: Request) -> Object | None:
    """The answer that was given to this key; other parameters under the same key are refused."""
    kept = state.document["idempotency"]
    for old in [name for name, entry in kept.items() if entry["at"] < state.real_now - KEYS_KEPT_SECONDS]:
        del kept[old]
    if len(key) > MAX_KEY_LENGTH:
        raise SandboxError(400, "invalid_request_error", "Idempotency keys have at most 255 characters.")
    entry: dict[str, Any] | None = kept.get(key)
    if entry and entry["asked"] != _fingerprint(request):
        raise SandboxError(
            400,
            "idempotency_error",
            "Keys for idempotent requests can only be used with the same parameters they were first used "
            f"with. Try using a key other than '{key}' if you meant to execute a different request.",
        )
    return entry


def _fingerprint(request: Request) -> str:
    return hashlib.sha256(f"{request.path}\n{request.form}".encode()).hexdigest()


def _restore(state: State, before: bytes) -> None:
    """Undo what a refused request has changed."""
    state.document.clear()
    state.document.update(from_json(before))
