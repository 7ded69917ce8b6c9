"""Invariant: every event says what the audit log keeps of it, or why it keeps nothing."""

import dataclasses

import pytest

from app.core.events import REGISTRY, AuditSpec, Event
from app.jobs.app import load_areas

load_areas()

EVENTS: list[type[Event]] = sorted(
    (event for event in REGISTRY.values() if event.__module__.startswith("app.")),
    key=lambda event: event.type,
)
AUDITED = [event for event in EVENTS if isinstance(event.audit, AuditSpec)]


def named(event: type[Event]) -> str:
    return event.type


def test_events_when_they_are_judged() -> None:
    assert len(EVENTS) > 30
    wrong = [
        f"{event.__qualname__}: declare `audit`, an AuditSpec or in a sentence why the log keeps nothing"
        for event in EVENTS
        if not isinstance(event.audit, AuditSpec)
        and not (event.audit.endswith(".") and len(event.audit.split()) >= 4)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("event", AUDITED, ids=named)
def test_spec_when_it_names_fields_of_the_payload(event: type[Event]) -> None:
    spec = event.audit
    assert isinstance(spec, AuditSpec)
    fields = {field.name for field in dataclasses.fields(event)}
    named_fields = {field for _, field in spec.targets}
    named_fields |= {name for name in (spec.subject, spec.changes, spec.actor) if name is not None}
    assert named_fields <= fields, f"{sorted(named_fields - fields)} are no fields of {event.__qualname__}"
