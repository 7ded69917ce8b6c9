"""Invariant: every table says whose rows it holds, and the owner leads the keys of owned rows."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ForeignKeyConstraint, PrimaryKeyConstraint, Table, UniqueConstraint

import app.models.registry  # noqa: F401 - every table
from app.models.base import Base, Owned, Personal, Reference, Shared, System

POLICIES = (Owned, Personal, Shared, Reference)

SWEEPS = {
    "audit_exports_expires_at": "The sweep of files that have expired looks at every organisation.",
    "audit_exports_file_id": "The rows of a file that goes.",
    "audit_logs_subject": "A person's own entries, in every organisation.",
    "audit_logs_targets": "A GIN index; the organisation is another condition.",
    "api_keys_created_by": "The keys of a person who goes, in every organisation.",
    "integration_logs_created_at": "Old entries of every organisation are forgotten.",
    "integrations_created_by": "What a person connected who goes, in every organisation.",
    "integrations_failing_due": "The job that refreshes looks at the connections of every organisation.",
    "integrations_refresh_due": "The same, for those that work.",
    "invitations_due": "The sweep that lets invitations expire looks at those of every organisation.",
    "invitations_email_canonical": "The invitations to a person's address.",
    "orders_due": "The sweep that lets orders expire looks at those of every organisation.",
    "orders_search": "A GIN index; the terms begin with the organisation.",
    "ownership_transfers_due": "The same sweep, for transfers.",
    "payment_methods_trials": "Whether a way to pay has had its trial, in whatever organisation.",
    "products_search": "A GIN index; the terms begin with the organisation.",
    "stripe_commands_due": "The sweep of commands looks at those of every organisation.",
    "team_members_user_id": "The organisations of a person.",
    "webhook_attempts_loose": "Old pings and tests of every organisation are forgotten.",
    "webhook_deliveries_created_at": "Old deliveries of every organisation are forgotten.",
    "webhook_deliveries_due": "The sweep for lost workers looks at deliveries of every organisation.",
    "usage_events_expired": "The sweep of reservations that nobody confirmed looks at every organisation.",
}
"""Indexes of owned tables that the organisation does not lead, and why; none of them is unique."""

FINDERS = {"api_keys_key_hash_key": "A key is looked up before anybody knows whose it is."}
"""Unique constraints of owned tables that the organisation does not lead, and why."""


def models() -> list[type[Any]]:
    return [mapper.class_ for mapper in Base.registry.mappers]


def owned_tables() -> list[Table]:
    owned = [mapper for mapper in Base.registry.mappers if issubclass(mapper.class_, Owned)]
    return [mapper.local_table for mapper in owned if isinstance(mapper.local_table, Table)]


def leads(columns: Any) -> bool:
    names = [getattr(column, "name", None) for column in columns]
    return names[:1] == ["organization_id"]


def test_policies_when_every_table_is_asked() -> None:
    assert len(models()) > 25
    wrong = [
        f"{model.__name__} has {len(found)} row policies: give it one of Owned, Personal, Shared, Reference"
        for model in models()
        if len(found := [policy for policy in POLICIES if issubclass(model, policy)]) != 1
    ]
    assert not wrong, "\n".join(wrong)


def test_tables_when_they_are_compared_with_the_classes() -> None:
    mapped = {model.__tablename__ for model in models()}
    bare = set(Base.metadata.tables) - mapped
    assert not bare, f"{bare} have no class and so no row policy: declare a mapped class"


def test_shared_rows_when_their_class_does_not_say_who_sees_them() -> None:
    shared = [model for model in models() if issubclass(model, Shared) and not issubclass(model, System)]
    assert len(shared) >= 3
    wrong = [
        f"{model.__name__} is Shared: override visible(), or make it System"
        for model in shared
        if model.visible.__func__ is Shared.visible.__func__  # type: ignore[attr-defined]
    ]
    assert not wrong, "\n".join(wrong)


def test_keys_when_a_table_is_owned() -> None:
    assert len(owned_tables()) > 15
    wrong = [
        f"{constraint.name} of {table.name}: put organization_id first"
        for table in owned_tables()
        for constraint in table.constraints
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint)
        and not leads(constraint.columns)
        and constraint.name not in FINDERS
    ]
    strays = [
        (table, index) for table in owned_tables() for index in table.indexes if not leads(index.expressions)
    ]
    wrong += [
        f"{index.name} of {table.name}: put organization_id first, or add it to SWEEPS"
        for table, index in strays
        if index.unique or index.name not in SWEEPS
    ]
    unused = set(SWEEPS) - {index.name for _, index in strays}
    wrong += [f"{name} stands in SWEEPS and is no such index: take it out" for name in unused]
    assert not wrong, "\n".join(wrong)


def references(table: Table) -> Iterator[tuple[ForeignKeyConstraint, Table]]:
    for constraint in table.foreign_key_constraints:
        yield constraint, constraint.referred_table


def test_references_when_both_tables_are_owned() -> None:
    owned = set(owned_tables())
    found = [
        (table, constraint) for table in owned for constraint, target in references(table) if target in owned
    ]
    assert len(found) > 10
    wrong = [
        f"{constraint.name} of {table.name}: declare it with owned_reference(), which adds organization_id"
        for table, constraint in found
        if ("organization_id", "organization_id")
        not in [(element.parent.name, element.column.name) for element in constraint.elements]
        or not constraint.deferrable
        or constraint.initially != "IMMEDIATE"
    ]
    assert not wrong, "\n".join(wrong)


def test_unowned_tables_when_they_point_at_owned_rows() -> None:
    """A reference from outside must name the owner too, or it would join two organisations."""
    owned = set(owned_tables())
    wrong = [
        f"{constraint.name} of {table.name}: reference (organization_id, id)"
        for table in Base.metadata.tables.values()
        for constraint, target in references(table)
        if target in owned and len(constraint.elements) < 2
    ]
    assert not wrong, "\n".join(wrong)


def test_search_when_the_owner_does_not_lead() -> None:
    roles = Base.metadata.tables["team_roles"]
    assert leads(roles.primary_key.columns)
    assert not leads([roles.c.id, roles.c.organization_id])
