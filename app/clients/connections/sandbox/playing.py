"""Owns what the services of the sandbox answer to programs, in the words of the real ones."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.clients.connections.registry import OAUTH
from app.clients.connections.sandbox.secrets import ACCESS, CODE, REFRESH, SANDBOX_CLIENT, end, make, read
from app.core.crypto import encode_base64url

LIFE: dict[str, int | None] = {
    "slack": 43_200,
    "google_drive": 3599,
    "google_analytics": 3599,
    "figma": 7_776_000,
    "hubspot": 1800,
    "stripe": None,
    "shopify": 3600,
}
"""Seconds for which each service's tokens are good; None: until somebody takes them back."""

ROTATING = frozenset({"slack", "shopify"})
"""Their refresh tokens are good once."""

GOOGLE = frozenset({"google_drive", "google_analytics"})

SOON_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRequest:
    """A request to a service. `path` is what follows `/sandbox/oauth/`; names of headers are lower-case."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SandboxAnswer:
    """Its answer: `body` is JSON, or text that is none."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        """The body as bytes."""
        if self.status == 204:
            return b""
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


NO_SUCH = SandboxAnswer(404, {"error": "not_found"})
DOWN = SandboxAnswer(503, "down")
LIMITED = SandboxAnswer(429, {"error": "rate_limited"}, {"retry-after": "30"})


def answer(request: SandboxRequest) -> SandboxAnswer:
    """What the service answers; 404 for what none of them has."""
    service, _, rest = request.path.partition("/")
    if service not in OAUTH:
        return NO_SUCH
    if service == "shopify":
        rest = rest.partition("/")[2]
    operation, _, argument = rest.partition("/")
    match request.method, operation:
        case "POST", "token" | "refresh":
            return _token(service, operation, request)
        case "GET", "identify":
            return _identity(service, argument or _bearer(request))
        case (("GET" | "POST"), "test"):
            return _tested(service, _bearer(request))
        case (("POST" | "DELETE"), "revoke"):
            return _revoked(service, argument, request)
    return NO_SUCH


def _token(service: str, operation: str, request: SandboxRequest) -> SandboxAnswer:
    if not _is_client(service, request):
        return _refusal(service, "invalid_client")
    is_refresh = request.form.get("grant_type") == "refresh_token"
    # Figma alone has an address for refreshes, and takes them nowhere else.
    if (operation == "refresh") != (is_refresh and service == "figma"):
        return _refusal(service, "unsupported_grant_type")
    if is_refresh:
        return _refreshed(service, request.form.get("refresh_token", ""))
    return _exchanged(service, request.form)


def _exchanged(service: str, form: Mapping[str, str]) -> SandboxAnswer:
    facts = read(CODE, form.get("code", ""))
    if facts is None or facts["service"] != service or form.get("redirect_uri") != facts["redirect_uri"]:
        return _refusal(service, "code")
    if OAUTH[service].has_pkce and not _proves(form.get("code_verifier", ""), facts["challenge"]):
        return _refusal(service, "code")
    end(form["code"])
    match facts["behaves"]:
        case "exchange_refused":
            return _refusal(service, "code")
        case "exchange_down":
            return DOWN
        case "exchange_nonsense":
            return SandboxAnswer(200, "<p>Please come back later</p>")
    return SandboxAnswer(200, _tokens(service, facts, is_first=True))


def _refreshed(service: str, token: str) -> SandboxAnswer:
    facts = read(REFRESH, token)
    if facts is None or facts["service"] != service or facts["behaves"] == "refresh_gone":
        return _refusal(service, "refresh")
    if facts["behaves"] == "refresh_down":
        return DOWN
    if facts["behaves"] == "refresh_limited":
        return LIMITED
    if service in ROTATING:
        end(token)
    return SandboxAnswer(200, _tokens(service, facts, is_first=False))


def _tokens(service: str, facts: Mapping[str, Any], *, is_first: bool) -> dict[str, Any]:
    """The answer of a token address, in the service's own shape."""
    kept = {name: facts[name] for name in ("service", "grant", "account", "label", "scopes", "behaves")}
    life = LIFE[service]
    if facts["behaves"] == "expires_soon" and is_first:
        life = SOON_SECONDS
    made: dict[str, Any] = {"access_token": make(ACCESS, kept, seconds=life), "token_type": "bearer"}
    if life is not None and facts["behaves"] != "expiry_unknown":
        made["expires_in"] = life
    if (is_first or service in ROTATING) and facts["behaves"] != "no_refresh_token":
        made["refresh_token"] = make(REFRESH, kept, seconds=None)
    separator = OAUTH[service].scope_separator
    match service:
        case "slack":
            team = {"id": facts["account"], "name": facts["label"]}
            made |= {"ok": True, "token_type": "bot", "team": team, "scope": separator.join(facts["scopes"])}
        case "stripe":
            made |= {"stripe_user_id": facts["account"], "livemode": False, "scope": facts["scopes"][0]}
        case "google_drive" | "google_analytics" | "shopify":
            made["scope"] = separator.join(facts["scopes"])
    return made


