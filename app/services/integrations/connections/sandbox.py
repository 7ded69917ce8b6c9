"""Owns what the sandbox's routes do: judge what they are asked, and let the played service answer."""

from app.clients.connections.registry import OAUTH
from app.clients.connections.sandbox import (
    BEHAVIOURS,
    Approval,
    SandboxAnswer,
    SandboxRequest,
    answer,
    approve,
    judge_question,
)
from app.core.errors import BadRequest, NotFound
from app.schemas.integrations.connections import SandboxDecision, SandboxQuestion
from app.services.integrations.connections.providers import callback_address

__all__ = [
    "BEHAVIOURS",
    "SandboxAnswer",
    "SandboxRequest",
    "answer",
    "decide",
    "judge",
    "read_place",
    "title_of",
]

PAGES = ("authorize", "decide")


def read_place(path: str) -> tuple[str, str | None, str]:
    """Service, shop and what is asked of it, from the rest of an address; 404."""
    service, _, rest = path.partition("/")
    if service not in OAUTH:
        raise NotFound()
    shop, _, operation = rest.partition("/") if service == "shopify" else (None, "", rest)
    return service, shop, operation


def title_of(service: str) -> str:
    """The service's name."""
    return OAUTH[service].title


def judge(service: str, question: SandboxQuestion) -> None:
    """400 for a question that the real service would not take, either."""
    callback = callback_address(service)
    if not judge_question(question.client_id, question.redirect_uri, callback=callback):
        raise BadRequest("token_invalid", "The sandbox knows one client, and sends people back to it only.")


def decide(service: str, shop: str | None, decision: SandboxDecision) -> str:
    """Where the browser goes after the page."""
    judge(service, decision)
    return approve(
        Approval(
            service=service,
            shop=shop,
            client_id=decision.client_id,
            redirect_uri=decision.redirect_uri,
            scope=decision.scope,
            state=decision.state,
            code_challenge=decision.code_challenge,
            account=decision.account,
            behaves=decision.behaves,
            is_approved=decision.decision == "approve",
        )
    )
