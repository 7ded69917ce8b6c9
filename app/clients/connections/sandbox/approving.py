"""Owns what the sandbox's page of approval leads to: a code for the chosen account, or a refusal."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from app.clients.connections.sandbox.secrets import CODE, CODE_SECONDS, SANDBOX_CLIENT, make
from app.clients.connections.shopify import signature_of
from app.core import clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """What a person decided on the page, and what the page was asked."""

    service: str
    shop: str | None
    client_id: str
    redirect_uri: str
    scope: str
    state: str
    code_challenge: str
    account: str
    behaves: str
    is_approved: bool


def judge_question(client_id: str, redirect_uri: str, *, callback: str) -> bool:
    """Whether the real service would take this question: of a client it knows, with its own way back."""
    return client_id == SANDBOX_CLIENT and redirect_uri == callback


def approve(approval: Approval) -> str:
    """Where the browser goes back to."""
    if not approval.is_approved:
        return _back(approval, {"error": "access_denied", "state": approval.state})
    scopes = approval.scope.replace(",", " ").split()
    facts = {
        "service": approval.service,
        "grant": secrets.token_hex(8),
        "account": account_id(approval.service, approval.account, approval.shop),
        "label": approval.account,
        "scopes": scopes[:1] if approval.behaves == "fewer_scopes" else scopes,
        "behaves": approval.behaves,
        "challenge": approval.code_challenge,
        "redirect_uri": approval.redirect_uri,
    }
    return _back(approval, {"code": make(CODE, facts, seconds=CODE_SECONDS), "state": approval.state})


def account_id(service: str, name: str, shop: str | None) -> str:
    """The same name is the same account; the id looks like one of the real service."""
    number = int.from_bytes(hashlib.sha256(f"{service}:{name}".encode()).digest(), "big")
    match service:
        case "slack":
            return f"T{number % 36**8:010d}"
        case "stripe":
            return f"acct_{number % 10**16:016d}"
        case "shopify":
            return shop or ""
        case "google_drive" | "google_analytics":
            return str(10**20 + number % 10**20)
        case _:
            return str(10**7 + number % 10**8)


def _back(approval: Approval, answer: Mapping[str, str]) -> str:
    query = dict(answer)
    if approval.service == "shopify":
        query |= {"shop": approval.shop or "", "timestamp": str(int(clock.now().timestamp()))}
        query["hmac"] = signature_of(SANDBOX_CLIENT, query.items())
    return f"{approval.redirect_uri}?{urlencode(query)}"
