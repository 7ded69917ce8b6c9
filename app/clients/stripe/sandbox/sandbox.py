"""The sandbox as one thing: it answers requests, and its controls change what it will do."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from app.clients.stripe.sandbox.server import Answer, Request, serve
from app.clients.stripe.sandbox.state import State
from app.clients.stripe.sandbox.store import Document, FileStore, Store
from app.core.config import Settings

Result = TypeVar("Result")

FILE_NAME = "stripe-sandbox.json"


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
        """Answer a request of the wire."""
        return await self.change(partial(serve, request=request))

    async def webhook_secret(self) -> str:
        """The secret that signs this sandbox's webhooks."""
        return await self.change(lambda state: str(state.document["webhook_secret"]))


def open_sandbox(settings: Settings) -> Sandbox:
    """The sandbox of this machine, whose document lies in DATA_DIR."""
    return Sandbox(FileStore(settings.data_dir / FILE_NAME), f"{settings.api_url}/sandbox/stripe")
