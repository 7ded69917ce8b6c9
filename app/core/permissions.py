"""The permissions of the whole API and the built-in roles that hold them (team page, section 3)."""

from collections.abc import Iterable, Mapping
from enum import StrEnum


class Permission(StrEnum):
    """`resource:action`; the member's name has an underscore. API key scopes are the same names."""

    analytics_export = "analytics:export"
    analytics_ingest = "analytics:ingest"
    analytics_manage = "analytics:manage"
    analytics_read = "analytics:read"
    api_keys_manage = "api_keys:manage"
    ar_publish = "ar:publish"
    ar_read = "ar:read"
    ar_write = "ar:write"
    audit_export = "audit:export"
    audit_read = "audit:read"
    billing_read = "billing:read"
    billing_write = "billing:write"
    branding_manage = "branding:manage"
    designs_delete = "designs:delete"
    designs_generate = "designs:generate"
    designs_read = "designs:read"
    designs_write = "designs:write"
    events_read = "events:read"
    integrations_manage = "integrations:manage"
    integrations_read = "integrations:read"
    library_publish = "library:publish"
    library_read = "library:read"
    library_write = "library:write"
    members_invite = "members:invite"
    members_read = "members:read"
    members_remove = "members:remove"
    members_update = "members:update"
    monitoring_manage = "monitoring:manage"
    monitoring_read = "monitoring:read"
    notifications_manage = "notifications:manage"
    orders_cancel_in_production = "orders:cancel_in_production"
    orders_read = "orders:read"
    orders_refund = "orders:refund"
    orders_settings = "orders:settings"
    orders_write = "orders:write"
    organization_delete = "organization:delete"
    organization_read = "organization:read"
    organization_transfer = "organization:transfer"
    organization_update = "organization:update"
    platform_manage = "platform:manage"
    products_read = "products:read"
    products_stock = "products:stock"
    products_write = "products:write"
    roles_manage = "roles:manage"
    security_manage = "security:manage"
    sso_enforce = "sso:enforce"
    sso_manage = "sso:manage"
    support_manage = "support:manage"
    support_read = "support:read"
    support_write = "support:write"
    webhooks_manage = "webhooks:manage"


class Role(StrEnum):
    """The built-in roles, from the one that may do everything down to the one that only looks."""

    owner = "owner"
    admin = "admin"
    manager = "manager"
    designer = "designer"
    member = "member"
    viewer = "viewer"


NOBODY: tuple[Role, ...] = ()
OWNER = (Role.owner,)
ADMINS = (*OWNER, Role.admin)
MANAGERS = (*ADMINS, Role.manager)
DESIGNERS = (*MANAGERS, Role.designer)
MAKERS = (*DESIGNERS, Role.member)
EVERYBODY = (*MAKERS, Role.viewer)
ORDER_READERS = (*MANAGERS, Role.member, Role.viewer)
ANALYSTS = (*MANAGERS, Role.viewer)

HOLDERS: Mapping[Permission, tuple[Role, ...]] = {
    Permission.analytics_export: MANAGERS,
    Permission.analytics_ingest: EVERYBODY,
    Permission.analytics_manage: MANAGERS,
    Permission.analytics_read: ANALYSTS,
    Permission.api_keys_manage: ADMINS,
    Permission.ar_publish: DESIGNERS,
    Permission.ar_read: EVERYBODY,
    Permission.ar_write: DESIGNERS,
    Permission.audit_export: ADMINS,
    Permission.audit_read: ADMINS,
    Permission.billing_read: MANAGERS,
    Permission.billing_write: ADMINS,
    Permission.branding_manage: ADMINS,
    Permission.designs_delete: MANAGERS,
    Permission.designs_generate: MAKERS,
    Permission.designs_read: EVERYBODY,
    Permission.designs_write: MAKERS,
    Permission.events_read: EVERYBODY,
    Permission.integrations_manage: ADMINS,
    Permission.integrations_read: MANAGERS,
    Permission.library_publish: MANAGERS,
    Permission.library_read: EVERYBODY,
    Permission.library_write: MAKERS,
    Permission.members_invite: MANAGERS,
    Permission.members_read: EVERYBODY,
    Permission.members_remove: ADMINS,
    Permission.members_update: ADMINS,
    Permission.monitoring_manage: ADMINS,
    Permission.monitoring_read: MANAGERS,
    Permission.notifications_manage: ADMINS,
    Permission.orders_cancel_in_production: MANAGERS,
    Permission.orders_read: ORDER_READERS,
    Permission.orders_refund: ADMINS,
    Permission.orders_settings: ADMINS,
    Permission.orders_write: MANAGERS,
    Permission.organization_delete: OWNER,
    Permission.organization_read: EVERYBODY,
    Permission.organization_transfer: OWNER,
    Permission.organization_update: ADMINS,
    Permission.platform_manage: NOBODY,
    Permission.products_read: EVERYBODY,
    Permission.products_stock: MANAGERS,
    Permission.products_write: DESIGNERS,
    Permission.roles_manage: ADMINS,
    Permission.security_manage: ADMINS,
    Permission.sso_enforce: OWNER,
    Permission.sso_manage: ADMINS,
    Permission.support_manage: MANAGERS,
    Permission.support_read: EVERYBODY,
    Permission.support_write: EVERYBODY,
    Permission.webhooks_manage: ADMINS,
}
"""Which built-in roles hold a permission; `platform:manage` belongs to the platform's staff, to no role."""