def _identity(service: str, token: str) -> SandboxAnswer:
    facts = _of_token(service, token)
    if facts is None:
        return _refusal(service, "token")
    name = f"{facts['label']}.example"
    if service in GOOGLE:
        return SandboxAnswer(200, {"sub": facts["account"], "email": f"somebody@{name}"})
    if service == "hubspot":
        hub = {"hub_id": int(facts["account"]), "hub_domain": name, "scopes": facts["scopes"]}
        return SandboxAnswer(200, hub)
    return SandboxAnswer(200, {"id": facts["account"], "handle": facts["label"], "email": f"x@{name}"})


def _tested(service: str, token: str) -> SandboxAnswer:
    facts = _of_token(service, token)
    if facts is None or facts["behaves"] == "test_refused":
        return _refusal(service, "token")
    return SandboxAnswer(200, {"ok": True, "id": facts["account"]})


def _revoked(service: str, argument: str, request: SandboxRequest) -> SandboxAnswer:
    if service == "stripe":
        is_platform = _bearer(request) == SANDBOX_CLIENT
        return (
            SandboxAnswer(200, {"stripe_user_id": request.form.get("stripe_user_id")})
            if is_platform
            else NO_SUCH
        )
    token = argument or request.form.get("token") or _bearer(request)
    facts = read(ACCESS, token) or read(REFRESH, token)
    if facts is None or facts["service"] != service:
        return (
            SandboxAnswer(400, {"error": "invalid_token"})
            if service in GOOGLE
            else _refusal(service, "token")
        )
    if facts["behaves"] == "revoke_down":
        return DOWN
    end(facts["grant"])
    return SandboxAnswer(204 if service == "hubspot" else 200, {"ok": True, "revoked": True})


def _of_token(service: str, token: str) -> dict[str, Any] | None:
    facts = read(ACCESS, token)
    return facts if facts is not None and facts["service"] == service else None


def _refusal(service: str, fault: str) -> SandboxAnswer:
    """An error in the service's own words: of the client, a code, a refresh token or an access token."""
    if service == "slack":
        words = {"code": "invalid_code", "refresh": "invalid_refresh_token", "token": "token_revoked"}
        return SandboxAnswer(200, {"ok": False, "error": words.get(fault, fault)})
    if service == "hubspot":
        words = {"code": "BAD_AUTH_CODE", "refresh": "BAD_REFRESH_TOKEN", "token": "EXPIRED_AUTHENTICATION"}
        status = 401 if fault == "token" else 400
        return SandboxAnswer(status, {"status": words.get(fault, fault), "message": "not good"})
    if fault == "token":
        return SandboxAnswer(401, {"error": "invalid_token"})
    return SandboxAnswer(400, {"error": "invalid_grant" if fault in ("code", "refresh") else fault})


def _is_client(service: str, request: SandboxRequest) -> bool:
    if service == "figma":
        pair = base64.b64encode(f"{SANDBOX_CLIENT}:{SANDBOX_CLIENT}".encode()).decode()
        return request.headers.get("authorization") == f"Basic {pair}"
    sent = (request.form.get("client_id"), request.form.get("client_secret"))
    return sent == (SANDBOX_CLIENT, SANDBOX_CLIENT)


def _bearer(request: SandboxRequest) -> str:
    shop = request.headers.get("x-shopify-access-token")
    return shop or request.headers.get("authorization", "").removeprefix("Bearer ")


def _proves(verifier: str, challenge: str) -> bool:
    digest = encode_base64url(hashlib.sha256(verifier.encode()).digest())
    return hmac.compare_digest(digest.encode(), challenge.encode())
