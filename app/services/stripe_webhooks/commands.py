"""Owns the registry of what Stripe can be told to do, and the asking for it in a transaction."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from app.clients.stripe import StripeClient, StripeError
from app.core.ids import uuid7
from app.models.stripe_webhooks import StripeCommand
from app.repositories.stripe_webhooks.commands import CommandRepository
from app.services.stripe_webhooks.areas import load_areas

if TYPE_CHECKING:
    from app.core.database import ScopedSession, SystemSession

IN_REQUEST = timedelta(seconds=30)
"""How long the job leaves a command to the request that wrote it."""


class OutcomeUnknown(Exception):
    """Nobody can tell any more whether Stripe has done it, so it is not asked again: a person has to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeCommandRow:
    """A command's values, free of its session. `id` is Stripe's idempotency key."""

    organization_id: UUID
    id: UUID
    kind: str
    subject_type: str
    subject_id: UUID
    params: dict[str, Any]
    status: str
    attempts: int
    first_sent_at: datetime | None
    created_at: datetime
    error: dict[str, Any] | None
    result_id: str | None
    result: dict[str, Any] | None

    @classmethod
    def of(cls, row: StripeCommand) -> "StripeCommandRow":
        """The values of a row."""
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})


class StripeCall(ABC):
    """The base of what is registered with `stripe_command`; `call` is what a kind has to say itself.

    A call that creates an object sends `metadata.command_id` with it (`marked`), so that `find` can tell.
    """

    @abstractmethod
    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        """Call Stripe with `key` as the idempotency key, outside any transaction; answers its object."""

    async def succeeded(  # noqa: B027 - a kind that has nothing to record leaves it as it is
        self, session: "SystemSession", command: StripeCommandRow, result: dict[str, Any]
    ) -> None:
        """Apply what Stripe answered, in the transaction that records it; runs once."""

    async def refused(  # noqa: B027 - a kind for which nothing waits leaves it as it is
        self, session: "SystemSession", command: StripeCommandRow, error: StripeError
    ) -> None:
        """Take back what waited for the call, in the transaction that records the refusal; runs once."""

    async def find(
        self,
        client: StripeClient,  # noqa: ARG002 - those who can tell ask it
        command: StripeCommandRow,
    ) -> dict[str, Any] | None:
        """The effect of an earlier attempt at Stripe, or None when there surely is none.

        Asked when the first attempt was 23 hours ago, since Stripe may have forgotten the key. A kind that
        cannot tell leaves this as it is, and its command fails for a person to look at.
        """
        raise OutcomeUnknown(f"{command.kind} cannot be searched for")

    def resync(
        self,
        command: StripeCommandRow,  # noqa: ARG002 - kinds that name an object read it
        error: StripeError,  # noqa: ARG002 - as above
    ) -> tuple[str, dict[str, Any]] | None:
        """After a refusal: a type of events and a hint (`{"id": …, "object": …}`) of what to fetch and apply.

        `("charge.refunded", {"payment_intent": "pi_…"})` imports every refund of a payment.
        """
        return None


Kind = TypeVar("Kind", bound=type[StripeCall])

_COMMANDS: dict[str, StripeCall] = {}


def stripe_command(kind: str) -> Callable[[Kind], Kind]:
    """Register a subclass of StripeCall for this kind, in a module `stripe_commands` below app.services."""

    def register(handler: Kind) -> Kind:
        if kind in _COMMANDS:
            raise TypeError(f"two classes call {kind}")
        _COMMANDS[kind] = handler()
        return handler

    return register


def command_of(kind: str) -> StripeCall:
    """What is registered for a kind; LookupError when nothing is."""
    load_areas()
    if kind not in _COMMANDS:
        raise LookupError(f"nothing is registered for {kind}")
    return _COMMANDS[kind]


def marked(metadata: dict[str, str], command_id: UUID | str) -> dict[str, str]:
    """Metadata for an object that a command creates, which names the command."""
    return {**metadata, "command_id": str(command_id)}


async def queue_command(
    session: "ScopedSession",
    organization_id: UUID,
    kind: str,
    *,
    subject_type: str,
    subject_id: UUID,
    params: dict[str, Any],
    command_id: UUID | None = None,
    delay: timedelta = timedelta(),
) -> StripeCommandRow:
    """Write a command and its job in the caller's transaction; rolled back means: Stripe is never asked.

    The job begins after `delay` (IN_REQUEST where a request calls by itself). LookupError for a kind that
    nobody has registered. `params` are JSON values that `call` gets; card numbers never stand in them.
    """
    command_of(kind)
    now = await session.now()
    commands = CommandRepository(session)
    row = await commands.add(
        StripeCommand(
            organization_id=organization_id,
            id=command_id or uuid7(),
            kind=kind,
            subject_type=subject_type,
            subject_id=subject_id,
            params=params,
            status="pending",
            attempts=0,
            next_attempt_at=now + delay,
            created_at=now,
        )
    )
    await commands.wake(organization_id, row.id, at=now + delay if delay else None, once=True)
    return StripeCommandRow.of(row)
