"""The markers of routes: what each says about its callers."""

from dataclasses import dataclass
from typing import Literal

from fastapi import Request

from app.core.access.checking import authenticate
from app.core.access.principal import Principal
from app.core.limits import enforce, settle_limits
from app.core.permissions import Permission


@dataclass(frozen=True, slots=True)
class Marker:
    """What a route says about its callers; an instance is a dependency that makes the Principal."""

    access: Literal["allow", "public", "signed"]
    permission: Permission | None = None
    is_key_ok: bool = False
    needs_step_up: bool = False
    reason: str | None = None
    is_for_staff: bool = False
    key_scope: Permission | None = None
    """What a key needs; a person needs `permission`."""

    async def __call__(self, request: Request) -> Principal | None:
        if self.access != "allow":
            return None
        principal = await self.identify(request)
        request.state.principal = principal
        request.state.is_about_person = self.permission is None
        if principal.kind == "user":
            await enforce(request, "session", key=str(principal.session_id), by_address=True)
        await settle_limits(request)
        return principal

    async def identify(self, request: Request) -> Principal:
        """The caller by the credential that the route takes; raises what `authenticate` raises."""
        return await authenticate(request, self)


def allow(
    permission: Permission | None = None, *, key: bool | Permission = False, step_up: bool = False
) -> Marker:
    """Callers who hold `permission` in the active organisation; without one, every signed-in person.

    `key`: an API key with the scope of the same name may come too, or with that scope where people need none.
    `step_up`: the second check is recent.
    """
    scope = key if isinstance(key, Permission) else permission
    return Marker("allow", permission, key is not False, step_up, key_scope=scope)


def staff(*, step_up: bool = False) -> Marker:
    """The platform's staff (`PLATFORM_STAFF_IDS`) in a session of aal 2; no role and no key holds it."""
    return Marker("allow", needs_step_up=step_up, is_for_staff=True)


def public(reason: str) -> Marker:
    """Everybody, and why."""
    return Marker("public", reason=reason)


def signed(by: str) -> Marker:
    """Callers who prove themselves by a signature or a shared token that the route itself checks."""
    return Marker("signed", reason=by)
