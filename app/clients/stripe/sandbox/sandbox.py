"""The sandbox as one thing: it answers requests, and its controls change what it will do."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from app.clients.stripe.sandbox.faults import Fault, take_request_fault
from app.clients.stripe.sandbox.server import Answer, Request, serve
from app.clients.stripe.sandbox.state import State
from app.clients.stripe.sandbox.store import Document, FileStore, Store
from app.core.config import Settings

Result = TypeVar("Result")

FILE_NAME = "stripe-sandbox.json"


class NoAnswer(Exception):
    """The request was lost, or its answer was."""


SPOILED = {
    "http_500": (500, b'{"error": {"type": "api_error", "message": "An unknown error occurred."}}'),
    "http_503": (503, b'{"error": {"type": "api_error", "message": "Stripe is overloaded."}}'),
    "rate_limited": (
        429,
        b'{"error": {"type": "invalid_request_error", "code": "rate_limit", "message": "Slow down."}}',
    ),
    "not_json": (200, b"<html><body>Please come back later</body></html>"),
}


def spoiled(fault: Fault) -> Answer | None:
    """What is answered in place of doing anything; None where no answer arrives."""
    if fault.name not in SPOILED:
        return None
    status, body = SPOILED[fault.name]
    return Answer(status, body, {"content-type": "application/json", "request-id": "req_sbxFault"})


class Sandbox:
    """A small Stripe over a store; `base_url` is where its pages are."""

    def __init__(self, store: Store, base_url: str) -> None:
        self._store = store
        self.base_url = base_url

    async def change(self, work: Callable[[State], Result]) -> Result:
        """Run `work` on the state; an exception leaves the state as it was."""

        def on_document(document: Document) -> Result:
            return work(State(document, self.base_url))

        return await self._store.change(on_document)

    async def request(self, request: Request) -> Answer:
        """Answer a request of the wire. Raises NoAnswer when a fault says that none arrives."""

        def work(state: State) -> tuple[Fault | None, Answer | None]:
            fault = take_request_fault(state, request.method, request.path)
            if fault is not None and fault.name not in {"timeout_after", "slow"}:
                return fault, spoiled(fault)
            return fault, serve(state, request)

        fault, answer = await self.change(work)
        if fault is not None and fault.name == "slow":
            await asyncio.sleep(fault.seconds)
        if answer is None or (fault is not None and fault.name == "timeout_after"):
            raise NoAnswer("connection_reset" if fault and fault.name == "connection_reset" else "timeout")
        return answer

    async def webhook_secret(self) -> str:
        """The secret that signs this sandbox's webhooks."""
        return await self.change(lambda state: str(state.document["webhook_secret"]))


def open_sandbox(settings: Settings) -> Sandbox:
    """The sandbox of this machine, whose document lies in DATA_DIR."""
    return Sandbox(FileStore(settings.data_dir / FILE_NAME), f"{settings.api_url}/sandbox/stripe")
