"""Connects services: sends people to them, or tests what they brought along."""

import hashlib
import time
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.clients.connections import Account, ServiceDown, ServiceRefused, Trip
from app.clients.connections.oauth import OAuthService
from app.clients.connections.registry import OAUTH
from app.clients.connections.shopify import Shopify, is_shop
from app.clients.connections.woocommerce import KEY, SECRET, WooCommerce
from app.clients.connections.zapier import Zapier
from app.clients.outbound import UrlNotAllowed
from app.core.access import CurrentPrincipal
from app.core.crypto import encode_base64url
from app.core.database import Unscoped, let_go
from app.core.errors import Conflict, FieldError, Invalid, NotFound, Unavailable
from app.core.ids import uuid7
from app.models.integrations import Integration, OAuthState
from app.repositories.integrations.authorizing import OAuthStateRepository
from app.repositories.integrations.connections import IntegrationRepository
from app.schemas.integrations.connections import AuthorizationRead, IntegrationConnect, IntegrationRead
from app.services.integrations.connections.providers import (
    callback_address,
    oauth_service,
    service_named,
    store_at,
)
from app.services.integrations.connections.redirects import path_in_app
from app.services.integrations.connections.sealed import VERIFIER, digest, random_token, sealed
from app.services.integrations.connections.writing import Proven, write_connection

LIFETIME = timedelta(minutes=10)

SOON = {"Retry-After": "30"}


