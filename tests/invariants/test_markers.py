"""Invariant: every route says who may call it, and nothing runs before that is judged."""

import ast
from itertools import takewhile

from fastapi.routing import APIRoute

from app.core.access import Marker
from app.core.limits import RateLimit
from app.core.permissions import HOLDERS, Permission
from tests.invariants.served import contexts, guarded, served
from tests.invariants.source import dotted, sources

ANYBODY = "whoever is not signed in yet comes here"
READERS = "The documentation is for everybody."
PROBES = "Balancers and orchestrators send no credential."
DEVELOPER = "a developer's own machine"
SANDBOX = "local sandbox, absent in production"
RETURNING = "a provider sends browsers back here, and the state says whose"
UNSUBSCRIBING = "mail programs call it without a session"
STATE = "the provider sends the browser here; the state is the proof"
MAIL_HOLDER = "whoever holds the mail may come from any browser"

PUBLIC = {
    "GET /": READERS,
    "GET /api/audit-logs/keys": "whoever holds a checkpoint may prove it",
    "GET /api/auth/callback": RETURNING,
    "GET /api/billing/plans": "price list",
    "GET /api/auth/confirm": MAIL_HOLDER,
    "GET /api/auth/oauth/{provider}/callback": RETURNING,
    "GET /api/auth/oauth/{provider}/start": ANYBODY,
    "GET /api/auth/providers": ANYBODY,
    "GET /api/integrations/callback/{service}": STATE,
    "GET /docs": READERS,
    "GET /docs/openapi.json": READERS,
    "GET /docs/{name}": READERS,
    "GET /health/live": PROBES,
    "GET /health/ready": PROBES,
    "GET /openapi.json": READERS,
    "GET /api/notifications/unsubscribe/{token}": UNSUBSCRIBING,
    "GET /api/privacy/policies": "everybody may read what they are asked to agree to",
    "GET /api/privacy/policies/{name}/{version}": "everybody may read what they are asked to agree to",
    "GET /api/public/media/{file_name}": "public buckets of the store",
    "GET /api/public/orders/{token}": "signed link from the mail",
    "GET /sandbox/idp": DEVELOPER,
    "GET /sandbox/idp/{provider}/authorize": DEVELOPER,
    "GET /sandbox/idp/{provider}/decide": DEVELOPER,
    "GET /sandbox/idp/{provider}/keys": DEVELOPER,
    "GET /sandbox/idp/{provider}/user": DEVELOPER,
    "GET /sandbox/idp/{provider}/user/emails": DEVELOPER,
    "DELETE /sandbox/oauth/{path}": DEVELOPER,
    "GET /sandbox/oauth/{path}": DEVELOPER,
    "GET /sandbox/oauth/{path}/authorize": DEVELOPER,
    "GET /sandbox/oauth/{path}/decide": DEVELOPER,
    "POST /sandbox/oauth/{path}": DEVELOPER,
    "DELETE /sandbox/stripe/v1/{path}": SANDBOX,
    "GET /sandbox/stripe/": SANDBOX,
    "GET /sandbox/stripe/authenticate/{intent_id}": SANDBOX,
    "GET /sandbox/stripe/checkout/{session_id}": SANDBOX,
    "GET /sandbox/stripe/invoices/{file_name}": SANDBOX,
    "GET /sandbox/stripe/pay/{link_id}": SANDBOX,
    "GET /sandbox/stripe/portal/{portal_id}": SANDBOX,
    "GET /sandbox/stripe/v1/{path}": SANDBOX,
    "POST /sandbox/stripe/authenticate/{intent_id}": SANDBOX,
    "POST /sandbox/stripe/checkout/{session_id}": SANDBOX,
    "POST /sandbox/stripe/control/{path}": SANDBOX,
    "POST /sandbox/stripe/invoices/{invoice_id}": SANDBOX,
    "POST /sandbox/stripe/portal/{portal_id}": SANDBOX,
    "POST /sandbox/stripe/v1/{path}": SANDBOX,
    "GET /sandbox/mail": DEVELOPER,
    "GET /sandbox/mail.json": DEVELOPER,
    "POST /api/auth/confirm": MAIL_HOLDER,
    "POST /api/auth/login": ANYBODY,
    "POST /api/auth/mfa/verify": ANYBODY,
    "POST /api/auth/magic-link": ANYBODY,
    "POST /api/auth/magic-link/verify": MAIL_HOLDER,
    "POST /api/auth/password/forgot": ANYBODY,
    "POST /api/auth/password/reset": MAIL_HOLDER,
    "POST /api/auth/refresh": ANYBODY,
    "POST /api/auth/resend-confirmation": ANYBODY,
    "POST /api/auth/signup": ANYBODY,
    "POST /api/auth/token": ANYBODY,
    "POST /sandbox/idp/{provider}/token": DEVELOPER,
    "GET /api/public/products/{slug}": "storefront product page",
    "POST /api/public/orders/track": "a buyer has no account",
    "POST /api/notifications/unsubscribe/{token}": UNSUBSCRIBING,
    "POST /api/send-verification-email": ANYBODY,
    "POST /api/settings/email/undo": MAIL_HOLDER,
    "POST /api/settings/email/confirm": MAIL_HOLDER,
    "POST /api/team/invitations/decline": MAIL_HOLDER,
    "POST /api/team/invitations/preview": MAIL_HOLDER,
}
"""Who may call these without a credential: everybody, and why; the marker says the same."""

SIGNED = {
    "GET /metrics": "METRICS_TOKEN",
    "POST /api/stripe/webhook": "stripe",
    "POST /api/webhooks/stripe": "stripe",
}
"""Whose signature or shared token these routes check themselves."""

