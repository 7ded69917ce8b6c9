"""Owns the refusal of acts that belong to a person's own sign-in, where an organisation signs them in."""

from app.core.access import Principal
from app.core.errors import Conflict, Forbidden
from app.models.auth import User


def require_own_sign_in(principal: Principal, user: User) -> None:
    """403 `own_sign_in_required` in a single sign-on session, 409 `user_sso_managed` for its accounts."""
    if principal.auth_method == "sso":
        raise Forbidden(
            "own_sign_in_required",
            "This session came from your organisation's single sign-on; sign in yourself to do this.",
        )
    if user.managed_by_organization_id is not None:
        raise user_sso_managed()


def user_sso_managed() -> Conflict:
    """409 for what an organisation manages by its single sign-on."""
    return Conflict("user_sso_managed", "Your organisation manages this; ask its administrators.")
