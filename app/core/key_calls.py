"""Owns the requests of API keys that billing has not counted yet, and who has none left in their plan."""

from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.core.errors import PaymentRequired


class KeyCalls:
    """The requests that keys made of this process, by organisation.

    Nothing here waits, so that no request comes between taking and counting.
    """

    def __init__(self) -> None:
        self._counted: Counter[UUID] = Counter()
        self._used_up: dict[UUID, Mapping[str, Any]] = {}

    def count(self, organization_id: UUID) -> None:
        """Count a request. 402 `quota_exceeded` where the last batch found the plan used up."""
        facts = self._used_up.get(organization_id)
        if facts is not None:
            raise PaymentRequired(
                "quota_exceeded",
                "Your plan has no requests by API keys left; choose a larger one, or wait for `resets_at`.",
                **facts,
            )
        self._counted[organization_id] += 1

    def take(self) -> Mapping[UUID, int]:
        """Take what was counted since the last time, 0 for those who had none left then."""
        taken = {**dict.fromkeys(self._used_up, 0), **self._counted}
        self._counted.clear()
        return taken

    def give_back(self, organization_id: UUID, requests: int) -> None:
        """Leave to the next batch what could not be counted."""
        self._counted[organization_id] += requests

    def judge(self, organization_id: UUID, facts: Mapping[str, Any] | None) -> None:
        """Refuse an organisation's keys with these facts from now on, or with None let them in again."""
        if facts is None:
            self._used_up.pop(organization_id, None)
        else:
            self._used_up[organization_id] = facts