ROLE_PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    role: frozenset(permission for permission, holders in HOLDERS.items() if role in holders) for role in Role
}

ROLE_NAMES: Mapping[Role, str] = {role: role.value.capitalize() for role in Role}
ROLE_DESCRIPTIONS: Mapping[Role, str] = {
    Role.owner: "May do everything; there is exactly one.",
    Role.admin: "Runs the organisation: team, security, billing, everything but its end.",
    Role.manager: "Runs the business: products, orders, analytics, invitations.",
    Role.designer: "Makes designs, products and AR models.",
    Role.member: "Makes designs and sees orders.",
    Role.viewer: "Only looks.",
}

OWNER_ONLY = frozenset(permission for permission, holders in HOLDERS.items() if holders == OWNER)
"""What no custom role can hold."""

OPEN_TO_KEYS: frozenset[Permission] = frozenset(
    {
        Permission.analytics_export,
        Permission.analytics_ingest,
        Permission.analytics_manage,
        Permission.analytics_read,
        Permission.ar_publish,
        Permission.ar_read,
        Permission.ar_write,
        Permission.audit_read,
        Permission.billing_read,
        Permission.designs_delete,
        Permission.designs_generate,
        Permission.designs_read,
        Permission.designs_write,
        Permission.events_read,
        Permission.integrations_read,
        Permission.library_publish,
        Permission.library_read,
        Permission.library_write,
        Permission.members_read,
        Permission.monitoring_manage,
        Permission.monitoring_read,
        Permission.orders_cancel_in_production,
        Permission.orders_read,
        Permission.orders_refund,
        Permission.orders_write,
        Permission.organization_read,
        Permission.products_read,
        Permission.products_stock,
        Permission.products_write,
        Permission.support_manage,
        Permission.support_read,
        Permission.support_write,
        Permission.webhooks_manage,
    }
)
"""The permissions that an API key may have as scopes; no key holds any other, whatever its row says."""

_READING = frozenset(scope for scope in OPEN_TO_KEYS if scope.endswith(":read"))

LEGACY_SCOPES: Mapping[str, frozenset[Permission]] = {
    "read": _READING,
    "write": _READING | {scope for scope in OPEN_TO_KEYS if scope.endswith(":write")},
    "admin": OPEN_TO_KEYS - {Permission.webhooks_manage},
}
"""Words for several scopes at once. Webhooks send data elsewhere, so their scope is given by name only."""

KNOWN: Mapping[str, Permission] = {permission.value: permission for permission in Permission}


def permissions_of(role: str, custom: list[str] | None) -> frozenset[Permission]:
    """The permissions of a membership: those of its built-in role, or the list of its custom role.

    A name in a custom role that the registry does not know (any more) grants nothing.
    """
    if role == "custom":
        return frozenset(KNOWN[name] for name in custom or () if name in KNOWN)
    return ROLE_PERMISSIONS[Role(role)]


def scopes_of(words: Iterable[object]) -> frozenset[Permission]:
    """The scopes that a key's list names, one by one or by legacy words.

    A name that the registry does not open to keys (any more) grants nothing.
    """
    found: set[Permission] = set()
    for word in words:
        if isinstance(word, str):
            found |= LEGACY_SCOPES.get(word, frozenset())
            if KNOWN.get(word) in OPEN_TO_KEYS:
                found.add(KNOWN[word])
    return frozenset(found)
