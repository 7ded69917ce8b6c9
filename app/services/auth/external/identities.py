"""Owns the accounts at providers that open the caller's account: listing, linking and unlinking them."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.database import Database, DatabaseOf, Unscoped
from app.core.devices import CallingDevice
from app.core.errors import Conflict, NotFound
from app.core.events import emit
from app.core.paging import Keyset, PageQuery, Pager, Rows, Sort
from app.models.auth import Identity, User
from app.repositories.auth import IdentityRepository, OneTimeTokenRepository, PeopleRepository
from app.schemas.auth.oauth import AuthCodeExchange, IdentityRead, IdentityStarted, IdentityToStart
from app.services.auth.external.events import IdentityUnlinked
from app.services.auth.external.exchange import code_id, kept_identity, proved_code
from app.services.auth.external.linking import identity_already_linked, link_identity
from app.services.auth.external.providers import TITLES, Providers
from app.services.auth.external.trips import LINK, begin
from app.services.auth.one_time_tokens import AUTH_CODE, why_dead
from app.services.auth.own_sign_in import require_own_sign_in, user_sso_managed
from app.services.auth.recipients import seen
from app.services.auth.redirects import redirect_target

NEWEST_FIRST = "-created_at"

PAGER = Pager(
    "identities",
    Keyset(Identity.created_at, Identity.id),
    {NEWEST_FIRST: Sort(Identity.created_at, is_descending=True, has_cursor=True)},
)


class IdentityService:
    """The caller's own identities; what it reads and writes is bound to the caller's id."""

    def __init__(
        self,
        session: Unscoped,
        database: DatabaseOf,
        principal: CurrentPrincipal,
        device: CallingDevice,
        providers: Providers,
    ) -> None:
        self.session = session
        self.database: Database = database
        self.principal = principal
        self.device = device
        self.providers = providers
        self.identities = IdentityRepository(session)
        assert principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
        self.user_id: UUID = principal.user_id

    async def list(self, query: PageQuery) -> Rows[IdentityRead]:
        """The caller's identities, newest first."""
        rows = await PAGER.rows(self.session, self.identities.list_of(self.user_id), query, NEWEST_FIRST)
        return rows.map(IdentityRead.model_validate)

    async def start(self, body: IdentityToStart) -> IdentityStarted:
        """Where the browser goes to approve; nothing is linked before `link`.

        403 `own_sign_in_required`, 409 `user_sso_managed` and `identity_already_linked`, 422
        `redirect_not_allowed`, 503 `provider_not_configured`.
        """
        provider = self.providers.get(body.provider)
        redirect_to = redirect_target(body.redirect_to)
        require_own_sign_in(self.principal, await self._person())
        if await self.identities.of_person(self.user_id, provider.name) is not None:
            raise identity_already_linked()
        url = await begin(
            self.session,
            provider,
            self.device,
            intent="link",
            code_challenge=body.code_challenge,
            redirect_to=redirect_to,
            user_id=self.user_id,
        )
        return IdentityStarted(authorize_url=url)

    async def link(self, body: AuthCodeExchange) -> IdentityRead:
        """Link what was approved, for the same person who began.

        400 `token_invalid`, 401 `verifier_invalid`, 409 `identity_in_use` and `identity_already_linked`, 410.
        """
        now = clock.now()
        identifier = code_id(body.auth_code)
        token = await proved_code(
            self.session,
            self.database,
            identifier,
            body.code_verifier,
            now,
            intent=LINK,
            user_id=self.user_id,
        )
        await self._person(lock=True)
        if await OneTimeTokenRepository(self.session).consume(identifier, AUTH_CODE, now) is None:
            raise await why_dead(self.session, AUTH_CODE, identifier, now)
        linked = await link_identity(self.session, self.user_id, kept_identity(token), self.device, now)
        return IdentityRead.model_validate(linked)

    async def unlink(self, identity_id: UUID) -> None:
        """Take an identity away.

        404; 409 `last_credential` for the last way in, and `user_sso_managed` for one of single sign-on.
        """
        require_own_sign_in(self.principal, await self._person(lock=True))
        row = await self.identities.one(Identity.id == identity_id, Identity.user_id == self.user_id)
        if row is None:
            raise NotFound()
        if row.provider not in TITLES:
            raise user_sso_managed()
        if not await self.identities.has_other_way_in(self.user_id, but=row.id):
            raise Conflict(
                "last_credential",
                "This is the only way into your account; set a password or link another one first.",
            )
        await self.identities.remove(row)
        private = {**seen(self.device, clock.now()), "is_mailed": True}
        await emit(
            self.session, IdentityUnlinked(user_id=self.user_id, provider=row.provider), private=private
        )

    async def _person(self, *, lock: bool = False) -> User:
        """The caller; locked, so that of two changes of the ways in the second sees what the first left."""
        user = await PeopleRepository(self.session).get(self.user_id, lock=lock)
        assert user is not None  # noqa: S101 - a session cannot outlive its person
        return user


Identities = Annotated[IdentityService, Depends()]
