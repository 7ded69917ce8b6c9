"""Invariant: every event is a fact that somebody hears of, under a name for good, and survives being JSON."""

import ast
import dataclasses
import json
import re
import types
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import pytest
from pydantic import TypeAdapter

from app.core.events import MAX_PAYLOAD, REGISTRY, Event
from app.jobs.app import load_areas
from app.jobs.handlers import HANDLERS
from app.services.realtime.expanding import LOADERS
from tests.invariants.source import sources

TYPE = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+")

TYPES = {
    "access.denied",
    "api_key.created",
    "api_key.expiring",
    "api_key.revoked",
    "api_key.rotated",
    "api_key.updated",
    "audit.checkpoint_signed",
    "audit.export_requested",
    "audit.exported",
    "audit.pruned",
    "audit.read",
    "audit.verified",
    "auth.backup_code_used",
    "auth.confirmation_requested",
    "auth.confirmation_resend_requested",
    "auth.locked",
    "auth.magic_link_asked",
    "auth.magic_link_requested",
    "auth.mfa_failed",
    "auth.password_reset_asked",
    "auth.password_reset_requested",
    "auth.sign_in_failed",
    "auth.signed_in",
    "auth.signed_out",
    "auth.signed_up",
    "auth.signup_repeated",
    "auth.step_up_requested",
    "auth.stepped_up",
    "discount.created",
    "discount.deleted",
    "discount.updated",
    "integration.connected",
    "integration.disconnected",
    "integration.needs_reauth",
    "email.credentials_rejected",
    "email.failed",
    "email.retry_requested",
    "email.sent",
    "email.test_requested",
    "email_suppression.updated",
    "email_template.updated",
    "invoice.created",
    "invoice.paid",
    "invoice.payment_action_required",
    "invoice.payment_failed",
    "invoice.recovered",
    "invoice.upcoming",
    "invoice.voided",
    "notification.all_read",
    "notification.created",
    "notification.deleted",
    "notification.read",
    "notification.test_requested",
    "order.cancelled",
    "order.completed",
    "order.created",
    "order.delivered",
    "order.disputed",
    "order.expired",
    "order.money_inconsistent",
    "order.oversold",
    "order.paid",
    "order.payment_action_required",
    "order.payment_failed",
    "order.payment_held",
    "order.processing",
    "order.refund_failed",
    "order.refunded",
    "order.returned",
    "order.shipped",
    "order.track_requested",
    "order.updated",
    "organization.created",
    "organization.deleted",
    "organization.purged",
    "organization.restored",
    "organization.security_updated",
    "organization.updated",
    "payment_method.added",
    "payment_method.removed",
    "payment_method.setup_failed",
    "plan_grant.created",
    "plan_grant.ended",
    "privacy.consent_given",
    "privacy.consent_withdrawn",
    "product.created",
    "product.deleted",
    "product.out_of_stock",
    "product.stock_low",
    "product.updated",
    "push_subscription.removed",
    "session.refresh_replayed",
    "session.refresh_reused",
    "session.revoked",
    "stock.drift_detected",
    "stripe.catalog_drift",
    "stripe.command_failed",
    "stripe.customer_conflict",
    "stripe.difference_found",
    "stripe.event_dead",
    "subscription.access_changed",
    "subscription.canceled",
    "subscription.created",
    "subscription.duplicate_refunded",
    "subscription.past_due",
    "subscription.trial_ending",
    "subscription.updated",
    "team.invitation_cancelled",
    "team.invitation_declined",
    "team.invitation_expired",
    "team.invitation_resent",
    "team.limit_reached",
    "team.member_activated",
    "team.member_invited",
    "team.member_joined",
    "team.member_left",
    "team.member_removed",
    "team.member_role_changed",
    "team.member_suspended",
    "team.ownership_cancelled",
    "team.ownership_declined",
    "team.ownership_requested",
    "team.ownership_transferred",
    "team.role_created",
    "team.role_deleted",
    "team.role_updated",
    "team.sessions_ended",
    "usage.threshold_reached",
    "user.avatar_removed",
    "user.avatar_updated",
    "user.backup_codes_regenerated",
    "user.email_change_prepared",
    "user.email_change_requested",
    "user.email_change_undone",
    "user.email_changed",
    "user.email_confirmed",
    "user.identity_linked",
    "user.identity_unlinked",
    "user.password_changed",
    "user.password_reset",
    "user.password_set",
    "user.profile_updated",
    "user.reinstated",
    "user.suspended",
    "user.two_factor_disabled",
    "user.two_factor_enabled",
    "user.two_factor_started",
    "user.updated",
    "webhook_delivery.exhausted",
    "webhook_delivery.retry_requested",
    "webhook_endpoint.created",
    "webhook_endpoint.deleted",
    "webhook_endpoint.disabled",
    "webhook_endpoint.enabled",
    "webhook_endpoint.failing",
    "webhook_endpoint.paused",
    "webhook_endpoint.recovered",
    "webhook_endpoint.secret_revealed",
    "webhook_endpoint.updated",
}
"""What the catalogue of events names and the service emits. A name is never used again for something else."""

UNHEARD = {
    "email.credentials_rejected": "Monitoring will raise an alert from the log.",
    "email.failed": "Analytics will count mails from the log.",
    "email.sent": "Analytics will count mails from the log.",
    "order.money_inconsistent": "Monitoring will raise an alert from the log.",
    "stock.drift_detected": "Monitoring will raise an alert from the log.",
    "stripe.catalog_drift": "Monitoring will raise an alert from the log.",
    "stripe.command_failed": "Monitoring will raise an alert from the log.",
    "stripe.customer_conflict": "Monitoring will raise an alert from the log.",
    "stripe.difference_found": "Monitoring will raise an alert from the log.",
    "stripe.event_dead": "Monitoring will raise an alert from the log.",
}
"""Internal events that no handler waits for, and who will."""

