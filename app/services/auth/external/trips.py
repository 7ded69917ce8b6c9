"""Owns trips to Google and GitHub: the way there, and what is made of whoever comes back."""

from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

import structlog
from fastapi import Depends

from app.clients.oauth import ExternalPerson, IdentityProvider, ProviderRefused, ProviderUnavailable
from app.core import clock
from app.core.config import get_settings
from app.core.crypto import AUTH_CODE_PREFIX, TripSecrets, begin_trip, derive_token, key_ring, read_trip
from app.core.database import Database, DatabaseOf, SystemSession, Unscoped
from app.core.devices import CallingDevice, Device
from app.core.errors import AppError, BadRequest, Conflict, NotFound, Unavailable
from app.core.ids import uuid7
from app.models.auth import ExternalSignIn
from app.repositories.auth import ExternalSignInRepository
from app.schemas.auth.oauth import OAuthCallback, OAuthStart
from app.services.auth.external.deciding import TripRefused, account_of, identity_of
from app.services.auth.external.providers import Providers, callback_address
from app.services.auth.one_time_tokens import AUTH_CODE, issue
from app.services.auth.redirects import redirect_target

logger = structlog.get_logger(__name__)

KIND = "oauth"
LIFETIME = timedelta(minutes=10)
KEPT = timedelta(days=1)
"""How long a trip that is over can still be looked at."""

SIGN_IN, LINK = "sign_in", "link"

TRY_LATER = frozenset({"server_error", "temporarily_unavailable"})
"""Errors of a provider (RFC 6749, 4.1.2.1) that are no answer of the person's."""


async def begin(
    session: SystemSession,
    provider: IdentityProvider,
    device: Device,
    *,
    intent: Literal["sign_in", "link"],
    code_challenge: str,
    redirect_to: str,
    is_remembered: bool = False,
    user_id: UUID | None = None,
) -> str:
    """Note a trip, and answer where the browser goes. State, nonce and PKCE verifier follow from the row."""
    now = clock.now()
    trip = ExternalSignIn(
        id=uuid7(),
        kind=KIND,
        provider=provider.name,
        intent=intent,
        user_id=user_id,
        code_challenge=code_challenge,
        redirect_to=redirect_to,
        is_remembered=is_remembered,
        device_key_hash=device.key_hash,
        expires_at=now + LIFETIME,
        created_at=now,
    )
    await ExternalSignInRepository(session).add(trip)
    return provider.authorize_url(
        begin_trip(key_ring(), trip.id), callback_address(get_settings(), provider.name)
    )


class TripService:
    """Sends people to a provider, and receives them back."""

    def __init__(
        self, session: Unscoped, database: DatabaseOf, device: CallingDevice, providers: Providers
    ) -> None:
        self.session = session
        self.database: Database = database
        self.device = device
        self.providers = providers

    async def start(self, name: str, query: OAuthStart) -> str:
        """Where the browser goes to sign in with this provider.

        404 for a provider that nobody knows, 503 for one that is not configured, 422 `redirect_not_allowed`.
        """
        return await begin(
            self.session,
            self.providers.get(name),
            self.device,
            intent="sign_in",
            code_challenge=query.code_challenge,
            redirect_to=redirect_target(query.redirect_to),
            is_remembered=query.remember,
        )

    async def come_back(self, name: str | None, query: OAuthCallback) -> str:
        """Where the browser goes next: to the app, with `#auth_code=…` or `#error=…`.

        400 `state_invalid` for a state that is none of ours, was used, or has expired: then nobody knows
        where to. The state is used up for good before the provider is asked, and no transaction is open
        while that lasts.
        """
        now = clock.now()
        secrets = read_trip(key_ring(), query.state)
        if secrets is None:
            raise state_invalid()
        async with self.database.transaction() as session:
            trip = await ExternalSignInRepository(session).consume(secrets.row_id, KIND, now)
        if trip is None or name not in (None, trip.provider):
            raise state_invalid()
        try:
            person = await self._ask(trip, secrets, query)
            answer = f"auth_code={await self._decide(trip, person, clock.now())}"
            outcome = "approved"
        except TripRefused as refusal:
            outcome = refusal.code
            answer = f"error={outcome}"
        logger.info("external_sign_in", provider=trip.provider, intent=trip.intent, outcome=outcome)
        return f"{trip.redirect_to}#{answer}"

    async def _ask(self, trip: ExternalSignIn, secrets: TripSecrets, query: OAuthCallback) -> ExternalPerson:
        """The person whom the provider vouches for; TripRefused when it does not."""
        try:
            provider = self.providers.get(trip.provider or "")
        except (NotFound, Unavailable):
            raise TripRefused("provider_not_configured") from None
        # RFC 9207. A provider that leaves it out is told from others by its own callback address.
        if query.iss is not None and query.iss != provider.issuer:
            raise TripRefused("provider_refused")
        if query.error is not None or query.code is None:
            raise TripRefused(_told(query.error))
        redirect_uri = callback_address(get_settings(), provider.name)
        try:
            return await provider.identify(query.code, secrets, redirect_uri)
        except ProviderUnavailable as error:
            logger.warning("provider_unavailable", provider=provider.name, reason=str(error))
            raise TripRefused("provider_unavailable") from None
        except ProviderRefused as error:
            logger.warning("provider_refused", provider=provider.name, reason=str(error))
            raise TripRefused("provider_refused") from None

    async def _decide(self, trip: ExternalSignIn, person: ExternalPerson, now: datetime) -> str:
        """The code that the app exchanges; of two that are decided at once, the second is decided again."""
        try:
            return await self._issue_code(trip, person, now)
        except Conflict:
            return await self._issue_code(trip, person, now)

    async def _issue_code(self, trip: ExternalSignIn, person: ExternalPerson, now: datetime) -> str:
        async with self.database.transaction() as session:
            if trip.intent == LINK:
                user_id = trip.user_id
            else:
                user_id = await account_of(session, person, self.device, now)
            identity = identity_of(person)
            token_id = await issue(
                session,
                AUTH_CODE,
                str(trip.id),
                now,
                user_id=user_id,
                subject_id=trip.id,
                code_challenge=trip.code_challenge,
                payload={
                    "intent": trip.intent,
                    "remember": trip.is_remembered,
                    "identity": {name: getattr(identity, name) for name in identity.__slots__},
                },
            )
        return derive_token(key_ring(), AUTH_CODE_PREFIX, AUTH_CODE, token_id)


async def forget_old_trips(session: SystemSession, *, limit: int) -> int:
    """Delete trips that expired a day ago, and codes, which name addresses; `limit` if more are left."""
    return await ExternalSignInRepository(session).prune(before=clock.now() - KEPT, limit=limit)


def state_invalid() -> AppError:
    """400 for a way back that belongs to no way there."""
    return BadRequest("state_invalid", "This sign-in was used, has expired or is not ours; begin it again.")


def _told(error: str | None) -> str:
    """What the app is told of a provider's error."""
    if error == "access_denied":
        return "access_denied"
    return "provider_unavailable" if error in TRY_LATER else "provider_refused"


Trips = Annotated[TripService, Depends()]
