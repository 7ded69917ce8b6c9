"""Owns the closed list of what goes wrong with a connection, and our own sentence for each."""

from typing import Any

from app.models.integrations import Integration

OWNER_LEFT = "owner_left"

MESSAGES = {
    "access_denied": "The service was not allowed to connect; connect it again and approve.",
    "scopes_missing": "Fewer rights were granted than are needed; connect again and grant all of them.",
    "exchange_failed": "The service did not complete the connection; connect it again.",
    "refresh_rejected": "The service does not know the grant any more; connect it again.",
    "provider_unavailable": "The service does not answer; it is tried again.",
    "provider_rate_limited": "The service wants fewer requests; it is tried again later.",
    "credentials_rejected": "The service refused the credentials; connect it again.",
    "account_mismatch": "Another account was approved than the one that was connected.",
    "key_unavailable": "The stored credentials cannot be read any more; connect it again.",
    OWNER_LEFT: "Whoever connected it has left; it works until the grant ends. Connect it again.",
}


def failing(code: str) -> dict[str, Any]:
    """The columns of a connection that something is wrong with."""
    return {"error_code": code, "error_message": MESSAGES[code]}


def well(row: Integration) -> dict[str, Any]:
    """The columns of one that works, which may still lack the person who connected it."""
    if row.details.get(OWNER_LEFT) is True:
        return failing(OWNER_LEFT)
    return {"error_code": None, "error_message": None}