load_areas()

EVENTS: list[type[Event]] = sorted(
    (event for event in REGISTRY.values() if event.__module__.startswith("app.")),
    key=lambda event: event.type,
)


def named(event: type[Event]) -> str:
    return event.type


def test_types_when_they_are_compared_with_the_catalogue() -> None:
    found = {event.type for event in EVENTS}
    assert len(found) > 20
    assert found <= TYPES, f"{sorted(found - TYPES)}: add them to TYPES as the catalogue writes them"
    assert found >= TYPES, (
        f"{sorted(TYPES - found)}: no class has these types any more; a type is never removed"
    )
    wrong = [name for name in found if not TYPE.fullmatch(name) or len(name) > 64]
    assert not wrong, f"{wrong}: a type is `thing.happened` in lower case, at most 64 characters"


def test_modules_when_events_are_declared() -> None:
    wrong = [
        f"{event.__qualname__} stands in {event.__module__}: events stand in app/services/<area>/events.py,"
        " or in the `events.py` of a package in it"
        for event in EVENTS
        if not re.fullmatch(r"app\.services\.\w+(?:\.\w+)?\.events(?:\.\w+)?", event.__module__)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("event", EVENTS, ids=named)
def test_class_when_it_is_declared(event: type[Event]) -> None:
    parameters = event.__dataclass_params__  # type: ignore[attr-defined]
    assert parameters.frozen, "an event is a fact: @dataclass(frozen=True, kw_only=True)"
    assert all(field.kw_only for field in dataclasses.fields(event)), "@dataclass(frozen=True, kw_only=True)"
    fields = {field.name for field in dataclasses.fields(event)}
    assert "token_id" not in fields, "whoever reads an event must not learn of tokens: pass it as private"
    assert event.description.endswith("."), "describe the event in a sentence, for customers"
    if event.subject:
        assert event.subject[1] in fields, f"its subject is the field {event.subject[1]}, which it has not"
    if event.audience == "organization":
        assert event.read_permission, "nobody may read it: give it a read_permission"
    if event.webhook:
        assert event.audience == "organization", "webhooks belong to an organisation: give it that audience"


def test_handlers_when_events_name_them() -> None:
    wanted = {name for event in EVENTS for name in event.handlers}
    assert wanted
    assert wanted <= set(HANDLERS), f"register {sorted(wanted - set(HANDLERS))} with @handler in app/jobs"
    assert set(HANDLERS) <= wanted, f"no event names the handlers {sorted(set(HANDLERS) - wanted)}"


def test_representations_when_events_name_them() -> None:
    shown = {event.expand: event for event in EVENTS if event.expand}
    assert shown.keys() == LOADERS.keys(), "load what `expand` names in a `representations.py`"
    wrong = [
        event.__qualname__
        for name, event in shown.items()
        if f"{name}_id" not in {field.name for field in dataclasses.fields(event)}
    ]
    assert not wrong, f"{wrong}: what is shown is found by the field `<expand>_id`"


def test_audience_when_nobody_handles_an_event() -> None:
    """Streams and webhooks carry the others; an internal event without a handler is heard by nobody."""
    lost = {event.type for event in EVENTS if event.audience == "internal" and not event.handlers}
    assert lost <= set(UNHEARD), f"{sorted(lost - set(UNHEARD))} are heard by nobody: name a handler"
    assert set(UNHEARD) <= lost, f"{sorted(set(UNHEARD) - lost)} are heard now: take them out of UNHEARD"


def test_classes_when_nothing_emits_them() -> None:
    used = {
        node.id
        for source in sources()
        for node in source.nodes
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    idle = [event.__qualname__ for event in EVENTS if event.__name__ not in used]
    assert not idle, f"nothing emits {idle}: emit them where they happen, or take them out"


SCALARS: dict[Any, Any] = {
    UUID: UUID("0197a5c2-7d3e-7b1a-9c4f-2e8d6a1b5c3f"),
    str: "é" * 250,
    int: 2**53 - 1,
    bool: True,
    datetime: datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
}


def sample(kind: Any) -> Any:
    """A large value of a field's type."""
    if kind in SCALARS:
        return SCALARS[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return arguments[0]
    if origin in (Union, types.UnionType):
        return sample(next(choice for choice in arguments if choice is not type(None)))
    if origin in (list, tuple, frozenset):
        return origin([sample(arguments[0])] * 3)
    if origin is dict:
        return {"name": "value"}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return kind(**fields_of(kind, sample))
    raise AssertionError(f"{kind} is no JSON value: let the payload hold ids, numbers, texts and lists")


def fields_of(kind: type[Any], value: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: value(hints[field.name]) for field in dataclasses.fields(kind)}


def scarce(kind: Any) -> Any:
    """Null where a field may be, else a value of its type."""
    return None if type(None) in get_args(kind) else sample(kind)


@pytest.mark.parametrize("event", EVENTS, ids=named)
@pytest.mark.parametrize("value", [sample, scarce])
def test_payload_when_it_becomes_json_and_back(event: type[Event], value: Any) -> None:
    fact = event(**fields_of(event, value))
    written = json.dumps(fact.data())
    assert TypeAdapter(event).validate_json(written) == fact
    assert len(written) <= MAX_PAYLOAD


def test_sample_when_a_payload_holds_an_object() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Odd(Event):
        description: ClassVar[str] = "Odd."
        thing: re.Pattern[str]

    with pytest.raises(AssertionError, match="no JSON value"):
        fields_of(Odd, sample)
