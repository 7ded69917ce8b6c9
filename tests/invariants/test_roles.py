"""Invariant: every route, asked in every built-in role, with ids of its own, of a stranger and of nothing.

What a role may do comes from the registry, and which routes there are from the application.
"""

from typing import Any

import pytest
from httpx import AsyncClient

from app.core.database import SystemSession
from app.core.ids import uuid7
from app.core.permissions import ROLE_PERMISSIONS, Role
from tests.invariants.path_ids import family, names_rows
from tests.invariants.served import Served, guarded
from tests.invariants.test_refusals import is_problem, seen
from tests.support.personas import Persona, make_colleague

Ids = dict[str, Any]


async def both_ids(
    db: SystemSession, owner: Persona, route: Served, made: dict[tuple[str, ...], Ids]
) -> tuple[Ids, Ids]:
    """The ids of the owner's rows, made once for all routes that name such, and those of nothing."""
    names = tuple(route.path_ids)
    if names not in made:
        made[names] = await family(db, owner, route)
    return made[names], dict.fromkeys(names, uuid7())


WITH_IDS = [route for route in guarded() if names_rows(route) and not route.marker.is_for_staff]


def may(role: Role, route: Served) -> bool:
    """Whether the registry lets this role call the route; the platform's staff are in no role."""
    if route.marker.is_for_staff:
        return False
    return route.marker.permission is None or route.marker.permission in ROLE_PERMISSIONS[role]


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.owner])
async def test_routes_when_a_role_lacks_their_permission(
    client: AsyncClient, db: SystemSession, alice: Persona, role: Role
) -> None:
    """403 inside one's own organisation, for rows that exist and for rows that do not: they look alike."""
    caller = await make_colleague(db, alice, f"colleague-{role}", role=role)
    refused = [route for route in guarded() if not may(role, route)]
    assert refused
    made: dict[tuple[str, ...], Ids] = {}
    wrong: list[str] = []
    for route in refused:
        body = route.example()
        for ids in await both_ids(db, alice, route, made):
            answer = await route.ask(client, caller.headers, body=body, **ids)
            if not is_problem(answer, 403, "permission_denied"):
                wrong.append(seen(route, answer, f"403 for a {role}"))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("role", Role)
async def test_rows_when_a_strangers_role_asks_for_them(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, role: Role
) -> None:
    """A stranger in any role of an organisation of their own: 403 without the right, else 404."""
    caller = (
        charlie if role is Role.owner else await make_colleague(db, charlie, f"stranger-{role}", role=role)
    )
    made: dict[tuple[str, ...], Ids] = {}
    wrong: list[str] = []
    for route in WITH_IDS:
        wanted = 404 if may(role, route) else 403
        body = route.example()
        for ids in await both_ids(db, alice, route, made):
            answer = await route.ask(client, caller.headers, body=body, **ids)
            if not is_problem(answer, wanted):
                wrong.append(seen(route, answer, f"{wanted} for a stranger who is {role}"))
    assert not wrong, "\n".join(wrong)
