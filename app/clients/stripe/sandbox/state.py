"""One request's view of the document: objects by id, the time, timers and the log of events."""

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import stripe
from pydantic_core import from_json, to_json

from app.clients.stripe.sandbox.errors import missing
from app.clients.stripe.sandbox.store import Document
from app.core import clock

Object = dict[str, Any]
"""An object as Stripe sends it; names that begin with `_` stay inside."""

DAY = 86_400
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def new_id(prefix: str) -> str:
    """An id in Stripe's form; `_sbx` tells that it was never at Stripe."""
    return f"{prefix}_sbx{''.join(secrets.choice(_ALPHABET) for _ in range(18))}"


def copied(value: Any) -> Any:
    """A deep copy of JSON."""
    return from_json(to_json(value))


def shown(value: Any) -> Any:
    """A deep copy without what stays inside."""
    if isinstance(value, dict):
        return {name: shown(item) for name, item in value.items() if not name.startswith("_")}
    return [shown(item) for item in value] if isinstance(value, list) else value


class State:
    """The document while one request, or one due timer, works on it."""

    def __init__(self, document: Document, base_url: str) -> None:
        if not document:
            document.update(
                version=1,
                offset=0,
                webhook_secret=f"whsec_{secrets.token_hex(24)}",
                objects={},
                timers=[],
                idempotency={},
                faults=[],
                counters={},
                settings={},
            )
        self.document = document
        self.base_url = base_url
        self.now: int = self.real_now + document["offset"]
        self.request_id: str | None = None
        self.idempotency_key: str | None = None

    @property
    def real_now(self) -> int:
        """Unix seconds without the offset: sessions of checkout and signatures live in real time."""
        return int(clock.now().timestamp())

    @property
    def objects(self) -> dict[str, Object]:
        """Every object by its id, oldest first."""
        return self.document["objects"]  # type: ignore[no-any-return]  # JSON of our own

    def create(self, kind: str, prefix: str, **fields: Any) -> Object:
        """A new object of a kind, such as `payment_intent`, with the names that all objects have."""
        made: Object = {
            "id": new_id(prefix),
            "object": kind,
            "created": self.now,
            "livemode": False,
            "metadata": {},
            **fields,
        }
        self.objects[made["id"]] = made
        return made

    def find(self, kind: str, identifier: str | None) -> Object | None:
        """The object of this kind and id, unless it was deleted."""
        found = self.objects.get(identifier or "")
        return found if found and found["object"] == kind and not found.get("deleted") else None

    def get(self, kind: str, identifier: str | None, param: str | None = None) -> Object:
        """The object of this kind; refuses like Stripe, with 404 for a path and 400 for a parameter."""
        found = self.find(kind, identifier)
        if found is None:
            raise missing(kind, identifier or "", param or "id", 400 if param else 404)
        return found

    def all(self, kind: str, *, where: Callable[[Object], bool] | None = None) -> Iterator[Object]:
        """Every object of a kind, newest first."""
        for item in reversed(list(self.objects.values())):
            if item["object"] == kind and not item.get("deleted") and (where is None or where(item)):
                yield item

    def number(self, name: str) -> int:
        """The next number of a series, from 1."""
        counters = self.document["counters"]
        counters[name] = counters.get(name, 0) + 1
        return int(counters[name])

    def emit(self, event_type: str, item: Object, previous: Object | None = None) -> Object:
        """Append an event about an object as it is now; `previous` are its former attributes."""
        data: Object = {"object": shown(item)}
        if previous is not None:
            data["previous_attributes"] = shown(previous)
        event = self.create(
            "event",
            "evt",
            account=None,
            api_version=stripe.api_version,
            context=None,
            data=data,
            pending_webhooks=1,
            request={"id": self.request_id, "idempotency_key": self.idempotency_key},
            type=event_type,
            _delivery={"attempts": 0, "next_at": self.real_now, "done": False},
        )
        # An event carries no metadata of its own, and its address at Connect only for other accounts.
        for name in ("metadata", "account", "context"):
            del event[name]
        return event

    def update(self, item: Object, event_type: str, **changes: Any) -> Object:
        """Change attributes, and append an event when something did change."""
        previous = {
            name: copied(item.get(name)) for name, value in changes.items() if item.get(name) != value
        }
        item.update(changes)
        if previous:
            self.emit(event_type, item, previous)
        return item

    def schedule(self, at: int, action: str, identifier: str) -> None:
        """Let the timer `action` run on an object at a time; see `clock.timer`."""
        self.document["timers"].append({"at": at, "action": action, "id": identifier})