class ConnectService:
    """Begins a connection, or makes it at once where nobody has to be asked."""

    def __init__(self, session: Unscoped, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.integrations = IntegrationRepository(session)

    async def connect(self, body: IntegrationConnect) -> AuthorizationRead | IntegrationRead:
        """Where the browser goes, or the connection.

        404; 409 `account_mismatch`; 422 `unknown_service`, `redirect_not_allowed`, `scope_not_allowed`,
        `invalid_params`, `url_not_allowed`, `credentials_rejected`; 503 `integration_not_configured`,
        `provider_unavailable`.
        """
        service = service_named(body.service)
        redirect_after = path_in_app(body.redirect_after)
        again = await self._again(body)
        if body.service in OAUTH:
            return await self._authorize(OAUTH[body.service], body, redirect_after, again)
        if body.scopes is not None:
            raise _scope_not_allowed(body.service)
        proven = await self._store(body) if service is WooCommerce else self._own_place(body)
        row = await write_connection(
            self.session,
            self._organization,
            self.principal.user_id,
            proven,
            again=again.id if again is not None else None,
        )
        return IntegrationRead.model_validate(row)

    async def _authorize(
        self,
        service: type[OAuthService],
        body: IntegrationConnect,
        redirect_after: str,
        again: Integration | None,
    ) -> AuthorizationRead:
        if body.scopes is not None and not service.allowed_scopes.issuperset(body.scopes):
            raise _scope_not_allowed(body.service)
        params = _shop_of(service, body, again)
        ready = oauth_service(body.service, shop=params.get("shop"))
        state, verifier = random_token(), random_token()
        scopes = service.asked_scopes(body.scopes)
        now = await self.session.now()
        row_id = uuid7()
        await OAuthStateRepository(self.session).add(
            OAuthState(
                id=row_id,
                state_hash=digest(state),
                organization_id=self._organization,
                user_id=self.principal.user_id,
                session_id=self.principal.session_id,
                service=body.service,
                integration_id=again.id if again is not None else None,
                pkce_verifier_sealed=sealed(VERIFIER, row_id, verifier) if service.has_pkce else None,
                redirect_after=redirect_after,
                scopes=list(scopes),
                params=params,
                expires_at=now + LIFETIME,
            )
        )
        trip = Trip(
            state=state,
            redirect_uri=callback_address(body.service),
            scopes=scopes,
            challenge=encode_base64url(hashlib.sha256(verifier.encode()).digest()),
        )
        return AuthorizationRead(authorize_url=ready.authorize_url(trip), state_expires_at=now + LIFETIME)

    async def _store(self, body: IntegrationConnect) -> Proven:
        """A shop that answered with the keys; it is asked while no transaction is open."""
        sent = body.params
        if sent is None or sent.store_url is None or sent.shop is not None:
            raise _invalid_params("store_url")
        if KEY.fullmatch(sent.consumer_key or "") is None:
            raise _invalid_params("consumer_key")
        if SECRET.fullmatch(sent.consumer_secret or "") is None:
            raise _invalid_params("consumer_secret")
        try:
            address, account = WooCommerce.read_address(sent.store_url)
        except UrlNotAllowed as refusal:
            raise _url_not_allowed(refusal.reason, str(refusal)) from None
        await let_go(self.session)
        credentials = WooCommerce.credentials(sent.consumer_key or "", sent.consumer_secret or "")
        started = time.monotonic()
        try:
            await store_at(address).test(credentials)
        except ServiceDown as down:
            if down.reason == "blocked_address":
                raise _url_not_allowed(
                    down.reason, "The shop's name leads to an address that is not public; use a public one."
                ) from None
            raise Unavailable(
                "provider_unavailable", "The shop does not answer; try again later.", headers=SOON
            ) from None
        except ServiceRefused:
            raise Invalid(
                "credentials_rejected", "The shop refused these keys, or is no shop of WooCommerce."
            ) from None
        return Proven(
            service=WooCommerce.name,
            auth_mode=WooCommerce.auth_mode,
            account=account,
            access_token=credentials,
            token_type="basic",  # noqa: S106 - a kind of credential
            details={"store_url": address},
            duration_ms=round((time.monotonic() - started) * 1000),
        )

    def _own_place(self, body: IntegrationConnect) -> Proven:
        """Zapier signs in here with an API key: nothing has to be asked."""
        if body.params is not None and body.params.model_fields_set:
            raise _invalid_params(min(body.params.model_fields_set))
        own = Account(id=str(self._organization), label=Zapier.title)
        return Proven(service=Zapier.name, auth_mode=Zapier.auth_mode, account=own)

    async def _again(self, body: IntegrationConnect) -> Integration | None:
        """The connection that is to be connected again, of this organisation and this service."""
        if body.integration_id is None:
            return None
        row = await self.integrations.find(self._organization, body.integration_id)
        if row is None:
            raise NotFound()
        if row.service != body.service:
            raise Conflict("account_mismatch", "That connection is one to another service.")
        return row

    @property
    def _organization(self) -> UUID:
        assert self.principal.organization_id is not None  # noqa: S101 - the marker asks for a permission
        return self.principal.organization_id


def _shop_of(
    service: type[OAuthService], body: IntegrationConnect, again: Integration | None
) -> dict[str, str]:
    """The shop that is asked for, where a service has one; 422 `invalid_params`."""
    sent = body.params.model_dump(exclude_unset=True) if body.params is not None else {}
    if service is not Shopify:
        if sent:
            raise _invalid_params(min(sent))
        return {}
    shop = sent.pop("shop", again.external_account_id if again is not None else None)
    if sent or not is_shop(shop):
        raise _invalid_params(min(sent) if sent else "shop")
    return {"shop": str(shop)}


def _invalid_params(name: str) -> Invalid:
    detail = "Send what `params` of this service lists in `available`, and nothing else."
    return Invalid("invalid_params", detail, errors=[FieldError(f"/params/{name}", "invalid_params", detail)])


def _scope_not_allowed(service: str) -> Invalid:
    detail = f"Ask for rights that `scopes` of {service} lists in `available`."
    return Invalid("scope_not_allowed", detail, errors=[FieldError("/scopes", "scope_not_allowed", detail)])


def _url_not_allowed(reason: str, detail: str) -> Invalid:
    fault = FieldError("/params/store_url", "url_not_allowed", detail)
    return Invalid("url_not_allowed", detail, errors=[fault], reason=reason)


Connecting = Annotated[ConnectService, Depends()]