EARLY: dict[str, str] = {}
"""What may run before the marker besides limits, which wait for it by themselves, and why."""

UNBUILT = {
    Permission[name]
    for name in [
        "analytics_export",
        "analytics_ingest",
        "analytics_manage",
        "analytics_read",
        "ar_publish",
        "ar_read",
        "ar_write",
        "branding_manage",
        "designs_delete",
        "designs_read",
        "designs_write",
        "library_publish",
        "library_read",
        "library_write",
        "monitoring_manage",
        "monitoring_read",
        "platform_manage",
        "sso_enforce",
        "sso_manage",
        "support_manage",
        "support_read",
        "support_write",
    ]
}
"""Permissions of areas that do not exist yet; whoever builds one takes its names out."""


def test_routes_when_they_are_listed() -> None:
    assert len(served()) > 40
    strange = [
        f"{context.path} is no route of a router: make it one, so that it has a marker"
        for context in contexts()
        if not isinstance(context.original_route, APIRoute)
    ]
    assert not strange, "\n".join(strange)


def test_markers_when_they_are_counted() -> None:
    wrong = [
        f"{route.name} has {len(route.markers)} access markers: give it one of allow(), public() and signed()"
        for route in served()
        if len(route.markers) != 1
    ]
    assert not wrong, "\n".join(wrong)


def name_of(call: object) -> str:
    return f"{getattr(call, '__module__', '')}.{getattr(call, '__qualname__', type(call).__qualname__)}"


def test_markers_when_dependencies_are_resolved_in_turn() -> None:
    """A service that ran first would work for a caller who has not been judged."""
    early: set[str] = set()
    wrong: list[str] = []
    for route in served():
        for call in takewhile(lambda call: not isinstance(call, Marker), route.resolved):
            early.add(name_of(call))
            if not isinstance(call, RateLimit) and name_of(call) not in EARLY:
                wrong.append(f"{route.name} calls {name_of(call)} first: make the marker its first parameter")
    assert not wrong, "\n".join(wrong)
    assert set(EARLY) <= early, f"{sorted(set(EARLY) - early)} do not come first: take them out of EARLY"


def test_public_routes_when_they_are_compared_with_the_list() -> None:
    found = {route.name: route.marker.reason for route in served() if route.marker.access == "public"}
    assert found == PUBLIC, "a route became public or ceased to be: is that meant? Then change PUBLIC"
    assert all(PUBLIC.values()), "say why a route is public"


def test_signed_routes_when_they_are_compared_with_the_list() -> None:
    found = {route.name: route.marker.reason for route in served() if route.marker.access == "signed"}
    assert found == SIGNED, "a route checks a signature itself, or ceased to: change SIGNED"


def asked_in_services() -> set[Permission]:
    """Permissions that a service asks its principal for: `principal.may(Permission.x)`."""
    found = set()
    for source in sources():
        if not source.path.startswith(("app/services/", "app/routers/")):
            continue
        for node in source.nodes:
            if isinstance(node, ast.Call) and dotted(node.func).endswith(".may"):
                names = [dotted(argument) for argument in node.args]
                found |= {
                    Permission[name.removeprefix("Permission.")] for name in names if "Permission." in name
                }
    return found


def test_permissions_when_their_use_is_looked_for() -> None:
    used = {route.marker.permission for route in guarded() if route.marker.permission} | asked_in_services()
    assert len(used) > 5
    idle = set(Permission) - used - UNBUILT
    assert not idle, (
        f"no route asks for {sorted(idle)}: use them, or take them out of app/core/permissions.py"
    )
    built = used & UNBUILT
    assert not built, f"{sorted(built)} are used now: take them out of UNBUILT"


def test_permissions_when_the_registry_is_read() -> None:
    names = [permission.name for permission in Permission]
    assert names == sorted(names), "keep the permissions in alphabetical order"
    wrong = [
        permission.name
        for permission in Permission
        if permission.name != permission.value.replace(":", "_") or permission.value.count(":") != 1
    ]
    assert not wrong, f"{wrong}: a permission is `resource:action` and its member's name has an underscore"
    assert set(HOLDERS) == set(Permission), "say in HOLDERS which roles hold each permission"


def test_limits_when_a_route_has_no_principal() -> None:
    wrong = [
        f"{route.name} limits by principal and lets everybody in: limit it by address"
        for route in served()
        for limit in route.limits
        if limit.by == "principal" and route.marker.access != "allow"
    ]
    assert not wrong, "\n".join(wrong)


UNLIMITED = {
    "GET /api/auth/confirm": "It leads on to the app and looks nothing up.",
    "GET /api/auth/providers": "It says what the settings say.",
    "POST /api/auth/refresh": "Its service counts by session and, for tokens that are none, by address.",
    "POST /api/stripe/webhook": "Stripe delivers in bursts; its service bounds how many run at once.",
    "POST /api/webhooks/stripe": "The same.",
}
"""Open routes under /api whose service counts requests itself, or that cost nothing."""


def test_limits_when_a_route_lets_everybody_in() -> None:
    """Everybody else is counted by session, in the marker."""
    bare = {
        route.name
        for route in served()
        if route.path.startswith("/api/") and route.marker.access != "allow" and not route.limits
    }
    unlimited = bare - set(UNLIMITED)
    assert not unlimited, f"{sorted(unlimited)} have no limit: add Depends(limited(…, by='address'))"
    limited = set(UNLIMITED) - bare
    assert not limited, f"{sorted(limited)} have a limit, or are gone: take them out of UNLIMITED"
