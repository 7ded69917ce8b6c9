"""Owns whose account a provider's word opens: by its subject, else by an address that it has verified."""

from datetime import datetime
from uuid import UUID

from app.clients.oauth import ExternalPerson
from app.core.config import get_settings
from app.core.database import SystemSession
from app.core.devices import Device
from app.core.mail_addresses import MailAddress, parse_address
from app.repositories.auth import IdentityRepository, PeopleRepository
from app.services.auth.accounts import confirm_address
from app.services.auth.external.linking import link_identity
from app.services.auth.first_factor import IdentityToLink
from app.services.auth.founding import found_account


class TripRefused(Exception):
    """The trip leads to no account; the code is what the app is told."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def identity_of(person: ExternalPerson) -> IdentityToLink:
    """What is kept of a provider's word: no token of the provider, and no name."""
    return IdentityToLink(
        provider=person.provider,
        provider_subject=person.subject,
        email=person.email,
        is_email_verified=person.is_email_verified,
    )


async def account_of(session: SystemSession, person: ExternalPerson, device: Device, now: datetime) -> UUID:
    """The person whose account this opens; made where there is none and sign-ups are open.

    An account whose address was never confirmed may be a stranger's who came first: its password, sessions
    and tokens go. An account that exists is linked only once its person is in, after the second factor.
    TripRefused: `email_not_verified`, `account_exists_link_required`, `signup_closed`.
    """
    identities = IdentityRepository(session)
    known = await identities.by_subject(person.provider, person.subject)
    if known is not None:
        return known.user_id
    address = _address(person)
    if address is None:
        raise TripRefused("email_not_verified")
    user = await PeopleRepository(session).by_address(address.canonical, lock=True)
    if not person.is_email_verified:
        raise TripRefused("email_not_verified" if user is None else "account_exists_link_required")
    is_new = user is None
    if user is None:
        if get_settings().signups != "open":
            raise TripRefused("signup_closed")
        user = await found_account(
            session, address, now, method="oauth", full_name=person.name, locale=_locale(person)
        )
    if user.status != "active":
        return user.id  # What keeps the person out is told together with the other refusals of sign-in.
    if user.email_confirmed_at is not None:
        # A second account at the same provider may not take the place of the first by itself. It may also be
        # the same one, linked while this waited for the person's row.
        linked = await identities.of_person(user.id, person.provider)
        if linked is not None and linked.provider_subject != person.subject:
            raise TripRefused("account_exists_link_required")
        return user.id
    await confirm_address(session, user, now, keep_password=False)
    await link_identity(session, user.id, identity_of(person), device, now, is_mailed=not is_new)
    return user.id


def _address(person: ExternalPerson) -> MailAddress | None:
    try:
        return parse_address(person.email or "")
    except ValueError:
        return None


def _locale(person: ExternalPerson) -> str:
    return "en" if (person.locale or "").lower().startswith("en") else "fr"
